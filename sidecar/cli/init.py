"""``init``: write a commented configuration."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from sidecar.cli.command import BAD_USAGE, Command, CommandError
from sidecar.cli.new_file import write_new
from sidecar.cli.output import print_line

#: Characters: PATH_MAX of Linux. The name is a part of a command to be copied, so it is shown whole.
_LONGEST_PATH: Final = 4096


@click.command("init", cls=Command)
@click.argument("file", type=click.Path(path_type=Path), default=Path("sidecar.toml"))
def command(file: Path) -> int:
    """Write a configuration with every key commented to FILE (sidecar.toml), for its owner only to read.

    A file that is there already is left alone.
    """
    from sidecar.config.render import render_example
    from sidecar.core.system_errors import mend, reason
    from sidecar.core.text import printable_name

    name = printable_name(file, _LONGEST_PATH)
    try:
        write_new(file, render_example().encode(), 0o600)
    except FileExistsError:
        message = f"{name} exists already and is left as it is: name another file"
        raise CommandError(message, BAD_USAGE) from None
    except OSError as error:
        message = f"cannot write {name} ({reason(error)}): {mend(error) or 'name another file'}"
        raise CommandError(message, BAD_USAGE) from None
    print_line(
        f"Wrote {name}. Fill in client_id and api_key_file, then:\n  mangopay-sidecar run --config {shlex.quote(name)}"
    )
    return 0
