"""Instructions of a program, counted by valgrind's callgrind, stretch by stretch.

What matters is never a whole run but a stretch of it, without the start and without
the warm-up. Callgrind writes a dump and begins anew whenever the program calls a
chosen C function; so a stretch lies between two calls of a function that nothing else
calls meanwhile. That needs neither a compiler nor the right to trace a process.
"""

from __future__ import annotations

import re
import shutil
import statistics
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TOTAL: Final = re.compile(r"^(?:summary|totals): (\d+)$", re.MULTILINE)
_OUT: Final = "callgrind.out"


class CountingError(Exception):
    """Nothing could be counted; the message says why, and the mend."""


class Callgrind:
    """One program's run under callgrind; its dumps are kept in ``directory``."""

    def __init__(self, directory: Path, mark: str = "") -> None:
        """``mark`` is the C function, or a pattern with ``*``, before which the count begins anew.

        Raises CountingError if there is no valgrind.
        """
        if shutil.which("valgrind") is None:
            raise CountingError("valgrind is not installed (Debian: apt-get install valgrind)")
        self._directory: Final = directory
        self._mark: Final = mark
        self._seen: set[Path] = set()

    @property
    def prefix(self) -> list[str]:
        """What the command to run is put behind."""
        options = [f"--callgrind-out-file={self._directory / _OUT}", f"--log-file={self._directory / 'valgrind.log'}"]
        if self._mark:
            options.append(f"--dump-before={self._mark}")
        return ["valgrind", "--tool=callgrind", *options]

    def since_last(self) -> int:
        """Return the instructions between the last mark that was asked for and the newest one.

        Raises CountingError if the program has not come to a new mark.
        """
        new = {path for path in self._directory.glob(f"{_OUT}.*") if path not in self._seen}
        if not new:
            raise CountingError(f"the program has not called {self._mark}: {self.last_words()}")
        self._seen |= new
        return sum(map(_total, new))

    def stretch(self, mark: Callable[[], None], what: Callable[[], None]) -> tuple[int, float]:
        """Return the instructions and the seconds of ``what``; ``mark`` has the program come to the mark.

        Raises CountingError, as :meth:`since_last` does.
        """
        mark()
        self.since_last()
        begun = time.perf_counter()
        what()
        mark()
        return self.since_last(), time.perf_counter() - begun

    def median_of_last(self, stretches: int) -> float:
        """Return the median of the last stretches between marks, once the run is over."""
        dumps = sorted(self._directory.glob(f"{_OUT}.*"), key=lambda path: int(path.suffix[1:]))
        if len(dumps) <= stretches:
            raise CountingError(f"the program has called {self._mark} {len(dumps)} times only: {self.last_words()}")
        return statistics.median(map(_total, dumps[-stretches:]))

    def whole(self) -> int:
        """Return the instructions of the whole run, once it is over."""
        return sum(map(_total, self._directory.glob(f"{_OUT}*")))

    def last_words(self) -> str:
        """Return what valgrind had to say."""
        log = self._directory / "valgrind.log"
        return " | ".join(log.read_text("utf-8", "replace").splitlines()[-3:]) if log.exists() else "no log"


def _total(dump: Path) -> int:
    found = _TOTAL.findall(dump.read_text("utf-8", "replace"))
    if not found:
        raise CountingError(f"{dump.name} has no total: the run was cut off")
    return int(found[-1])
