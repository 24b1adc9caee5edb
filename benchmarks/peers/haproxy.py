"""HAProxy: one thread, a log line a request as JSON, a Bearer from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Launch
from benchmarks.peers.debian import program, version

if TYPE_CHECKING:
    from benchmarks.peers.site import Site

_CONFIGURATION: Final = """
global
    nbthread 1
    maxconn 5000
    log stdout format raw local0 info
defaults
    mode http
    log global
    log-format '{{"time":"%t","method":"%HM","path":"%[capture.req.uri,json(utf8s)]","status":%ST,"bytes":%B,"ms":%Ta}}'
    timeout connect 5s
    timeout client 75s
    timeout server 60s
frontend app
    bind 127.0.0.1:{port} backlog 4096
    default_backend mangopay
backend mangopay
    http-reuse always
    http-request set-header Authorization "Bearer {token}"
    default-server ssl verify required ca-file {ca_file} verifyhost localhost sni str(localhost) ssl-min-ver TLSv1.3
    server one 127.0.0.1:{upstream_port}
"""


class HAProxy:
    """HAProxy of Debian."""

    name = "HAProxy"
    described = "one thread, a log line as JSON a request to a file, http-reuse always"

    def __init__(self) -> None:
        self._program = Path("haproxy")

    def install(self, _cache: Path) -> str:
        """Find it, or install it."""
        self._program = program("haproxy", "haproxy")
        return version([self._program, "-v"], r"version (\d[\d.]*)")

    def launch(self, site: Site) -> Launch:
        """Configure it."""
        configuration = site.directory / "haproxy.cfg"
        configuration.write_text(
            _CONFIGURATION.format(
                port=site.port, upstream_port=site.upstream_port, token=site.token, ca_file=site.ca_file
            )
        )
        return Launch((self._program, "-db", "-f", configuration))
