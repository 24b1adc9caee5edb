"""No check is without a case that needs it: take the check out, and that case fails.

The checks are found in the source (:mod:`tests.wire.threats.mutation`), so a
new one that has no entry in :mod:`tests.wire.threats.checks` fails a test.
Much of what arrives is refused in two places, by the parser and by a rule of
ours. There the rule is asked alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.core.admission import guard
from sidecar.core.http import framing, headers, response_head
from tests.wire.threats.bare import verdict_alone
from tests.wire.threats.checks import (
    FUNCTIONS,
    LAX,
    LIMITS,
    MEMBERS,
    NEEDED,
    Alone,
)
from tests.wire.threats.mutation import checks_of, replaced, rewritten, without
from tests.wire.threats.play import run_case
from tests.wire.threats.rewrites import REWRITTEN, REWRITTEN_ALONE
from tests.wire.threats.tables import ALL
from tests.wire.threats.tables.headers import DROPPED

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import ModuleType

    from tests.wire.threats.case import Case
    from tests.wire.threats.stage import Harness

pytestmark = pytest.mark.interpreted

#: Seconds. Cases that hang without a check have failed after this.
_PATIENCE: Final = 0.7

CHECKS: Final = {
    check.name: check for module, functions in FUNCTIONS.items() for check in checks_of(module, *functions)
}


def test_no_check_is_without_an_entry() -> None:
    assert CHECKS.keys() == NEEDED.keys()


@pytest.mark.parametrize("name", [name for name, need in NEEDED.items() if isinstance(need, str)])
def test_a_case_fails_without_the_check(stage: Harness, name: str) -> None:
    need = NEEDED[name]
    assert isinstance(need, str)
    _fails(stage, without(CHECKS[name]), need)


@pytest.mark.parametrize("name", [name for name, need in NEEDED.items() if isinstance(need, Alone)])
def test_the_rule_alone_needs_the_check(name: str) -> None:
    need, check = NEEDED[name], CHECKS[name]
    assert isinstance(need, Alone)
    _changes(check.module, ALL[need.case], without(check))


def test_long_hosts_are_not_remembered() -> None:
    guard._host_allowed.cache_clear()
    verdict_alone(guard, ALL["host-very-long"])
    assert guard._host_allowed.cache_info().currsize == 0
    with without(CHECKS["guard.check_guard: len(host) > _LONGEST_HOST"]):
        verdict_alone(guard, ALL["host-very-long"])
        assert guard._host_allowed.cache_info().currsize == 1


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_case_fails_when_the_check_is_rewritten(stage: Harness, name: str) -> None:
    check = REWRITTEN[name]
    _fails(stage, rewritten(check.module, check.function, check.old, check.new), check.case)


@pytest.mark.parametrize("name", REWRITTEN_ALONE)
def test_the_rule_alone_changes_when_it_is_rewritten(name: str) -> None:
    check = REWRITTEN_ALONE[name]
    asked = framing if check.module is headers else check.module
    _changes(asked, ALL[check.case], rewritten(check.module, check.function, check.old, check.new))


def _members() -> list[tuple[ModuleType, str, Any, str]]:
    return [
        (module, table, member, need(member))
        for module, table, need in MEMBERS
        for member in getattr(module, table)
        if member != b"proxy-connection" or table != "_NOT_SENT_UP"  # it is of the family proxy-* as well
    ]


@pytest.mark.parametrize(
    ("module", "table", "member", "case"), _members(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_case_fails_without_the_member(
    stage: Harness, module: ModuleType, table: str, member: Any, case: str
) -> None:
    whole = getattr(module, table)
    kept = [each for each in whole if each != member]
    less = {key: whole[key] for key in kept} if isinstance(whole, dict) else type(whole)(kept)
    _fails(stage, replaced(module, table, less), case)


def test_every_dropped_field_has_its_case() -> None:
    exact = {name for name in headers._NOT_SENT_UP if not name.startswith(b"proxy-")}
    assert exact - {name.lower() for name in DROPPED} <= {b"host", b"content-length", b"transfer-encoding", b"expect"}


@pytest.mark.parametrize("name", LAX)
def test_a_case_fails_when_the_pattern_is_lax(stage: Harness, name: str) -> None:
    constant, old, new, case = LAX[name]
    pattern = getattr(response_head, constant).pattern.decode("latin-1")
    assert pattern.count(old) == 1
    lax = re.compile(pattern.replace(old, new).encode("latin-1"))
    _fails(stage, replaced(response_head, constant, lax), case)


@pytest.mark.parametrize(
    ("module", "constant", "value", "case"), LIMITS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_case_fails_when_the_limit_is_another(
    stage: Harness, module: ModuleType, constant: str, value: Any, case: str
) -> None:
    _fails(stage, replaced(module, constant, value), case)


def _changes(module: ModuleType, case: Case, mutation: AbstractContextManager[None]) -> None:
    intact = verdict_alone(module, case)
    with mutation:
        assert verdict_alone(module, case) != intact


def _fails(stage: Harness, mutation: AbstractContextManager[None], title: str) -> None:
    case = ALL[title]
    with mutation, stage.fresh(case.sidecar) as venue:
        assert run_case(case, venue, _PATIENCE), f"{title} passes all the same"
