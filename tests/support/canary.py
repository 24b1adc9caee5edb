"""Secrets that must never be seen again once a test has planted them.

A test that needs an API key, an embedded key, a caller key or a token takes it
from here. After every test the outer ``conftest`` looks for them in all that
was captured: output, logs, child processes' output, and what a test itself
hands to :func:`record` (the sidecar's own responses, a status page, metrics).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The platform's API key: known to the sidecar and to Mangopay, to nobody else.
CANARY_API_KEY: Final = "cAnArYaPiKeY7d1f0b9c4e2a4f6bA1"
#: The dedicated key of the embedded experiences.
CANARY_EMBEDDED_KEY: Final = "cAnArYeMbEdDeDkEy3c5e8a1d2b7f9C2"
#: What callers prove to the sidecar.
CANARY_CALLER_KEY: Final = "cAnArYcAlLeRkEy9f2d6c4b8a0e1D3"
#: How every access token of a scripted upstream begins.
CANARY_TOKEN: Final = "cAnArYtOkEn"

_NAMES: Final = {
    CANARY_API_KEY: "the API key",
    CANARY_EMBEDDED_KEY: "the embedded API key",
    CANARY_CALLER_KEY: "the caller key",
    CANARY_TOKEN: "an access token",
}


def _base64_cores(secret: str) -> Iterator[str]:
    """Yield what base64 makes of ``secret`` wherever it begins in a longer text (``ClientId:ApiKey``).

    Three offsets are possible; the characters at both ends depend on the
    neighbours and are left out.
    """
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        yield encoded[4 if offset else 0 : -2]


_NEEDLES: Final = [(needle, name) for secret, name in _NAMES.items() for needle in (secret, *_base64_cores(secret))]

_recorded: list[tuple[str, str]] = []
_watched: dict[int, tuple[str, Callable[[], str]]] = {}
_looked_up_to: dict[int, int] = {}


def leaks(text: str) -> list[str]:
    """Name the planted secrets that ``text`` shows, plain or inside Basic credentials."""
    return sorted({name for needle, name in _NEEDLES if needle in text})


def record(where: str, response: str | bytes) -> None:
    """Remember something that a caller, a log or a dashboard got to see; it is searched when the test ends."""
    _recorded.append((where, response.decode("utf-8", "replace") if isinstance(response, bytes) else response))


def watch(where: str, read: Callable[[], str]) -> int:
    """Have ``read()``, a text that only grows, searched after every test from now on; return a ticket for unwatch."""
    ticket = max(_watched, default=0) + 1
    _watched[ticket] = (where, read)
    return ticket


def unwatch(ticket: int) -> None:
    """Search the text one last time, when this test ends, and never after."""
    where, read = _watched.pop(ticket)
    record(where, read()[_looked_up_to.pop(ticket, 0) :])


def collect() -> list[str]:
    """Search all that came together since the last call; return a sentence for each leak."""
    found = [(where, name) for where, text in _recorded for name in leaks(text)]
    _recorded.clear()
    for ticket, (where, read) in _watched.items():
        text = read()
        # A secret may have been cut in two by the last look: overlap by more than the longest needle.
        start = max(0, _looked_up_to.get(ticket, 0) - 64)
        found += [(where, name) for name in leaks(text[start:])]
        _looked_up_to[ticket] = len(text)
    return sorted({f"{name} shows in {where}" for where, name in found})
