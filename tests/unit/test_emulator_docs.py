"""docs/emulator.md names everything that can be set, sent or broken."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from sidecar.emulator.faults import ACTIONS, Rule, Stage, parse
from sidecar.emulator.settings import Settings
from tests.support.clock import FakeClock
from tests.support.emulator import new_emulator

MANUAL = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        *ACTIONS,
        *(stage.value for stage in Stage),
        *(field.name for field in msgspec.structs.fields(Settings)),
    ],
)
def test_the_manual_names_it(name: str) -> None:
    assert re.search(rf"`{re.escape(name)}[`=]", MANUAL)


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Rule)])
def test_the_manual_names_every_part_of_a_rule(field: str) -> None:
    assert re.search(rf"\b{field}\b", MANUAL)


def test_the_manual_names_every_control_route() -> None:
    routes = new_emulator(FakeClock()).control.routes
    assert [f"{method} {name}" for method, name in routes if f"`{method} {name}`" not in MANUAL] == []


def test_the_rules_in_the_manual_are_rules() -> None:
    rules = re.findall(r"--fault '([^']+)'|\"rule\": \"([^\"]+)\"|faults\.add\(\"([^\"]+)\"\)", MANUAL)
    assert len(rules) >= 4
    for found in rules:
        parse("".join(found))
