"""Text from elsewhere, made safe to print."""

from __future__ import annotations


def printable(text: str, limit: int | None = None) -> str:
    """Return the first ``limit`` characters of ``text`` (all without one) with ``?`` for each that is not printable.

    Control characters move a cursor or forge a line, invisible ones turn what
    a person reads (contract section 2).
    """
    return "".join(each if each.isprintable() else "?" for each in text[:limit])
