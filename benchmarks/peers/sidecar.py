"""The sidecar as users run it: everything on, the log as JSON to a file, its token from the token endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Launch
from benchmarks.measure import interpreters
from benchmarks.measure.machine import checkout
from benchmarks.peers import pypi
from benchmarks.peers.debian import version
from benchmarks.peers.site import NotInstallableError
from benchmarks.upstream import CLIENT_ID

if TYPE_CHECKING:
    from benchmarks.peers.site import Site

_ROOT: Final = Path(__file__).parents[2]


class SidecarPeer:
    """A ``mangopay-sidecar`` command: this checkout's, or another one's for a comparison."""

    described = "defaults: request log as JSON to a file, metrics, guard, deadlines, replay buffer, admin port"

    def __init__(self, name: str, command: Path) -> None:
        self.name = name
        self.command = command

    @property
    def _checkout(self) -> Path:
        # CHECKOUT/.venv/bin/mangopay-sidecar
        return self.command.absolute().parents[2]

    def install(self, _cache: Path) -> str:
        """Nothing to install; say which one it is, on which Python. Raises NotInstallableError."""
        if not self.command.is_file():
            raise NotInstallableError(f"there is no {self.command}: run `make setup` in its checkout")
        try:
            python = interpreters.ask(self.command.with_name("python"))
        except interpreters.NoInterpreterError as error:
            raise NotInstallableError(str(error)) from None
        ours = version([self.command, "--version"], r"([0-9][0-9.a-z]*)")
        return f"mangopay-sidecar {ours} ({checkout(self._checkout)}) on Python {python}"

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


class SidecarOnAnotherPython(SidecarPeer):
    """This checkout's sidecar in an environment of its own, made of another Python of this machine."""

    def __init__(self, base: Path) -> None:
        """``base`` is that Python. Raises NoInterpreterError if it does not run."""
        found = interpreters.ask(base)
        # Until it is installed there is no command; the name of its environment comes from the cache.
        super().__init__(f"sidecar on {found.short}", base)
        self._base = base
        self._place = f"sidecar-{found.short.replace(' ', '-').lower()}"

    @property
    def _checkout(self) -> Path:
        return _ROOT

    def install(self, cache: Path) -> str:
        """Make the environment. Raises NotInstallableError."""
        python = pypi.installed(cache / self._place, ["run", "build"], self._base, ours=True)
        self.command = python.with_name("mangopay-sidecar")
        return super().install(cache)
