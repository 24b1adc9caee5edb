"""Small pieces of text: those from elsewhere made safe to print, numbers and durations in words."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def printable(text: str, limit: int | None = None) -> str:
    """Return the first ``limit`` characters of ``text`` (all without one) with ``?`` for each that is not printable.

    Control characters move a cursor or forge a line, invisible ones turn what
    a person reads (contract section 2).
    """
    return "".join(each if each.isprintable() else "?" for each in text[:limit])


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 call``, ``2 calls``."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def capital(words: str) -> str:
    """Return words with a capital at their beginning."""
    return words[:1].upper() + words[1:]


def sentence(words: str) -> str:
    """Return words as a sentence: with a capital and a full stop."""
    return capital(words).rstrip(".") + "."


def duration(seconds: float) -> str:
    """Two units at most: ``2 h 5 min``, ``42 s``."""
    left = max(0, int(seconds))
    parts = []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    if left or not parts:
        parts.append(f"{left} s")
    return " ".join(parts[:2])
