"""Where fuzzing begins: a few chosen inputs on file, and every case of the threat suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.wire.threats.tables import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS: Final = Path(__file__).with_name("corpus")

#: Bytes: a longer seed only slows the search down.
_LONGEST: Final = 4096


def chosen(target: str) -> dict[str, bytes]:
    """Return the inputs on file, by their names."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).iterdir())}


def from_cases(target: str) -> Iterator[bytes]:
    """Yield what the cases of the threat suite send: callers for ``request``, upstream for ``response``."""
    for case in ALL.values():
        data = [case.sent[0]] if target == "request" else [reply.data for reply in case.replies]
        yield from (each for each in data if 0 < len(each) <= _LONGEST)
