"""Showing something again and again: drawn in its place on a terminal, else block after block."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from sidecar.cli.command import CommandError
from sidecar.cli.output import is_terminal, print_painted
from sidecar.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two looks.
PAUSE: Final = 2.0
#: To the upper left; and clear what is right of the cursor, or below it (ECMA-48: CUP, EL, ED).
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"


def watch(look: Callable[[], str], *, pause: Callable[[float], None] = time.sleep) -> int:
    """Show what ``look`` returns, every :data:`PAUSE` seconds, until SIGINT or SIGTERM or until nobody reads it.

    A CommandError of ``look`` is shown in its place, since it may pass. Returns the exit status.
    """
    # The usual end of this command, whoever asks for it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    terminal = is_terminal(sys.stdout)
    first = True
    try:
        while _show(_words(look), terminal=terminal, first=first):
            first = False
            pause(PAUSE)
    except KeyboardInterrupt:
        return 0
    return 0


def _words(look: Callable[[], str]) -> str:
    try:
        return look()
    except CommandError as error:
        lines = "\n".join(printable(line) for line in error.format_message().splitlines())
        return f"{lines}\n(asking again every {PAUSE:g} s; Ctrl-C ends this)\n"


def _show(text: str, *, terminal: bool, first: bool) -> bool:
    """Print one picture; return whether anybody reads it."""
    if terminal:
        # Line by line over what was there: a cleared screen would flicker.
        lines = "".join(f"{line}{_CLEAR_LINE}\n" for line in text.splitlines())
        # What was on the screen before stays above it, where one can scroll to.
        room = "\n" * shutil.get_terminal_size().lines if first else ""
        return print_painted(f"{room}{_HOME}{lines}{_CLEAR_BELOW}")
    return print_painted(text if first else f"\n{text}")
