"""The sidecar as users run it: everything on, the log as JSON to a file, its token from the token endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.children import Launch
from benchmarks.measure.machine import checkout
from benchmarks.peers.debian import version
from benchmarks.peers.site import NotInstallableError
from benchmarks.upstream import CLIENT_ID

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.peers.site import Site


class SidecarPeer:
    """A ``mangopay-sidecar`` command: this checkout's, or another one's for a comparison."""

    described = "defaults: request log as JSON to a file, metrics, guard, deadlines, replay buffer, admin port"

    def __init__(self, name: str, command: Path) -> None:
        self.name = name
        self.command = command

    def install(self, _cache: Path) -> str:
        """Nothing to install; say which one it is."""
        if not self.command.is_file():
            raise NotInstallableError(f"there is no {self.command}: run `make setup` in its checkout")
        python = version([self.command.with_name("python"), "--version"], r"Python (\S+)")
        ours = version([self.command, "--version"], r"([0-9][0-9.a-z]*)")
        # CHECKOUT/.venv/bin/mangopay-sidecar
        return f"mangopay-sidecar {ours} ({checkout(self.command.absolute().parents[2])}) on Python {python}"

    def launch(self, site: Site) -> Launch:
        """Configure it."""
        environ = {
            "SIDECAR_MANGOPAY_ENVIRONMENT": "sandbox",
            "SIDECAR_MANGOPAY_BASE_URL": f"https://127.0.0.1:{site.upstream_port}",
            "SIDECAR_MANGOPAY_CLIENT_ID": CLIENT_ID,
            "SIDECAR_MANGOPAY_API_KEY": "a-key-for-a-benchmark",
            "SIDECAR_TLS_CA_FILE": str(site.ca_file),
            "SIDECAR_LISTEN_PORT": str(site.port),
            "SIDECAR_ADMIN_PORT": "0",
        }
        return Launch((self.command, "run"), environ)
