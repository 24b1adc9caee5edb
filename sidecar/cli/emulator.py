"""``emulator``: the Mangopay emulator alone."""

from __future__ import annotations

import asyncio
import atexit
import errno
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from sidecar.cli.command import FAILED, Command, CommandError, port
from sidecar.cli.process import run_loop
from sidecar.cli.serving import tell
from sidecar.core.system_errors import mend, reason
from sidecar.downstream import holder
from sidecar.emulator import fault_rules, serving, settings
from sidecar.emulator.loopback import Trusted
from sidecar.runtime import SystemClock
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log import configure_logging, descriptor_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.emulator.seen import Seen
    from sidecar.emulator.server import Emulator

_DEFAULT_PORT: Final = 18090


def _parse(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[fault_rules.Rule]:
    try:
        return [fault_rules.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _parse_host(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Take what a base URL can have, since it is printed as one."""
    from sidecar.config.addresses import BIND_HOST
    from sidecar.config.errors import InvalidValue

    try:
        return BIND_HOST.parse(text)
    except InvalidValue as unfit:
        raise click.BadParameter(str(unfit)) from None


def _parse_settings(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> settings.Settings:
    try:
        return settings.parse_settings(texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _parse_trusted(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> Trusted:
    try:
        return Trusted(texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _printer() -> Callable[[Seen], None]:
    """Return what prints a line for each request, from the running event loop, which never waits for it."""
    writer = LineWriter(descriptor_of(sys.stdout))
    writer.attach(asyncio.get_running_loop())
    atexit.register(writer.close)
    return lambda seen: writer.write(seen.line().encode("utf-8", "replace") + b"\n", urgent=True)


def _refused(error: OSError, host: str, port: int, authority: str) -> str:
    """Say why the address cannot be listened on, and what to do."""
    if error.errno != errno.EADDRINUSE:
        advice = "give another --host or --port"
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            advice = mend(error) or advice
        return f"cannot listen on {authority}:{port} ({reason(error)}): {advice}"
    by = ""
    with suppress(ValueError):  # a name, which may have several addresses
        by = holder.of_port(host, port)
    return f"port {port} is in use{f' ({by})' if by else ''}: give another --port"


@click.command("emulator", cls=Command)
@click.option(
    "--host",
    metavar="HOST",
    default="127.0.0.1",
    show_default=True,
    callback=_parse_host,
    help="The address to listen on.",
)
@click.option("--port", type=port, default=str(_DEFAULT_PORT), show_default=True, help="The port; 0: any free one.")
@click.option(
    "--fault",
    "rules",
    metavar="RULE",
    multiple=True,
    callback=_parse,
    help="What shall go wrong, such as 'status=503 POST times=2' or 'hang token'. May be repeated.",
)
@click.option(
    "--set",
    "changed",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parse_settings,
    help="A setting of docs/emulator.md, such as 'sca_for_owners=false'. May be repeated.",
)
@click.option(
    "--trust",
    "trusted",
    metavar="WHOM",
    multiple=True,
    callback=_parse_trusted,
    help="A network such as 172.16.0.0/12 whose peers may use the control routes, and whose hooks are called; or the "
    "name of a host whose hooks are called. For containers. May be repeated.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each request.")
def command(
    host: str, port: int, rules: list[fault_rules.Rule], changed: settings.Settings, trusted: Trusted, verbose: bool
) -> int:
    """Serve the Mangopay emulator alone, for an app's own tests and CI, until SIGTERM or SIGINT.

    Any ClientId and key are accepted. Control routes under /__emulator__/ revoke tokens, lock the account, add faults
    and more, and the page at / shows what happens; loopback peers only, and for control routes those of --trust.
    """
    output = configure_logging("warning", "auto", SystemClock())
    authority = f"[{host}]" if ":" in host else host

    def prepare(emulator: Emulator) -> None:
        emulator.state.start_with(changed)
        emulator.trust(trusted)
        if verbose:
            emulator.watch = _printer()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        output.attach(loop)
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(FAILED)  # a second one ends it at once, as it ends run (contract section 8)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        await serving.serve(
            host,
            port,
            rules,
            clock=SystemClock(),
            ready=lambda bound: tell(f"ready emulator=http://{authority}:{bound}"),
            until=stop.wait(),
            prepare=prepare,
        )

    try:
        run_loop(main())
    except OSError as error:
        raise CommandError(_refused(error, host, port, authority)) from None
    finally:
        output.close()
    return 0
