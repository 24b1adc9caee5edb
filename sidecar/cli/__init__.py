"""The command ``mangopay-sidecar``: one module a command, imported only when that command is given."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (default: the process's own) name, and exit with its status."""
    from sidecar.cli.process import open_standard_descriptors

    # Before anything else opens a file: it could get the number of a closed stderr.
    open_standard_descriptors()
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):  # it may have become something else since it was opened
            sys.stdout.reconfigure(errors="replace")  # a locale may lack a character of ours
    from sidecar.cli.group import invoke, tell_unexpected

    sys.excepthook = tell_unexpected
    sys.exit(invoke(arguments))
