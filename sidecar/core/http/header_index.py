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
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RawHeader: TypeAlias = tuple[bytes, bytes]
#: Header lines as they were received: names and values untouched (aiohttp's ``raw_headers``).
RawHeaders: TypeAlias = tuple[RawHeader, ...]
Names: TypeAlias = tuple[bytes, ...]
#: What is worked out from the names of a head.
Selector: TypeAlias = "Callable[[Names], T]"
#: A rule's verdict on a line's name, and the line's number. Lines without a verdict are left out.
Selected: TypeAlias = tuple[tuple[T, int], ...]

# Clients are few, and each has few kinds of calls. The bounds only stop one that invents names from filling the memory.
_INDEXES_KEPT: Final = 256
_BYTES_KEPT: Final = 2048


class HeaderIndex(dict["Selector[Any]", Any]):
    """What each selector made of one head's names."""

    __slots__ = ("names",)

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.names: Final = names

    if TYPE_CHECKING:

        def __getitem__(self, reader: Selector[T]) -> T: ...

    def __missing__(self, reader: Selector[T]) -> T:
        found = self[reader] = reader(self.names)
        return found


class _HeaderIndexes(dict[Names, HeaderIndex]):
    """The indexes that were asked for; emptied when it is full."""

    def __missing__(self, names: Names) -> HeaderIndex:
        header_index = HeaderIndex(names)
        if sum(map(len, names)) <= _BYTES_KEPT:
            if len(self) >= _INDEXES_KEPT:
                self.clear()
            self[names] = header_index
        return header_index


INDEXES: Final = _HeaderIndexes()


def index_of(raw: RawHeaders) -> HeaderIndex:
    """Return the index of a head's lines."""
    return INDEXES[tuple([name for name, _ in raw])]


def joined_values(raw: RawHeaders) -> bytes:
    """Return all values as one piece, to be searched at once."""
    return b"".join([value for _, value in raw])


def select(rule: Callable[[bytes], T]) -> Selector[Selected[T]]:
    """Return the selector of the lines on which ``rule`` has a verdict: anything true."""

    def read(names: Names) -> Selected[T]:
        return tuple((verdict, index) for index, name in enumerate(names) if (verdict := rule(name)))

    return read


def reject(rule: Callable[[bytes], object]) -> Selector[Callable[[tuple[T, ...]], tuple[T, ...]]]:
    """Return the selector that gives the lines without a verdict: a function from a head's lines to those."""

    def read(names: Names) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
        return _picker([index for index, name in enumerate(names) if not rule(name)], len(names))

    return read


def _picker(indices: list[int], count: int) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
    if len(indices) == count:
        return tuple
    if len(indices) > 1:
        return itemgetter(*indices)
    return itemgetter(slice(indices[0], indices[0] + 1) if indices else slice(0))
