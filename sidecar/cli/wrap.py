"""``wrap``: serve for as long as a command runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from sidecar.cli.child import Child
from sidecar.cli.command import PORT_VARIABLES, Command, CommandError, config_option, load_config
from sidecar.cli.process import forbid_core_dumps

#: What ``env``, ``timeout`` and ``docker run`` use for failures of their own: hardly a program's own status.
COULD_NOT_START: Final = 125


class _Wrap(Command):
    """Tells mistakes in its own arguments by a status that is not the command's either."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.exit_code = COULD_NOT_START  # type: ignore[misc]  # click declares it for the class, and reads it here
            raise


@click.command(
    "wrap", cls=_Wrap, context_settings={"allow_interspersed_args": False}, options_metavar="[--timeout S] --"
)
@config_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="S",
    help="Seconds until the sidecar must be ready.",
)
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def command(config_path: Path | None, timeout: float, cmd: tuple[str, ...]) -> int:
    """Start the sidecar, run CMD with MANGOPAY_BASE_URL set, and stop the sidecar when CMD has ended.

    A port that is not set is the usual one, or a free one where that is in use. CMD gets the environment but for
    SIDECAR_*, with loopback in NO_PROXY, and the signals that are sent to this process. It has to stay in the
    foreground: what it leaves behind runs on without the sidecar.

    Exits with CMD's own status: 126 if it cannot be run, 127 if it is not found, 128+n if it ended by signal n; or
    with 125 if the sidecar could not start or was not ready in time.
    """
    try:
        child = Child.fork(cmd)
        try:
            return _serve(config_path, child, timeout)
        finally:
            child.abandon()
    except CommandError as failure:
        raise CommandError(failure.format_message(), COULD_NOT_START) from None
    except OSError as error:
        message = f"cannot run a command: {error.strerror or type(error).__name__}"
        raise CommandError(message, COULD_NOT_START) from None


def _serve(config_path: Path | None, child: Child, timeout: float) -> int:
    forbid_core_dumps()
    _let_go_of_stdin_and_stdout()
    unset_ports = _unset_ports(config_path)
    config = load_config(config_path)
    if config.listen.port is None:
        raise CommandError('listen.port is "off", so there is no URL to give to CMD: set SIDECAR_LISTEN_PORT to a port')
    # Only now: what this takes to import should not be there yet when the child is forked.
    from sidecar.cli.wrapped import run
    from sidecar.config import load

    return run(config, child, timeout, lambda: load(config_path, os.environ), unset_ports)


def _let_go_of_stdin_and_stdout() -> None:
    """Leave both to the command alone, so that whoever is at the other end notices when it closes them."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _unset_ports(path: Path | None) -> frozenset[str]:
    """Return the keys of the ports that neither the environment nor the file sets."""
    from sidecar.config import ConfigError
    from sidecar.config.sources import CONFIG, read_document, read_environment

    name = path or os.environ.get(CONFIG)
    if name and not Path(name).is_file():
        return frozenset()  # a pipe, which can be read only once; or there is none, and loading it tells so
    try:
        given = read_environment(os.environ).keys() | (read_document(Path(name)).given.keys() if name else set())
    except ConfigError:
        return frozenset()  # to read the whole configuration fails as well, and tells what is wrong
    return frozenset(PORT_VARIABLES.keys() - given)
