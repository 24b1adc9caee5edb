"""FastAPI with httpx under uvicorn: the proxy that a Python team writes itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Launch
from benchmarks.peers.debian import version
from benchmarks.peers.pypi import environment

if TYPE_CHECKING:
    from benchmarks.peers.site import Site

_PROGRAMS: Final = Path(__file__).parent / "programs"
_VERSIONS: Final = """
from importlib.metadata import version
print(f"FastAPI {version('fastapi')}, httpx {version('httpx')}, uvicorn {version('uvicorn')} with uvloop and httptools")
"""


class FastApi:
    """One uvicorn process."""

    name = "FastAPI"
    described = "FastAPI + httpx under uvicorn, one process, uvloop and httptools, uvicorn's access log"

    def __init__(self) -> None:
        self._python = Path("python")

    def install(self, cache: Path) -> str:
        """Install its requirements."""
        self._python = environment("fastapi", cache)
        return version([self._python, "-c", _VERSIONS], r"(.+)")

    def launch(self, site: Site) -> Launch:
        """Run uvicorn as its documentation says."""
        uvicorn = ("-m", "uvicorn", "--host", "127.0.0.1", "--port", str(site.port), "--app-dir", _PROGRAMS)
        environ = {
            "BENCH_BASE_URL": f"https://127.0.0.1:{site.upstream_port}",
            "BENCH_TOKEN": site.token,
            "BENCH_CA_FILE": str(site.ca_file),
        }
        return Launch((self._python, *uvicorn, "fastapi_proxy:app"), environ)
