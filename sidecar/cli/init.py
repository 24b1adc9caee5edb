"""``init``: write a commented configuration."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from sidecar.cli.command import BAD_USAGE, Command, Failure
from sidecar.cli.output import say


@click.command("init", cls=Command)
@click.argument("file", type=click.Path(path_type=Path), default=Path("sidecar.toml"))
def command(file: Path) -> int:
    """Write a configuration with every key commented to FILE (sidecar.toml), for its owner only to read.

    A file that is there already is left alone.
    """
    from sidecar.config.render import render_example

    try:
        # O_EXCL: neither a file nor a link, dangling or not, is written through.
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(render_example())
    except FileExistsError:
        message = f"{_shown(file)} exists already and is left as it is: name another file"
        raise Failure(message, BAD_USAGE) from None
    except OSError as error:
        message = f"cannot write {_shown(file)}: {error.strerror}"
        raise Failure(message, BAD_USAGE) from None
    say(
        f"Wrote {_shown(file)}. Fill in client_id and api_key_file, then:\n"
        f"  mangopay-sidecar run --config {shlex.quote(_shown(file))}"
    )
    return 0


def _shown(file: Path) -> str:
    text = str(file)
    return text if text.isprintable() else ascii(text)
