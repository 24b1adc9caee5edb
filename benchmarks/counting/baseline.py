"""Whether a call's instructions are within bounds: the rule, and its words. Pure.

Counts differ from one build of an interpreter to another, and from version to version;
so it is not they that are compared. Each run counts a fixed piece of work in the same
interpreter too (:mod:`benchmarks.counting.reference`), and what is held to the
baseline is a call's cost in *thousandths of it*::

    cost   = 1000 × instructions a call / instructions of the reference work
    within   |cost / baseline's cost − 1| ≤ 10%

A call that has become a tenth cheaper fails as well: with the old baseline the next
change for the worse would be taken for no change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

#: By how much a cost may differ from the baseline's.
ALLOWED: Final = 0.10


@dataclass(frozen=True)
class Counts:
    """What one run counted."""

    #: Instructions of the reference work.
    reference: float
    #: Instructions a call, by the workload's name.
    calls: dict[str, float]
    #: The interpreter, its compiler, its OpenSSL and the C library, for whoever reads it.
    build: str

    def cost(self, name: str) -> float:
        """Return a call's cost in thousandths of the reference work."""
        return 1000 * self.calls[name] / self.reference


@dataclass(frozen=True)
class Baseline:
    """What was counted once, and in which kind of interpreter."""

    kind: str
    counts: Counts


def nearest(baselines: dict[str, Counts], kind: str) -> Baseline | None:
    """Return the baseline that a ``kind`` of interpreter is held to.

    Kinds are ``implementation-major.minor-machine``. One that has no baseline of its own
    is held to that of the same implementation whose version is nearest, on the same
    machine if there is one: costs are relative, so they differ little. None if there is none.
    """
    implementation, version, machine = kind.split("-", 2)

    def distance(other: str) -> tuple[bool, int, str]:
        _, its_version, its_machine = other.split("-", 2)
        return its_machine != machine, abs(_minor(its_version) - _minor(version)), other

    kin = [other for other in baselines if other.split("-", 1)[0] == implementation]
    if not kin:
        return None
    best = min(kin, key=distance)
    return Baseline(best, baselines[best])


def _minor(version: str) -> int:
    major, minor = version.split(".")
    return int(major) * 1000 + int(minor)


@dataclass(frozen=True)
class Verdict:
    """What is said of one workload; ``change`` is None where there is nothing to compare with."""

    name: str
    change: float | None

    @property
    def holds(self) -> bool:
        """Whether it is within bounds. What cannot be compared is not."""
        return self.change is not None and abs(self.change) <= ALLOWED


def judge(counted: Counts, baseline: Baseline | None) -> list[Verdict]:
    """Compare what was counted with the baseline, workload by workload.

    A workload that only the baseline has was not measured, and so does not hold either.
    """
    before = {} if baseline is None else baseline.counts.calls
    return [Verdict(name, _change(name, counted, baseline)) for name in dict.fromkeys((*counted.calls, *before))]


def _change(name: str, counted: Counts, baseline: Baseline | None) -> float | None:
    if baseline is None or name not in baseline.counts.calls or name not in counted.calls:
        return None
    return counted.cost(name) / baseline.counts.cost(name) - 1


def report(kind: str, counted: Counts, baseline: Baseline | None, titles: dict[str, str]) -> list[str]:
    """Return what a run is to be told in: the counts, and what to do if they are out of bounds."""
    lines = [
        f"interpreter  {kind}: {counted.build}",
        f"reference    {counted.reference:,.0f} instructions",
    ]
    if baseline is not None:
        lines += [f"baseline of  {baseline.kind}: {baseline.counts.build}"]
        if baseline.kind != kind:
            lines += [
                f"             since there is none of {kind}, whose costs may differ by some percent in themselves"
            ]
    verdicts = judge(counted, baseline)
    for verdict in verdicts:
        lines += ["", *_told(verdict, counted, baseline, titles.get(verdict.name, verdict.name))]
    if not all(verdict.holds for verdict in verdicts):
        lines += ["", *_advice(kind, verdicts)]
    return lines


def _told(verdict: Verdict, counted: Counts, baseline: Baseline | None, title: str) -> list[str]:
    name, change = verdict.name, verdict.change
    if name not in counted.calls:
        return [f"FAILED  {title}: the baseline has it, and it was not measured"]
    now = f"{counted.calls[name]:,.0f} instructions a call"
    cost = f"{counted.cost(name):.3f} thousandths of the reference"
    if change is None or baseline is None:
        return [f"FAILED  {title}: {now}", f"        {cost}, and no baseline to compare it with"]
    before = f"the baseline's {baseline.counts.cost(name):.3f}"
    return [
        f"{'ok    ' if verdict.holds else 'FAILED'}  {title}: {now}",
        f"        {cost}: {change * 100:+.1f}% against {before} (at most {ALLOWED * 100:.0f}% either way)",
    ]


def _advice(kind: str, verdicts: list[Verdict]) -> list[str]:
    changes = [verdict.change for verdict in verdicts if not verdict.holds]
    lines = []
    if any(change is None for change in changes):
        lines.append(f"Not everything could be compared: the baseline of {kind} is missing, or has other workloads.")
    if any(change is not None and change > 0 for change in changes):
        lines.append("A call has become dearer. To see where: make instructions ARGUMENTS=--where, here and before.")
    if any(change is not None and change < 0 for change in changes):
        lines.append("A call has become cheaper: take the gain in, so that it cannot be lost unseen.")
    return [
        *lines,
        "To accept these figures: make instructions ARGUMENTS=--write, then commit",
        "benchmarks/counting/baseline.json with the reason in the message.",
    ]


def read(text: str) -> dict[str, Counts]:
    """Read baselines: by kind of interpreter."""
    return {kind: Counts(**found) for kind, found in json.loads(text).items()}


def written(baselines: dict[str, Counts]) -> str:
    """Return the text that :func:`read` reads; whole numbers, so that nothing pretends to be exact."""
    return json.dumps({kind: _rounded(baselines[kind]) for kind in sorted(baselines)}, indent=2) + "\n"


def _rounded(counts: Counts) -> dict[str, object]:
    calls = {name: round(count) for name, count in counts.calls.items()}
    return {"build": counts.build, "reference": round(counts.reference), "calls": calls}
