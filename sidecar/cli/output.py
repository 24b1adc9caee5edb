"""stdout and stderr, which may be closed, or read by somebody who has left.

Printed text may come from elsewhere. Of control characters only line ends pass, and in painted text our own colours
(``sidecar.core.rows``).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from sidecar.core.rows import color_wanted
from sidecar.core.text import printable


def print_line(text: str) -> None:
    """Print ``text`` on stdout, at once. If nobody reads any more, nothing happens.

    Raises OSError if stdout cannot take it for another reason (a full disk).
    """
    _write(sys.stdout, text)


def print_painted(text: str) -> bool:
    """Print ``text``, in which all that came from elsewhere is printable already; return whether anybody reads it.

    Raises OSError if stdout cannot take it.
    """
    return _send(sys.stdout, text)


def colors() -> bool:
    """Whether stdout is to be written in colour."""
    return color_wanted(os.environ, terminal=is_terminal(sys.stdout))


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at ``stream``."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def print_error(message: str) -> None:
    """Print ``message`` on stderr as one line, at once; never raises for what stderr does."""
    try:
        _write(sys.stderr, " ".join(message.split()))
    except OSError:
        return


def print_help(text: str) -> None:
    """Print a help text on stderr, as it is; never raises for what stderr does."""
    with suppress(OSError):
        _write(sys.stderr, text)


def _write(stream: TextIO | None, text: str) -> None:
    _send(stream, "".join(f"{printable(line)}\n" for line in text.removesuffix("\n").split("\n")))


def _send(stream: TextIO | None, text: str) -> bool:
    """Write at once; return whether there is anybody who reads."""
    if stream is None:
        return False
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _silence(stream)
        if not isinstance(error, BrokenPipeError):
            error.filename = "stdout" if stream is sys.stdout else "stderr"
            raise
        return False
    return True


def _silence(stream: TextIO) -> None:
    """Send what is still buffered, and all that follows, to /dev/null: else the interpreter fails at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
