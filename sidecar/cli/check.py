"""``check``: find what is wrong between the configuration and a token, and say how to fix it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import click
import msgspec
import structlog

from sidecar.check.examine import Options, examine
from sidecar.check.report import Report, step_in_words
from sidecar.cli.command import BAD_USAGE, FAILED, Command, CommandError, config_option, unread_file
from sidecar.cli.output import colors, print_line, print_painted
from sidecar.cli.process import forbid_core_dumps, run_loop
from sidecar.runtime import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.check.report import Step


@click.command("check", cls=Command)
@config_option
@click.option("--offline", is_flag=True, help="Configuration, files and certificate only: no network at all.")
@click.option("--force", is_flag=True, help="Make the token call even while a running sidecar is latched.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of lines.")
def command(config_path: Path | None, offline: bool, force: bool, as_json: bool) -> int:
    """Tell, line by line, what is right and what is not: configuration, files, certificate, network, token.

    Each failure comes with its likely cause and what to do about it. At most one token call is made, and none while a
    running sidecar is latched: more wrong attempts could lock the account. Exits with 0 if all is right, 1 if not, 2 if
    "run" would refuse the configuration.
    """
    forbid_core_dumps()
    # What is found is said by the lines below, and nothing else goes to stdout.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    color = colors()

    def show(step: Step) -> None:
        if not as_json:
            print_painted(step_in_words(step, color=color))

    clock = SystemClock()
    report = Report(clock, show)
    options = Options(config_path, os.environ, offline, force, unread_file(config_path))
    examine(options, report, clock, run_loop)
    document = report.document
    if as_json:
        print_line(msgspec.json.format(msgspec.json.encode(document)).decode())
    if report.bad_config is not None:
        raise CommandError(report.bad_config, BAD_USAGE)
    return 0 if document.ok else FAILED
