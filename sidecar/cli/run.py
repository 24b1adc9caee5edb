"""``run``: serve."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from sidecar.cli.command import Command, config_option, load_config
from sidecar.cli.serving import ready_line, serve_until_signal, tell

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.telemetry.log import LogOutput


@click.command("run", cls=Command)
@config_option
def command(config_path: Path | None) -> int:
    """Serve until SIGTERM or SIGINT, then let the calls in flight finish. SIGHUP reads keys and certificates again.

    Prints one line on stdout once calls are served: "ready proxy=… admin=… environment=… client_id=…". Logs go to
    stderr. Exits with 0 after a drain, 1 if it failed, 2 if the configuration is wrong.
    """
    config = load_config(config_path)

    async def serve(output: LogOutput) -> int:
        from sidecar.app import serve
        from sidecar.config import load

        return await serve(
            config,
            log=output,
            on_ready=lambda ready: tell(ready_line(ready)),
            read_config=lambda: load(config_path, os.environ),
        )

    return serve_until_signal(config.log.level, config.log.format, serve)
