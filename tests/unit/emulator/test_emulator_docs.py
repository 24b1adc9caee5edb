"""docs/emulator.md names everything that can be set, sent or broken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.emulator.engine.routes import Catalogue
from sidecar.emulator.fault_rules import ACTIONS, Rule, Stage, parse
from sidecar.emulator.resources import catalogue, files
from sidecar.emulator.settings import Settings
from tests.support.clock import FakeClock
from tests.support.emulator import EUR, Platform, new_emulator, read

MANUAL = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text(encoding="utf-8")


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
    rows = MANUAL.partition("| to see what your app does when | rule |\n")[2].partition("\n\n")[0].splitlines()[1:]
    told = [rule for row in rows for rule in re.findall(r"`([^`]+)`", row)]
    assert len(rules) >= 4
    assert len(told) >= 12
    for text in ("".join(found) for found in rules):
        parse(text)
    for text in told:
        parse(text)


def test_the_manual_names_every_transition() -> None:
    kinds = {route.kind for route in catalogue().routes if route.kind is not None}
    names = {each.name for kind in kinds for each in kind.transitions}
    assert [name for name in sorted(names) if f"`{name}`" not in MANUAL] == []


def test_the_resource_in_the_manual_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the manual shows, taken as it stands."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL) if "EMULATED" in block)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/emulator.md", "exec"), names)
    extended = Catalogue([*files().values(), names["EMULATED"]])
    monkeypatch.setattr("sidecar.emulator.api.catalogue", lambda: extended)
    platform = Platform(FakeClock())
    path = f"users/{platform.user}/vouchers"
    assert platform.call("POST", path, {"Value": EUR, "Reason": "BRIBE"}).status == 400
    voucher = platform.create(path, {"Value": EUR, "Reason": "GIFT"})
    assert (voucher["Code"], voucher["Status"], voucher["UserId"]) == (voucher["Id"][-4:], "OPEN", platform.user)
    assert platform.list(path) == [voucher["Id"]]
    responses = [platform.call("PUT", f"vouchers/{voucher['Id']}/redeem") for _ in range(2)]
    assert [response.status for response in responses] == [200, 400]
    assert read(responses[1])["Type"] == "voucher_used"
    assert [event["EventType"] for event in platform.events()] == ["VOUCHER_CREATED", "VOUCHER_REDEEMED"]
