"""docs/observability.md names every metric, event, field and finding, and docs/status.schema.json is current."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from sidecar.admin.finding import Area, FindingKind, Level
from sidecar.admin.status import Status
from sidecar.core.reconciliation.log_lines import LineKind, read_line
from sidecar.telemetry.attempt import Attempt
from sidecar.telemetry.exposition import PREFIX
from sidecar.telemetry.request_line import RequestLine
from tests.support.metrics import METRICS
from tests.support.status import call, latched, snapshot, status, token
from tests.support.status_schema import PATH, schema_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return a part of the page, up to the next heading of the same or a higher rank."""
    found = re.search(rf"^(#+) {title}.*?\n(.*?)(?=^#{{1,3}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[2]


def table(title: str) -> dict[str, list[str]]:
    """Return the rows of a section's table by the words of the first column; a cell's names are its code spans."""
    rows: dict[str, list[str]] = {}
    for line in section(title).splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
            for name in re.findall(r"`([^`]+)`", first):
                rows[name] = others
    return rows


def names(text: str) -> set[str]:
    return set(re.findall(r"`([\w.]+)`", text))


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    documented = {name: (row[0], tuple(re.findall(r"`(\w+)`", row[1]))) for name, row in table("Metrics").items()}
    assert documented == {name: (metric.kind, metric.labels) for name, metric in METRICS.items()}
    assert f"begin with `{PREFIX}`" in section("Metrics")


# --- events ----------------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    name: str
    level: str
    fields: frozenset[str]


def logged() -> Iterator[Event]:
    """Yield each event that the source logs by structlog; the emulator is a program of its own."""
    for path in (ROOT / "sidecar").rglob("*.py"):
        if "emulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="_log"), attr=level), args=[ast.Constant(value=str(name))]
                ):
                    # Without a name: **exception_fields(error).
                    given = {keyword.arg for keyword in node.keywords}
                    fields = frozenset(filter(None, given)) | (frozenset({"error", "at"}) if None in given else set())
                    yield Event(name, level, fields)


def test_every_event_is_documented_with_its_level_and_fields() -> None:
    rows = table("Events")
    events = list(logged())
    assert len(events) > 25
    for event in events:
        level, fields, _ = rows[event.name]
        assert level == event.level, event.name
        assert event.fields <= names(fields), event.name


def test_no_event_is_documented_that_there_is_not() -> None:
    unlogged = {"library.reported", "log.dropped"}  # written by the log itself
    assert set(table("Events")) == {event.name for event in logged()} | unlogged
    source = "".join(
        (ROOT / "sidecar" / "telemetry" / f"{name}.py").read_text("utf-8") for name in ("log", "log_output")
    )
    assert all(f'"{name}"' in source for name in unlogged)


def test_reconcile_knows_every_event_as_ours() -> None:
    for name in table("Events"):
        assert read_line(json.dumps({"event": name}).encode()) != LineKind.OTHER, name


def test_events_are_a_noun_and_a_verb() -> None:
    assert [event.name for event in logged() if not re.fullmatch(r"[a-z]+\.[a-z_]+", event.name)] == []


def test_every_field_of_the_request_line_is_documented() -> None:
    documented = set(table("`request`: one line a call"))
    assert documented == set(RequestLine.__struct_fields__) - {"timestamp", "level", "event"}


# --- findings --------------------------------------------------------------------------------------------------------


def test_every_finding_is_documented_with_its_area() -> None:
    from tests.unit.admin.test_findings import ROWS

    rows = table("Findings")
    assert set(rows) == set(FindingKind)
    for row in ROWS.values():
        assert row.area.value in rows[row.kind][0].split(", "), row.kind
    assert names(section("Findings")) >= {level.value for level in Level}
    assert set(Area) <= {area for row in rows.values() for area in row[0].split(", ")}


# --- the status document ---------------------------------------------------------------------------------------------


def fields(schema: dict[str, object]) -> Iterator[str]:
    """Yield every property's name, at every depth."""
    for key, value in schema.items():
        if key == "properties":
            assert isinstance(value, dict)
            yield from value
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from fields(each)


def test_every_field_of_the_document_is_documented() -> None:
    assert set(fields(msgspec.json.schema(Status))) - names(section("The status document")) == set()


def test_every_field_at_the_top_has_a_row_of_its_own() -> None:
    top = {name for name in table("The status document") if name in Status.__struct_fields__}
    assert top == set(Status.__struct_fields__)


def test_the_schema_is_current() -> None:
    assert PATH.read_text(encoding="utf-8") == schema_text(), "write it anew: make schema"


@pytest.mark.parametrize(
    "document",
    [
        status(),
        status(tokens=(latched("lockout"), token(credential="embedded", last_failure="resolve", failures=1))),
        status(recent_calls=(call(1, attempts=(Attempt(0.0, 0.1, 0.0, 0.2, 200),), recovered=("token",)),)),
    ],
)
def test_documents_are_what_the_schema_says(document: Status) -> None:
    """What is written can be read back by the types that the schema is made of, and is the same."""
    assert msgspec.json.decode(msgspec.json.encode(document), type=Status) == document


def test_what_a_snapshot_says_is_in_the_document() -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(snapshot()))
    assert set(encoded) == set(Status.__struct_fields__) - {"recent_calls", "history"}
