"""``reconcile``: what became of each write whose outcome is unknown."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import click
import msgspec

from sidecar.cli.command import BAD_USAGE, FAILED, Command, CommandError, config_option, load_config, unread_file, words
from sidecar.cli.command import port as read_port
from sidecar.cli.output import colors, is_terminal, print_error, print_line, print_painted
from sidecar.cli.process import forbid_core_dumps
from sidecar.config.errors import InvalidValue
from sidecar.config.values import read_duration
from sidecar.core.text import printable
from sidecar.reconcile.logs import LogError, read_logs
from sidecar.reconcile.lookup import MAX_WAIT, ResponseLookup
from sidecar.reconcile.proxy import TIMEOUT, Proxy
from sidecar.reconcile.report import notes, report_in_words
from sidecar.reconcile.run import reconcile
from sidecar.runtime import SystemClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sidecar.config import Config
    from sidecar.core.secret import Secret
    from sidecar.reconcile.proxy import Address

#: Variables that say how to reach a sidecar, or which one: then the configuration has to be read.
_TELLING: Final = ("SIDECAR_CONFIG", "SIDECAR_LISTEN_", "SIDECAR_MANGOPAY_")


@click.command("reconcile", cls=Command)
@click.option(
    "--log",
    "logs",
    metavar="FILE",
    multiple=True,
    type=click.Path(allow_dash=True),
    help="A log, perhaps gzipped; -: stdin. May be repeated.",
)
@click.option(
    "--since",
    metavar="TIME",
    shell_complete=words("1h", "6h", "24h"),
    help="Only writes whose last try ended within this time, such as 24h or 90m. Default: all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@config_option
@click.option("--port", type=read_port, help="Ask this proxy port; no configuration is read then.")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(allow_dash=True))
def command(
    logs: tuple[str, ...],
    files: tuple[str, ...],
    since: str | None,
    as_json: bool,
    config_path: Path | None,
    port: int | None,
) -> int:
    """Tell what became of each write whose outcome is unknown: the first thing to do after an incident.

    Reads the sidecar's JSON log (log.format json, gcp or ecs): files, rotated and gzipped ones too, of any number of
    pods; what containers put before each line is taken off. Asks Mangopay for the stored answer to each
    Idempotency-Key, through the running sidecar of the configuration, one after the other.

    Exits with 0 if nothing is uncertain any more, 1 if something is, 2 if it cannot be read or asked for, or if no line
    is a sidecar's.
    """
    forbid_core_dumps()
    names = (*logs, *files)
    if not names:
        raise click.UsageError("there is no log to read: name it by --log FILE, or --log - for stdin")
    longest = None if since is None else _read_since(since)
    goal = _goal(config_path, port)
    try:
        reading = read_logs(names)
    except LogError as error:
        raise CommandError(str(error), BAD_USAGE) from None
    progress = _Progress()
    proxy = Proxy(goal.addresses, goal.caller_key, goal.timeout)
    clock = SystemClock()
    lookup = ResponseLookup(proxy, goal.segment, clock=clock, sleep=time.sleep, on_wait=progress.show_wait)
    try:
        document = reconcile(
            reading, lookup, clock=clock, since=longest, environment=goal.environment, progress=progress.show
        )
    finally:
        progress.clear()
        proxy.close()
    if as_json:
        print_line(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        print_painted(report_in_words(document, color=colors()))
    for note in notes(document):
        print_error(note)
    if lookup.stop_reason is not None:
        print_error(f"not all could be asked: {lookup.stop_reason}")
        if port is None and (unread := unread_file(config_path)) is not None:
            print_error(unread)
    if document.uncertain:
        return FAILED
    # Of another program's log nothing follows, and least of all that all is certain.
    return 0 if document.read.ours else BAD_USAGE


class _Goal(NamedTuple):
    """How the running sidecar is reached."""

    addresses: Sequence[Address]
    caller_key: Secret | None
    #: What stands for the ClientId in paths.
    segment: str
    environment: str | None
    #: Seconds for a response.
    timeout: float = TIMEOUT


def _goal(config_path: Path | None, port: int | None) -> _Goal:
    """Return how to reach the sidecar of the configuration; without one, that of the defaults. Raises CommandError."""
    from sidecar.config import Listen

    if port is not None:
        return _Goal([(host, port) for host in Listen().host], None, "_", None)
    try:
        config = load_config(config_path)
    except CommandError:
        if config_path is not None or any(name.startswith(_TELLING) for name in os.environ):
            raise
        default = Listen()
        return _Goal([(host, default.port or 0) for host in default.host], None, "_", None)
    listen = config.listen
    addresses: list[Address] = [] if not listen.port else [(host, listen.port) for host in listen.host]
    if listen.unix_socket is not None:
        addresses.append(listen.unix_socket)
    if not addresses:
        raise CommandError("listen.port is 0, so any free one: give the port that it serves, by --port", BAD_USAGE)
    mangopay = config.mangopay
    return _Goal(addresses, listen.caller_key, mangopay.client_id, mangopay.environment, _longest_response(config))


def _longest_response(config: Config) -> float:
    """Return for how long the sidecar may let a question wait (seconds), which is one of the batch lane."""
    waits = config.limits.wait + 2 * (config.token.wait_timeout + config.upstream.response_timeout)
    return max(TIMEOUT, min(waits, MAX_WAIT))


def _read_since(text: str) -> float:
    try:
        seconds = read_duration(text)
    except InvalidValue:
        seconds = -1.0
    if not seconds > 0:
        raise click.UsageError("--since is no time: give seconds, or text such as 24h, 90m")
    return seconds


class _Progress:
    """A line on stderr that is written over again and again, if stderr is a terminal."""

    def __init__(self) -> None:
        self._stream = sys.stderr if is_terminal(sys.stderr) else None
        self._shown = ""

    def show(self, asked: int, all_: int) -> None:
        """Show how many keys have been asked for."""
        if all_:
            self._shown = f"asked for {asked} of {all_} keys"
            self._write(self._shown)

    def show_wait(self, what: str) -> None:
        """Show what is waited for, until the next step."""
        self._write(f"{self._shown}; {what}" if self._shown else what)

    def clear(self) -> None:
        """Take the line away."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            # Carriage return, and erase to the end of the line (ECMA-48).
            self._stream.write(f"\r\x1b[K{printable(text)}")
            self._stream.flush()
        except OSError:
            self._stream = None
