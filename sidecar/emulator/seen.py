"""What came in and what went out, in a line each."""

from __future__ import annotations

import time
from typing import Final

import msgspec

#: How much of a path is shown, in characters.
_LONGEST_PATH: Final = 200


class Seen(msgspec.Struct, frozen=True):
    """A request that is over: ``at`` is Unix seconds, ``status`` 0 if there was no response.

    ``path`` is without the query; ``fault`` is the action of the rule that it fell under.
    """

    at: float
    method: str
    path: str
    status: int
    fault: str | None = None

    @property
    def time(self) -> str:
        """The time of day, in UTC."""
        return time.strftime("%H:%M:%S", time.gmtime(self.at))

    def line(self) -> str:
        """Return it as a line for a terminal; what does not print is shown as ``?``."""
        shown = self.path if len(self.path) <= _LONGEST_PATH else f"{self.path[:_LONGEST_PATH]}…"
        path = "".join(letter if letter.isprintable() else "?" for letter in shown)
        fault = "" if self.fault is None else f" fault={self.fault}"
        return f"{self.time} {self.status or '---'} {self.method} {path}{fault}"
