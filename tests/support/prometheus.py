"""A strict reader of the Prometheus text format 0.0.4: what is not exactly right is an AssertionError."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_VALUE = re.compile(r"[+-]Inf|NaN|[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    name: str
    help: str
    kind: str = ""
    #: By the sample's own name (a histogram has three) and its labels.
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, suffix: str = "", **labels: str) -> float:
        return self.samples[self.name + suffix, frozenset(labels.items())]


def parse(text: str) -> dict[str, Family]:
    """Return the families by name."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    current: Family | None = None
    for line in text[:-1].split("\n"):
        assert line == line.strip(), f"stray white space: {line!r}"
        if line.startswith("# HELP "):
            name, _, text_of_help = line[7:].partition(" ")
            assert re.fullmatch(_NAME, name), line
            assert text_of_help, line
            assert name not in families, f"{name} appears twice"
            assert re.fullmatch(r"([^\\]|\\\\|\\n)*", text_of_help), f"bad escape: {line!r}"
            current = families[name] = Family(name, text_of_help)
        elif line.startswith("# TYPE "):
            assert current is not None
            assert not current.kind
            assert not current.samples
            name, kind = line[7:].split(" ")
            assert name == current.name
            assert kind in {"counter", "gauge", "histogram"}
            current.kind = kind
        else:
            assert current is not None, line
            assert current.kind, f"no TYPE before {line}"
            _read_sample(line, current)
    for family in families.values():
        _check(family)
    return families


def _read_sample(line: str, family: Family) -> None:
    match = _SAMPLE.fullmatch(line)
    assert match, f"not a sample: {line!r}"
    name, labels, value = match.groups()
    suffixes = {"_bucket", "_sum", "_count"} if family.kind == "histogram" else {""}
    assert name.removeprefix(family.name) in suffixes, f"{name} is no sample of {family.name}"
    assert _VALUE.fullmatch(value), value
    key = (name, _read_labels(labels))
    assert key not in family.samples, f"{line} appears twice"
    family.samples[key] = float(value)


def _read_labels(text: str | None) -> Labels:
    if text is None:
        return frozenset()
    labels: dict[str, str] = {}
    position = 0
    while True:
        match = _LABEL.match(text, position)
        assert match, f"bad labels: {text!r}"
        name, raw = match.groups()
        assert name not in labels
        labels[name] = re.sub(r'\\[\\"n]', lambda escape: _ESCAPES[escape[0]], raw)
        position = match.end()
        if position == len(text):
            return frozenset(labels.items())
        assert text[position] == ","
        position += 1


def _check(family: Family) -> None:
    assert family.kind, f"{family.name} has no TYPE"
    assert family.samples, f"{family.name} has no sample"
    if family.kind == "counter":
        assert family.name.endswith("_total")
        assert all(value >= 0 for value in family.samples.values())
    if family.kind == "histogram":
        buckets = [
            (dict(labels), value) for (name, labels), value in family.samples.items() if name.endswith("_bucket")
        ]
        bounds = [float(labels["le"]) for labels, _ in buckets]
        counts = [value for _, value in buckets]
        assert bounds == sorted(set(bounds))
        assert bounds[-1] == math.inf
        assert counts == sorted(counts), "buckets are cumulative"
        assert counts[-1] == family.value("_count")
