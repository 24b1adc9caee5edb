"""The process around a command: its descriptors, its core dumps, its event loop."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")


def open_standard_descriptors() -> None:
    """Point those of stdin, stdout and stderr that are closed at /dev/null.

    Otherwise the first socket or file to be opened gets the number 0, 1 or 2,
    and what somebody prints ends up in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given out first (POSIX open), so this is it.
            os.open(os.devnull, os.O_RDWR)


def forbid_core_dumps() -> None:
    """Let no core file be written: it would hold keys and tokens. Only the soft limit is lowered."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


@contextmanager
def without_rich() -> Iterator[None]:
    """Make ``import rich`` fail within.

    structlog imports rich where it is installed, to paint tracebacks that the
    sidecar never shows, at the price of 40 ms and 5 MiB.
    """
    if "rich" in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules["rich"] = None  # the import system's word for "not to be found"
    try:
        yield
    finally:
        del modules["rich"]


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on a new event loop: uvloop's where it is installed, else asyncio's."""
    import asyncio

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
