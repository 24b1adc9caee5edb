"""Where verdicts on the names of a head are kept; see :mod:`sidecar.core.http.header_index`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Names: TypeAlias = tuple[bytes, ...]
#: What is worked out from the names of a head.
Selector: TypeAlias = "Callable[[Names], T]"

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

        def __getitem__(self, selector: Selector[T]) -> T: ...

    def __missing__(self, selector: Selector[T]) -> T:
        found = self[selector] = selector(self.names)
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
