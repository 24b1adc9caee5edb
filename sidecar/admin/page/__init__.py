"""The status page: one HTML document with its style and script in it, put together when somebody first looks at it.

Nothing is loaded from anywhere, and the Content-Security-Policy says so: it names
the hashes of the one style and the one script that may run. Data reach the page as
events, and the document as text alone, never as HTML: Trusted Types, where a
browser has them, forbid every way around that.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

#: In this order they make one script.
_SCRIPTS: Final = (
    *("format.js", "document.js", "findings.js", "panels.js", "chart.js"),
    *("calls.js", "detail.js", "start.js", "live.js"),
)


class Page(NamedTuple):
    """The document, and the value of its ``Content-Security-Policy``."""

    html: bytes
    policy: str


@cache
def page() -> Page:
    """Return the page; it is the same for everybody and at all times."""
    sources = files(__name__)
    style = sources.joinpath("page.css").read_bytes()
    script = b"\n".join(sources.joinpath(name).read_bytes() for name in _SCRIPTS)
    html = sources.joinpath("page.html").read_bytes()
    html = html.replace(b"/* page.css */", style).replace(b"/* script */", script)
    return Page(html, _policy(style, script))


def _policy(style: bytes, script: bytes) -> str:
    directives = (
        "default-src 'none'",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
        "connect-src 'self'",
        # The icon in the browser's tab, which shows how bad it is.
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(directives)


def _hash(source: bytes) -> str:
    """Name an inline style or script as CSP does (CSP Level 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source).digest()).decode('ascii')}'"
