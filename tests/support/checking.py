"""``check`` as users run it, and what it finds without the start of a process for each question."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.check.examine import Options, examine
from sidecar.check.report import Report
from sidecar.cli.process import run_loop
from sidecar.runtime import SystemClock
from tests.support import canary
from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: An admin port of 0 says that no running sidecar is to be asked.
SETTINGS: Final = {
    "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
    "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
    "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
    "SIDECAR_ADMIN_PORT": "0",
    "SIDECAR_UPSTREAM_CONNECT_TIMEOUT": "3s",
}


@dataclass(frozen=True)
class Checked:
    """What the command did."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    def step(self, name: str) -> dict[str, Any]:
        """Return the only step of this name."""
        (step,) = (step for step in self.document["steps"] if step["name"] == name)
        found: dict[str, Any] = step
        return found

    def detail(self, name: str) -> str:
        """Return what the step of this name found."""
        text: str = self.step(name)["detail"]
        return text

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Step and code of each failure, in order."""
        return [(step["name"], step["code"]) for step in self.document["steps"] if step["status"] == "failed"]

    @property
    def marks(self) -> dict[str, str]:
        return {step["name"]: step["status"] for step in self.document["steps"]}


def _environ(base_url: str, settings: Mapping[str, str | Path]) -> dict[str, str]:
    given = {f"SIDECAR_{name.upper()}": str(value) for name, value in settings.items()}
    return {**SETTINGS, "SIDECAR_MANGOPAY_BASE_URL": base_url, **given}


async def check(
    base_url: str, *arguments: str, others: Mapping[str, str] = MappingProxyType({}), **settings: str | Path
) -> Checked:
    """Run ``check`` with ``SIDECAR_<SETTINGS>`` and ``others`` in its environment; an empty one counts as unset."""

    def run() -> Checked:
        with Command("check", *arguments, environ={**_environ(base_url, settings), **others}) as command:
            status = command.wait()
            assert not command.complaints
            return Checked(status, command.stdout, command.stderr)

    return await asyncio.to_thread(run)


async def examined(base_url: str, *arguments: str, **settings: str | Path) -> Checked:
    """Return what ``check --json`` would print and exit with, on an event loop of its own in another thread.

    Of the ``arguments`` only ``--offline`` is known.
    """

    def run() -> Checked:
        clock = SystemClock()
        report = Report(clock, lambda _: None)
        options = Options(None, _environ(base_url, settings), offline="--offline" in arguments)
        examine(options, report, clock, run_loop)
        text = msgspec.json.encode(report.document).decode()
        canary.record("what check found", text)
        bad, ok = report.bad_config is not None, report.document.ok
        return Checked(2 if bad else int(not ok), text, report.bad_config or "")

    return await asyncio.to_thread(run)
