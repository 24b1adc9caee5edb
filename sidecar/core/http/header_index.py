"""Which lines of a head matter to which rule, worked out once for each combination of names.

A client sends the same header names in the same order with every call, and so
does upstream. What a rule says of a line's *name* is therefore the same each
time, and only the *values* of the few lines that matter are read for each
message. A :class:`HeaderIndex` keeps those verdicts::

    header_index = index_of(raw)              # the same object for the same names
    for field, index in header_index[_FIELDS]: # _FIELDS = select(rule)
        value = raw[index][1]
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from sidecar.core.http.header_table import INDEXES, HeaderIndex, Names, Selector

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "HeaderIndex",
    "RawHeader",
    "RawHeaders",
    "index_of",
    "joined_values",
    "reject",
    "select",
]

T = TypeVar("T")

RawHeader: TypeAlias = tuple[bytes, bytes]
#: Header lines as they were received: names and values untouched (aiohttp's ``raw_headers``).
RawHeaders: TypeAlias = tuple[RawHeader, ...]
#: A rule's verdict on a line's name, and the line's number. Lines without a verdict are left out.
Selected: TypeAlias = tuple[tuple[T, int], ...]

_NAME: Final = itemgetter(0)
_VALUE: Final = itemgetter(1)


def index_of(raw: RawHeaders) -> HeaderIndex:
    """Return the index of a head's lines."""
    return INDEXES[tuple(map(_NAME, raw))]


def joined_values(raw: RawHeaders) -> bytes:
    """Return all values as one piece, to be searched at once."""
    return b"".join(map(_VALUE, raw))


def select(rule: Callable[[bytes], T]) -> Selector[Selected[T]]:
    """Return the selector of the lines on which ``rule`` has a verdict: anything true."""

    def selector(names: Names) -> Selected[T]:
        return tuple((verdict, index) for index, name in enumerate(names) if (verdict := rule(name)))

    return selector


def reject(rule: Callable[[bytes], object]) -> Selector[Callable[[tuple[T, ...]], tuple[T, ...]]]:
    """Return the selector that gives the lines without a verdict: a function from a head's lines to those."""

    def selector(names: Names) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
        return _picker([index for index, name in enumerate(names) if not rule(name)], len(names))

    return selector


def _picker(indices: list[int], count: int) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
    if len(indices) == count:
        return tuple
    if len(indices) > 1:
        return itemgetter(*indices)
    return itemgetter(slice(indices[0], indices[0] + 1) if indices else slice(0))
