"""``run``: serve."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from sidecar.cli.command import PORT_VARIABLES, Command, config_option, load_config, words
from sidecar.cli.process import forbid_core_dumps, leave_soon
from sidecar.cli.serving import notify_ready, ready_line, serve_until_signal, tell

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.ports import Ready
    from sidecar.telemetry.log_output import LogOutput


#: The settings that are options too: those of a first try. None is a secret.
_OPTIONS: Final = {
    "mangopay.client_id": "--client-id",
    "mangopay.environment": "--environment",
    "listen.port": "--port",
    "admin.port": "--admin-port",
    "log.level": "--log-level",
}


@click.command("run", cls=Command)
@config_option
@click.option(_OPTIONS["mangopay.client_id"], metavar="ID", help="Your ClientId (SIDECAR_MANGOPAY_CLIENT_ID).")
@click.option(
    _OPTIONS["mangopay.environment"],
    metavar="NAME",
    shell_complete=words("sandbox", "production", "emulator"),
    help="sandbox, production or emulator.",
)
@click.option(_OPTIONS["listen.port"], metavar="PORT", help="The proxy port; 0: any free one.")
@click.option(_OPTIONS["admin.port"], metavar="PORT", help="The admin port; 0: any free one, off: none.")
@click.option(
    _OPTIONS["log.level"],
    metavar="LEVEL",
    shell_complete=words("debug", "info", "warning", "error"),
    help="debug, info, warning or error.",
)
def command(config_path: Path | None, **given: str | None) -> int:
    """Serve until SIGTERM or SIGINT, then let the calls in flight finish. SIGHUP reads keys and certificates again.

    Prints one line on stdout once calls are served: "ready proxy=… admin=… environment=… client_id=…". Logs go to
    stderr. Exits with 0 after a drain, 1 if it failed, 2 if the configuration is wrong.

    Options win over variables, and these over the file. A secret is never an option.

    Under systemd it may be of Type=notify, and uses the sockets that a socket unit opened for configured addresses.
    """
    options = {
        setting: (option, text)
        for setting, option in _OPTIONS.items()
        if (text := given[option.removeprefix("--").replace("-", "_")]) is not None
    }
    forbid_core_dumps()
    config = load_config(config_path, options=options)

    def on_ready(ready: Ready) -> None:
        tell(ready_line(ready))
        notify_ready(os.environ)

    async def serve(output: LogOutput) -> int:
        from sidecar.app import serve
        from sidecar.config import load
        from sidecar.downstream.inherited import Inherited

        return await serve(
            config,
            log=output,
            on_ready=on_ready,
            read_config=lambda: load(config_path, os.environ, options),
            inherited=lambda: Inherited.of_this_process(os.environ),
            leave=leave_soon,
        )

    given_ports = {PORT_VARIABLES[key]: _OPTIONS[key] for key in PORT_VARIABLES if key in options}
    return serve_until_signal(config.log.level, config.log.format, serve, given_ports)
