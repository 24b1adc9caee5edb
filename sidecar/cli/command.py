"""What the commands have in common: statuses, failures, and the options of more than one of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.config import Config

#: Exit statuses (contract section 2).
FAILED: Final = 1
BAD_USAGE: Final = 2
#: 128 + SIGINT, as a shell counts.
INTERRUPTED: Final = 130

#: A TCP port; 0 is any free one.
PORT: Final = click.IntRange(0, 65535)

config_option: Final[Callable[[Callable[..., Any]], Callable[..., Any]]] = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The TOML file. Default: what SIDECAR_CONFIG names, else none.",
)


class Failure(click.ClickException):
    """Ends a command with ``status``, after one line on stderr: what is wrong, where, the mend."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status: Final = status


class Command(click.Command):
    """A command whose surplus arguments are refused without repeating them: a key may be among them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, surplus arguments apart."""
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError("there are more arguments than the command takes", ctx)
        return ctx.args


def load_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration from ``path`` and ``environ``; raises Failure (status 2)."""
    from sidecar.config import ConfigError, load

    try:
        return load(path, environ)
    except ConfigError as error:
        raise Failure(str(error), BAD_USAGE) from None
