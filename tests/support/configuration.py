"""Configurations for tests: the least that is needed, and a value for every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from sidecar.config.errors import Complaints
from tests.support.canary import CANARY_API_KEY, CANARY_CALLER_KEY, CANARY_EMBEDDED_KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

#: The least that loads.
ENVIRON: Final = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY}
#: A value for each key that is not its default, as a variable would say it.
OTHER_VALUES: Final = {
    "mangopay.environment": "production",
    "mangopay.base_url": "https://gateway.internal/mangopay/",
    "mangopay.client_id": "other",
    "mangopay.api_key": CANARY_API_KEY,
    "mangopay.embedded_api_key": CANARY_EMBEDDED_KEY,
    "mangopay.client_id_aliases": "me, us",
    "mangopay.foreign_client_ids": "forward",
    "listen.host": "0.0.0.0,::",
    "listen.port": "0",
    "listen.unix_socket": "/run/sidecar.sock",
    "listen.unix_socket_mode": "0660",
    "listen.allowed_uids": "0,1000",
    "listen.allowed_hosts": "Sidecar,sidecar.internal",
    "listen.caller_key": CANARY_CALLER_KEY,
    "listen.max_body": "1KiB",
    "listen.header_timeout": "1s",
    "listen.body_timeout": "2s",
    "listen.keepalive_timeout": "3m",
    "listen.max_connections": "7",
    "admin.host": "10.0.0.1",
    "admin.port": "off",
    "admin.watch_hooks": "true",
    "tls.ca_file": "/ca.pem",
    "tls.extra_ca_file": "/extra.pem",
    "tls.client_cert_file": "/cert.pem",
    "tls.client_key_file": "/key.pem",
    "tls.client_key_password": "pass word",
    "token.prefetch": "false",
    "token.wait_timeout": "1500ms",
    "token.store": "file:/var/lib/token",
    "upstream.connect_timeout": "1",
    "upstream.response_timeout": "2",
    "upstream.pool_size": "3",
    "upstream.egress_proxy": "http://me:pw@proxy:3128",
    "replay.max_body": "0",
    "replay.budget": "1",
    "replay.resolve_conflicts": "true",
    "policy.read_only": "true",
    "policy.allow": "GET /**,POST /v2.01/*/users/**",
    "policy.deny": "* /v2.01/*/payouts/**",
    "limits.reserve": "20%",
    "limits.batch": "GET /v2.01/*/reports/**, * /v2.01/*/transfers",
    "limits.wait": "30s",
    "shutdown.delay": "5s",
    "shutdown.drain": "0",
    "log.level": "debug",
    "log.format": "json",
    "log.requests": "errors",
    "tracing.otlp_endpoint": "http://collector:4318/tenant/",
    "tracing.sample": "12.5%",
}


def complaining(function: Callable[..., T], *arguments: Any) -> T:
    """Call ``function`` with something to complain to, and raise what it complained of."""
    complaints = Complaints()
    result = function(*arguments, complaints)
    complaints.raise_all()
    return result


def written(directory: Path, content: str | bytes, name: str = "sidecar.toml", mode: int = 0o600) -> Path:
    """Write a file, and its directory if need be."""
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path
