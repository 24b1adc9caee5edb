"""mitmproxy in reverse mode with an addon that sets the header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Launch
from benchmarks.peers.debian import version
from benchmarks.peers.pypi import environment

if TYPE_CHECKING:
    from benchmarks.peers.site import Site

_ADDON: Final = Path(__file__).parent / "programs" / "mitmproxy_addon.py"


class Mitmproxy:
    """mitmdump."""

    name = "mitmproxy"
    described = "mitmdump in reverse mode, an addon for the header, its usual line a flow"

    def __init__(self) -> None:
        self._program = Path("mitmdump")
        self._home = Path("mitmproxy-home")

    def install(self, cache: Path) -> str:
        """Install its requirements."""
        self._program = environment("mitmproxy", cache).with_name("mitmdump")
        # Where it keeps an authority of its own, which is made at the first start and is of no use here.
        self._home = cache / "mitmproxy-home"
        return version([self._program, "--version"], r"Mitmproxy: (\S+)")

    def launch(self, site: Site) -> Launch:
        """Configure it."""
        options = {
            "confdir": self._home,
            "ssl_verify_upstream_trusted_ca": site.ca_file,
            "tls_version_server_min": "TLS1_3",
        }
        settings = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
        mode = ("--mode", f"reverse:https://127.0.0.1:{site.upstream_port}")
        listen = ("--listen-host", "127.0.0.1", "--listen-port", str(site.port))
        return Launch((self._program, *mode, *listen, *settings, "-s", _ADDON), {"BENCH_TOKEN": site.token})
