"""What becomes of a request target: it is forwarded by a route, or refused by a rule (contract sections 4.1 and 4.2).

Who decides is :mod:`sidecar.core.admission.target`.
"""

from __future__ import annotations

from enum import Enum


class Route(Enum):
    """Who answers a request, and with which credential."""

    API = "api"
    LOCAL_TOKEN = "local_token"  # noqa: S105 - a route, not a password
    EMBEDDED_TOKEN = "embedded_token"  # noqa: S105 - a route, not a password
    #: ``GET /``: what this port is.
    ABOUT = "about"


class Rule(Enum):
    """Why a target is refused: a word for the log, and what the caller is told."""

    FORWARD_PROXY = (
        "used as a forward proxy",
        (
            "The request is one for an HTTP proxy (CONNECT, or a whole URL as its target), and the sidecar is none: "
            "give its address to the SDK as its base URL, and set no http_proxy or https_proxy to it"
        ),
    )
    TRACE = "TRACE", "TRACE is not forwarded: send another method"
    TWO_SLASHES = (
        "two slashes first",
        (
            "The path begins with two slashes: most often the base URL ends with a slash that it should not have; "
            "write it without"
        ),
    )
    NO_SLASH = (
        "no path",
        (
            "The request target must be a path that begins with one slash: give the sidecar's address to the SDK as "
            "its base URL, http://HOST:PORT"
        ),
    )
    NOT_ASCII = (
        "a character beyond ASCII",
        "The request target holds a character beyond ASCII as it is: percent-encode it as UTF-8, é as %C3%A9",
    )
    CONTROL = "a control character", "The request target holds a control character: percent-encode it, or leave it out"
    SPACE = "a space", "The request target holds a space: percent-encode it as %20"
    BACKSLASH = "a backslash", "The request target holds a backslash: write a slash, or percent-encode it as %5C"
    FRAGMENT = "a fragment", "The request target holds a '#': leave the fragment out, or percent-encode it as %23"
    DOT_SEGMENT = "a dot segment", "The path holds a '.' or '..' segment: send the path that it leads to"
    BELOW_OAUTH = (
        "below the token path",
        (
            "Only POST /v2.01/oauth/token and POST /v2.01/oauth/token/embedded/recipient or .../checkout are served "
            "below oauth/token: use that method and spelling"
        ),
    )
    NESTED = "nested encoding", "The path is percent-encoded too many times over: encode it once"

    def __init__(self, detail: str, message: str) -> None:
        self.detail = detail
        self.message = message
