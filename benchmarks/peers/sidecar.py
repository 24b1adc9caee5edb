"""The sidecar as users run it: everything on, the log as JSON to a file, its token from the token endpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Launch
from benchmarks.measure import interpreters
from benchmarks.measure.machine import checkout
from benchmarks.measure.results import Build
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
        #: Known once it is installed.
        self.build: Build | None = None

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
        ours = version([self.command, "--version"], r"([0-9][0-9.a-z]*(?: \(compiled)?)")
        number, _, compiled = ours.partition(" ")
        self.build = Build.of(compiled=bool(compiled), pgo=python.pgo)
        how = ", compiled," if compiled else ""
        return f"mangopay-sidecar {number}{how} ({checkout(self._checkout)}) on Python {python}"

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


class InstalledSidecar(SidecarPeer):
    """This checkout's sidecar in an environment of its own: on another Python of this machine, compiled, or both."""

    def __init__(self, base: Path | None, *, compiled: bool = False) -> None:
        """``base`` is that Python; None: this one. Raises NoInterpreterError if it does not run."""
        found = interpreters.this() if base is None else interpreters.ask(base)
        kind = "sidecar compiled" if compiled else "sidecar"
        # Until it is installed there is no command; the name of its environment comes from the cache.
        super().__init__(kind if base is None else f"{kind} on {found.short}", found.program)
        self._base = Path(sys.executable) if base is None else base
        self._compiled = compiled
        self._place = f"{kind} {found.short}".replace(" ", "-").lower()

    @property
    def _checkout(self) -> Path:
        return _ROOT

    def install(self, cache: Path) -> str:
        """Make the environment. Raises NotInstallableError."""
        names = ["run", "build", *(["compile"] if self._compiled else [])]
        ours = pypi.Ours.COMPILED if self._compiled else pypi.Ours.AS_IT_IS
        python = pypi.installed(cache / self._place, names, self._base, ours=ours)
        self.command = python.with_name("mangopay-sidecar")
        return super().install(cache)
