"""What one run found: samples, and what is needed to read them. Plain values, kept as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Self


@dataclass(frozen=True)
class Sample:
    """One peer in one scenario of one round."""

    round: int
    scenario: str
    peer: str
    #: By name: ``cpu_us``, ``p50_us``, ``rss_mib``…; units are part of the name.
    figures: dict[str, float] = field(default_factory=dict)
    #: Why there are no figures.
    failure: str | None = None


class Build(StrEnum):
    """How a sidecar and its Python were built, on which what a call costs depends most."""

    PURE = "Python, without PGO"
    PURE_PGO = "Python, with PGO"
    COMPILED = "compiled, without PGO"
    COMPILED_PGO = "compiled, with PGO"

    @classmethod
    def of(cls, *, compiled: bool, pgo: bool) -> Self:
        """Return the one that is both."""
        return cls(f"{'compiled' if compiled else 'Python'}, {'with' if pgo else 'without'} PGO")


@dataclass
class Results:
    """A whole run."""

    #: What the machine and the run were: for the reader.
    about: dict[str, str] = field(default_factory=dict)
    #: Version of each peer that took part.
    versions: dict[str, str] = field(default_factory=dict)
    #: Those of them that are sidecars.
    ours: list[str] = field(default_factory=list)
    #: How each of these was built.
    builds: dict[str, Build] = field(default_factory=dict)
    #: Why a peer did not.
    missing: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def to_json(self) -> str:
        """Write it; one sample a line."""
        lines = ",\n  ".join(json.dumps(asdict(sample)) for sample in self.samples)
        parts = (
            f'"{name}": {json.dumps(getattr(self, name), indent=1)}'
            for name in ("about", "versions", "ours", "builds", "missing")
        )
        return "{" + ",\n".join([*parts, f'"samples": [\n  {lines}\n]']) + "}\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        values["builds"] = {name: Build(build) for name, build in values.get("builds", {}).items()}
        samples = [Sample(**each) for each in values.pop("samples")]
        return cls(**values, samples=samples)

    def figures(self, scenario: str, peer: str, figure: str) -> dict[int, float]:
        """Return a figure by round; rounds without it are left out."""
        return {
            sample.round: sample.figures[figure]
            for sample in self.samples
            if (sample.scenario, sample.peer) == (scenario, peer) and figure in sample.figures
        }

    def failures(self) -> list[Sample]:
        """Return the samples without figures."""
        return [sample for sample in self.samples if sample.failure is not None]
