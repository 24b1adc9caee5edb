"""SIGHUP, which means two things: a person asks to read keys and certificates again, or the terminal was closed.

The signal does not tell which: a shell that loses its terminal sends it to its
jobs with kill(2), as a person does. But a process that loses its controlling
terminal cannot open ``/dev/tty`` any more (tty(4)). So it is the end if there was
a controlling terminal at the start and there is none now. Where SIGHUP was
ignored at the start (nohup(1)), the process was meant to outlive its terminal.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds after SIGHUP until the terminal is looked for again: the signal may come just before the terminal goes.
_SECOND_LOOK: Final = 0.5


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    os.close(terminal)
    return True


@contextmanager
def on_sighup(reload: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    """Have the running loop call ``reload`` for each SIGHUP, and ``end`` if the terminal was closed."""
    loop = asyncio.get_running_loop()
    ends_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()
    second_look: asyncio.TimerHandle | None = None
    ended = False

    def look() -> None:
        nonlocal ended
        if ends_with_terminal and not ended and not has_terminal():
            # Once: a shell and the kernel each send the signal, and a second one would cut calls short.
            ended = True
            end()

    def received() -> None:
        nonlocal second_look
        look()
        if ended:
            return
        reload()
        if ends_with_terminal and second_look is None:
            second_look = loop.call_later(_SECOND_LOOK, look_again)

    def look_again() -> None:
        nonlocal second_look
        second_look = None
        look()

    loop.add_signal_handler(signal.SIGHUP, received)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        if second_look is not None:
            second_look.cancel()
