"""What the commands have in common: statuses, failures, and the options of more than one of them."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.config import Config

#: Exit statuses (contract section 2).
FAILED: Final = 1
BAD_USAGE: Final = 2
#: 128 + SIGINT, as a shell counts.
INTERRUPTED: Final = 130


def port(text: str) -> int:
    """Read a TCP port; 0 is any free one. Raises BadParameter, which does not repeat what was given."""
    if text.isascii() and text.isdecimal() and len(text) <= len("65535") and int(text) <= 65535:
        return int(text)
    raise click.BadParameter("give a number from 0 to 65535")


def seconds(text: str) -> float:
    """Read a number of seconds, 0 or more. Raises BadParameter, which does not repeat what was given."""
    with suppress(ValueError):
        number = float(text)
        if 0 <= number < math.inf:
            return number
    raise click.BadParameter("give a number of seconds, 0 or more")


#: The keys of the two ports, and the variables that set them.
_NAMING_ADMIN_PORT: Final = ("SIDECAR_CONFIG", "SIDECAR_ADMIN_HOST", "SIDECAR_ADMIN_PORT")
PORT_VARIABLES: Final = {"listen.port": "SIDECAR_LISTEN_PORT", "admin.port": "SIDECAR_ADMIN_PORT"}

#: What options give, by setting: the option's name and its text.
Options: TypeAlias = "Mapping[str, tuple[str, str]]"

config_option: Final[Callable[[Callable[..., Any]], Callable[..., Any]]] = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The TOML file. Default: what SIDECAR_CONFIG names, else none.",
)

admin_port_option: Final[Callable[[Callable[..., Any]], Callable[..., Any]]] = click.option(
    "--port", type=port, help="Ask this admin port; no configuration is read then."
)


def words(*known: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return the ``shell_complete`` of an option that offers ``known``; other text is checked where it is read."""
    return lambda _context, _option, begun: [word for word in known if word.startswith(begun)]


class CommandError(click.ClickException):
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


def by_options(message: str, options: Mapping[str, str]) -> str:
    """Return a message with options in place of variables that would change nothing; ``options`` by variable."""
    for variable, option in options.items():
        message = message.replace(f"set {variable}", f"give another {option}").replace(variable, option)
    return message


def load_config(
    path: Path | None, environ: Mapping[str, str] = os.environ, options: Options = MappingProxyType({})
) -> Config:
    """Read the configuration from ``path``, ``environ`` and a command's own ``options``.

    Raises CommandError (status 2), with a line for each thing that is wrong.
    """
    import msgspec

    from sidecar.config import ConfigError, load
    from sidecar.config.sources import SPELLINGS

    unread = unread_file(path) if environ is os.environ else None
    try:
        config = load(path, environ, options)
    except ConfigError as error:
        lines = error.lines if unread is None else (*error.lines, unread)
        given = {SPELLINGS[key][0].variable: option for key, (option, _) in options.items()}
        raise CommandError(by_options("\n".join(lines), given), BAD_USAGE) from None
    return config if unread is None else msgspec.structs.replace(config, warnings=(*config.warnings, unread))


def unread_file(named: Path | None) -> str | None:
    """Return a sentence about a configuration file that somebody may think is read; None: there is none.

    ``named`` is the one that is read because an option names it.
    """
    if named is not None or os.environ.get("SIDECAR_CONFIG"):
        return None
    try:
        there = Path("sidecar.toml").is_file()
    except OSError:
        there = False
    return "sidecar.toml in the working directory is not read: name it by --config sidecar.toml" if there else None


class AdminAddress(NamedTuple):
    """Where the running sidecar's admin port is asked."""

    #: Tried in order.
    hosts: tuple[str, ...]
    port: int
    #: How to name another port.
    other: str
    #: A sentence about a configuration that was not read; None: there is none.
    unread: str | None = None

    def nobody(self, mark: str = ":") -> str:
        """Say that no sidecar answers there, and behind ``mark`` what to do."""
        mend = f"start one with mangopay-sidecar run, or {self.other}"
        message = f"no sidecar answers on admin port {self.port}{mark} {mend}"
        return message if self.unread is None else f"{message}; {self.unread}"


def admin_address(config_path: Path | None, port: int | None) -> AdminAddress:
    """Return where the running sidecar's admin port is asked.

    ``port`` needs no configuration. Without one the configuration tells. If it cannot be read, as in the shell of
    somebody who only asks, and nothing there names a configuration or an admin port, it is the default. Raises
    CommandError.
    """
    from sidecar.config import Admin

    admin, other, unread = Admin(), "set SIDECAR_ADMIN_PORT", None
    if port is not None:
        admin, other = Admin(port=port), "give another --port"
    else:
        unread = unread_file(config_path)
        try:
            admin = load_config(config_path).admin
        except CommandError:
            if config_path is not None or any(os.environ.get(name) for name in _NAMING_ADMIN_PORT):
                raise
    if not admin.port:
        if admin.port is None:
            raise CommandError("admin.port is off, so nothing can be asked there: set SIDECAR_ADMIN_PORT to a port")
        raise CommandError(
            "admin.port is 0, any free one, so where to ask is not known: name it by --port, or set SIDECAR_ADMIN_PORT"
        )
    return AdminAddress(admin.host, admin.port, other, unread)
