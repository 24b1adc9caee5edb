"""``wrap``: serve for as long as a command runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from sidecar.cli.child import Child
from sidecar.cli.command import PORT_VARIABLES, Command, CommandError, config_option, load_config, seconds
from sidecar.cli.emulated import emulator_settings
from sidecar.cli.process import forbid_core_dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What ``env``, ``timeout`` and ``docker run`` use for failures of their own: hardly a program's own status.
COULD_NOT_START: Final = 125
#: With an emulator, what would lead to Mangopay does not count.
_LEADING_TO_MANGOPAY: Final = (
    *("SIDECAR_CONFIG", "SIDECAR_MANGOPAY_", "SIDECAR_TLS_", "SIDECAR_UPSTREAM_EGRESS_PROXY", "SIDECAR_TOKEN_STORE"),
)
#: Left out as well: the sidecar never uses these, and would warn of them.
_PROXIES: Final = frozenset(("http_proxy", "https_proxy", "all_proxy"))
#: Stands for the emulator's URL until it has one.
_ANY_URL: Final = "http://127.0.0.1:18090"
_LOG_LEVEL: Final = "log.level"


class _Wrap(Command):
    """Tells mistakes in its own arguments by a status that is not the command's either."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.exit_code = COULD_NOT_START  # type: ignore[misc]  # click declares it for the class, and reads it here
            raise


@click.command(
    "wrap",
    cls=_Wrap,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[--emulator] [--timeout S] --",
)
@config_option
@click.option(
    "--emulator",
    "emulated",
    is_flag=True,
    help="In front of an emulator of its own: no credentials needed. CMD gets MANGOPAY_EMULATOR_URL too.",
)
@click.option(
    "--timeout",
    type=seconds,
    default="30",
    show_default=True,
    metavar="S",
    help="Seconds until the sidecar must be ready.",
)
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def command(config_path: Path | None, emulated: bool, timeout: float, cmd: tuple[str, ...]) -> int:
    """Start the sidecar, run CMD with MANGOPAY_BASE_URL set, and stop the sidecar when CMD has ended.

    A port that is not set is the usual one, or a free one where that is in use. CMD gets the environment but for
    SIDECAR_*, with loopback in NO_PROXY, and the signals that are sent to this process. It has to stay in the
    foreground: what it leaves behind runs on without the sidecar.

    Logs warnings and errors only, unless log.level is set. With --emulator no configuration file is read, and of the
    variables only those that do not lead to Mangopay: SIDECAR_LISTEN_*, SIDECAR_LOG_* and the like.

    Exits with CMD's own status: 126 if it cannot be run, 127 if it is not found, 128+n if it ended by signal n; or
    with 125 if the sidecar could not start or was not ready in time.
    """
    try:
        child = Child.fork(cmd)
        try:
            return _serve(_plan(config_path, emulated=emulated), child, timeout)
        finally:
            child.abandon()
    except CommandError as failure:
        raise CommandError(failure.format_message(), COULD_NOT_START) from None
    except OSError as error:
        from sidecar.core.system_errors import mend, reason

        message = f"cannot run a command ({reason(error)}): {mend(error) or 'see what this machine is short of'}"
        raise CommandError(message, COULD_NOT_START) from None


class Plan(NamedTuple):
    """How the sidecar is configured."""

    #: The file; None: none is read, or the one that SIDECAR_CONFIG names.
    path: Path | None
    #: The variables that count.
    environ: Mapping[str, str]
    #: There is an emulator, and the variables lead to it once its URL is known.
    emulated: bool

    def settings(self, upstream: str) -> Mapping[str, str]:
        """Return the variables, with the emulator at ``upstream``."""
        return {**self.environ, **emulator_settings(upstream)} if self.emulated else self.environ


def _plan(config_path: Path | None, *, emulated: bool) -> Plan:
    if not emulated:
        return Plan(config_path, os.environ, emulated)
    if config_path is not None:
        raise CommandError("--emulator needs no configuration, and --config names one: leave one of them out")
    environ = {name: text for name, text in os.environ.items() if not _leads_to_mangopay(name)}
    return Plan(None, environ, emulated)


def _leads_to_mangopay(variable: str) -> bool:
    return variable.startswith(_LEADING_TO_MANGOPAY) or variable.lower() in _PROXIES


def _serve(plan: Plan, child: Child, timeout: float) -> int:
    forbid_core_dumps()
    unset = _unset(plan)
    config = load_config(plan.path, plan.settings(_ANY_URL))
    _let_go_of_stdin_and_stdout()  # only now: the configuration may come from stdin
    if config.listen.port is None:
        raise CommandError('listen.port is "off", so there is no URL to give to CMD: set SIDECAR_LISTEN_PORT to a port')
    # Only now: what this takes to import should not be there yet when the child is forked.
    from sidecar.network.aiohttp_import import import_aiohttp

    import_aiohttp()
    from sidecar.cli.wrapped import Wrapping, run
    from sidecar.config import load

    level = "warning" if _LOG_LEVEL in unset else config.log.level
    wrapping = Wrapping(
        config=config,
        load=lambda upstream: load(plan.path, plan.settings(upstream)),
        emulated=plan.emulated,
        unset_ports=unset - {_LOG_LEVEL},
        log_level=level,
        log_format=config.log.format,
    )
    return run(wrapping, child, timeout)


def _let_go_of_stdin_and_stdout() -> None:
    """Leave both to the command alone, so that whoever is at the other end notices when it closes them."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _unset(plan: Plan) -> frozenset[str]:
    """Return which of the ports' keys and the log level neither the environment nor the file sets."""
    from sidecar.config.errors import Complaints
    from sidecar.config.sources import CONFIG, read_document, read_environment

    name = plan.path or plan.environ.get(CONFIG)
    complaints, given = Complaints(), set[str]()
    with complaints:
        given |= read_environment(plan.environ, complaints).keys()
        if name:
            given |= read_document(Path(name), complaints).given.keys()
    # With a complaint, reading the whole configuration fails as well, and tells what is wrong.
    return frozenset() if complaints else frozenset({*PORT_VARIABLES, _LOG_LEVEL} - given)
