"""The ledger: what was delivered, what was executed, and what must never show in it."""

from __future__ import annotations

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import NATURAL_USER, Direct


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mangopay(clock: FakeClock) -> Direct:
    return Direct(clock)


def test_the_ledger_tells_deliveries_from_executions(mangopay: Direct) -> None:
    for body in (NATURAL_USER, NATURAL_USER, {}):
        mangopay.call("POST", "users/natural", body)
    mangopay.call("GET", "users")
    ledger = mangopay.state.ledger
    assert [(entry.deliveries, entry.executions) for entry in ledger.entries()] == [(2, 2), (1, 0)]
    assert (ledger.deliveries, ledger.executions) == (3, 2)
    assert ledger.executed_twice() == ledger.delivered_twice() == ledger.entries()[:1]


def test_a_refused_write_was_delivered_and_not_executed(mangopay: Direct) -> None:
    mangopay.token = "unknown"
    mangopay.call("POST", "users/natural", NATURAL_USER)
    entry = mangopay.state.ledger.entries()[0]
    assert (entry.deliveries, entry.executions) == (1, 0)


def test_token_requests_are_no_writes(mangopay: Direct) -> None:
    mangopay.call("POST", "/v2.01/oauth/token")
    assert mangopay.state.ledger.deliveries == 0


def test_a_repeat_after_a_401_is_no_second_delivery(mangopay: Direct) -> None:
    mangopay.call("POST", "users/natural", NATURAL_USER)
    entry = mangopay.state.ledger.entries()[0]
    entry.unauthorized += 1
    mangopay.call("POST", "users/natural", NATURAL_USER)
    assert mangopay.state.ledger.delivered_twice() == []


def test_the_ledger_forgets_the_oldest_beyond_its_bound() -> None:
    from sidecar.emulator.ledger import Ledger
    from sidecar.emulator.messages import Request

    ledger = Ledger(kept=2)
    for number in range(3):
        ledger.deliver(Request("POST", "/x", ("x",), "", (), b"%d" % number, 0.0))
    assert ([entry.deliveries for entry in ledger.entries()], ledger.forgotten) == ([1, 1], 1)
    assert (ledger.find(b"0"), len(ledger.find(b"2"))) == ([], 1)
