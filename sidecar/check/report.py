"""Steps and their results, and how people and machines get to read them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.advice.diagnoses import DIAGNOSES
from sidecar.core.causes import StepFinding, StepStatus
from sidecar.core.rows import Row, Style, written

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.core.clock import Clock


class StepName(StrEnum):
    """The steps, in the order in which they are taken; STORE only if there is one; TCP or EGRESS, never both."""

    CONFIG = "config"
    FILES = "files"
    CERTIFICATE = "certificate"
    SIDECAR = "sidecar"
    STORE = "store"
    DNS = "dns"
    TCP = "tcp"
    EGRESS = "egress"
    TLS = "tls"
    TOKEN = "token"  # noqa: S105 - a step, not a password
    CLOCK = "clock"
    CALL = "call"
    READ_BACK = "read_back"


class Step(msgspec.Struct, frozen=True):
    """One step, as ``--json`` tells it."""

    name: str
    #: ``ok``, ``warning``, ``failed`` or ``skipped``.
    status: str
    #: What was found, perhaps in several lines; for ``skipped`` the reason.
    detail: str
    #: A word of ``sidecar.core.causes.Cause``; None for ``ok`` and ``skipped``, as the next two.
    code: str | None
    cause: str | None
    mend: str | None
    seconds: float


class CheckReport(msgspec.Struct, frozen=True):
    """All steps, as ``--json`` tells them."""

    #: No step failed.
    ok: bool
    steps: tuple[Step, ...]


class Report:
    """Collects steps; ``show`` gets each one once it is done."""

    def __init__(self, clock: Clock, show: Callable[[Step], None]) -> None:
        self._clock: Final = clock
        self._show: Final = show
        self._steps: list[Step] = []
        #: What ``run`` would refuse to start with, a line each; None: nothing.
        self.bad_config: str | None = None

    @property
    def document(self) -> CheckReport:
        """What there is so far."""
        return CheckReport(all(step.status != StepStatus.FAILED for step in self._steps), tuple(self._steps))

    def add(self, name: StepName, finding: StepFinding, seconds: float = 0.0) -> StepFinding:
        """Note what a step found and how long it took; return the finding."""
        words = None if finding.cause is None else DIAGNOSES[finding.cause]
        step = Step(
            name=name,
            status=finding.status,
            detail=finding.detail,
            code=finding.cause,
            cause=words and words.cause,
            mend=words and words.mend,
            seconds=round(seconds, 6),
        )
        self._steps.append(step)
        self._show(step)
        return finding

    def take(self, name: StepName, step: Callable[[], StepFinding]) -> bool:
        """Take a step and note it; return False if it failed."""
        started = self._clock.now()
        return self.add(name, step(), self._clock.now() - started).status is not StepStatus.FAILED

    async def take_async(self, name: StepName, step: Awaitable[StepFinding]) -> bool:
        """Take a step that waits, and note it; return False if it failed."""
        started = self._clock.now()
        return self.add(name, await step, self._clock.now() - started).status is not StepStatus.FAILED

    def skip(self, why: str, *names: StepName) -> None:
        """Note steps that are not taken."""
        for name in names:
            self.add(name, StepFinding.skipped(why))


#: Characters of the columns of statuses and of names.
_STATUS, _NAME = 8, 12
_STYLES: Final = {
    StepStatus.OK: Style.GOOD,
    StepStatus.WARNING: Style.WARNING,
    StepStatus.FAILED: Style.BAD,
    StepStatus.SKIPPED: Style.QUIET,
}


def step_in_words(step: Step, *, color: bool = False) -> str:
    """Return the step as a line, and two more with its cause and what to do if there are any, each of them ended."""
    took = "" if step.status == StepStatus.SKIPPED else f" ({step.seconds * 1000:.0f} ms)"
    indent = " " * _NAME
    detail, *more = step.detail.splitlines() or [""]
    rows = [Row(step.status, f"{step.name:<{_NAME}} {detail}{took}", _STYLES[StepStatus(step.status)])]
    rows += [Row("", f"{indent} {line}") for line in more]
    if step.cause is not None:
        rows.append(Row("", f"{indent} cause: {step.cause} [{step.code}]"))
        rows.append(Row("", f"{indent} fix:   {step.mend}"))
    return "".join(f"{written(row, _STATUS, color=color)}\n" for row in rows)
