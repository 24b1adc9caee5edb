"""Which lines of a head matter to which rule, worked out once for each combination of names.

A client sends the same header names in the same order with every call, and so
does upstream. What a rule says of a line's *name* is therefore the same each
time, and only the *values* of the few lines that matter are read for each
message. A :class:`Layout` keeps those verdicts::

    layout = layout_of(raw)              # the same object for the same names
    for field, index in layout[_FIELDS]: # _FIELDS = marked_by(rule)
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
Reader: TypeAlias = "Callable[[Names], T]"
#: A rule's verdict on a line's name, and the line's number. Lines without a verdict are left out.
Marked: TypeAlias = tuple[tuple[T, int], ...]

# Clients are few, and each has few kinds of calls. The bounds only stop one that invents names from filling the memory.
_LAYOUTS_KEPT: Final = 256
_BYTES_KEPT: Final = 2048


class Layout(dict["Reader[Any]", Any]):
    """What each reader made of one head's names."""

    __slots__ = ("names",)

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.names: Final = names

    if TYPE_CHECKING:

        def __getitem__(self, reader: Reader[T]) -> T: ...

    def __missing__(self, reader: Reader[T]) -> T:
        found = self[reader] = reader(self.names)
        return found


class _Layouts(dict[Names, Layout]):
    """The layouts that were asked for; emptied when it is full."""

    def __missing__(self, names: Names) -> Layout:
        layout = Layout(names)
        if sum(map(len, names)) <= _BYTES_KEPT:
            if len(self) >= _LAYOUTS_KEPT:
                self.clear()
            self[names] = layout
        return layout


LAYOUTS: Final = _Layouts()


def layout_of(raw: RawHeaders) -> Layout:
    """Return the layout of a head's lines."""
    return LAYOUTS[tuple([name for name, _ in raw])]


def joined_values(raw: RawHeaders) -> bytes:
    """Return all values as one piece, to be searched at once."""
    return b"".join([value for _, value in raw])


def marked_by(rule: Callable[[bytes], T]) -> Reader[Marked[T]]:
    """Return the reader of the lines on which ``rule`` has a verdict: anything true."""

    def read(names: Names) -> Marked[T]:
        return tuple((verdict, index) for index, name in enumerate(names) if (verdict := rule(name)))

    return read


def passed_by(rule: Callable[[bytes], object]) -> Reader[Callable[[tuple[T, ...]], tuple[T, ...]]]:
    """Return the reader of how to take the other lines, those without a verdict, out of a head's lines."""

    def read(names: Names) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
        return _picker([index for index, name in enumerate(names) if not rule(name)], len(names))

    return read


def _picker(indices: list[int], count: int) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
    if len(indices) == count:
        return tuple
    if len(indices) > 1:
        return itemgetter(*indices)
    return itemgetter(slice(indices[0], indices[0] + 1) if indices else slice(0))
