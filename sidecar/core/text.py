"""Small pieces of text: those from elsewhere made safe to print, numbers and durations in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def printable(text: str, limit: int | None = None) -> str:
    """Return the first ``limit`` characters of ``text`` (all without one) with ``?`` for each that is not printable.

    Control characters move a cursor or forge a line, invisible ones turn what
    a person reads (contract section 2).
    """
    return "".join(each if each.isprintable() else "?" for each in text[:limit])


def printable_name(name: str | Path, limit: int = 200) -> str:
    """Return a file's or key's name, cut after ``limit`` characters, safe to print on one line.

    One that is not printable is escaped rather than covered, so that it can still be found.
    """
    text = str(name)
    if len(text) > limit:
        text = f"{text[:limit]}…"
    return text if text.isprintable() else ascii(text)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 call``, ``1,204 calls``."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def size(number: int) -> str:
    """Bytes in a unit that people read: ``600 B``, ``2.1 MiB``, ``64 MiB``."""
    amount, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    digits = 1 if amount < 10 else 0
    return f"{amount:.{digits}f} {unit}".replace(".0 ", " ")


def milliseconds(number: float) -> str:
    """Milliseconds with three digits that matter: ``0.42 ms``, ``12.4 ms``, ``152 ms``, ``1.21 s``, ``60.0 s``."""
    if number >= 1000:
        return f"{number / 1000:.{1 if number >= 10_000 else 2}f} s"
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f} ms"


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
