"""A locked account and refused credentials: quiet, prompt answers, one probe, recovery by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.tokens.oauth import FetchResult, LockedOut, Refusal, Refused
from sidecar.tokens.lockout import AccountLockout
from tests.support.canary import record
from tests.support.clock import FakeClock
from tests.support.tokens import LOCKED_OUT, REFUSED, TRANSIENT, FakeSource, Managers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.tokens.manager import TokenManager

LATE = float("inf")

both = pytest.mark.parametrize(
    ("result", "code", "status"),
    [
        pytest.param(LOCKED_OUT, ErrorCode.TOKEN_LOCKED_OUT, 503, id="locked out"),
        pytest.param(REFUSED, ErrorCode.CREDENTIALS_REFUSED, 502, id="refused"),
    ],
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=1000.0)


@pytest.fixture
async def managers(clock: FakeClock) -> AsyncIterator[Managers]:
    made = Managers(clock)
    yield made
    await made.close()


async def refusal_of(manager: TokenManager) -> SidecarError:
    with pytest.raises(SidecarError) as raised:
        await manager.take(LATE)
    return raised.value


def is_ready(manager: TokenManager) -> bool:
    return manager.ready


@both
async def test_twelve_seconds_under_load_are_one_token_request_and_prompt_answers(
    clock: FakeClock, managers: Managers, result: FetchResult, code: ErrorCode, status: int
) -> None:
    source = FakeSource(clock, *[result] * 9)
    manager = managers.start(source, prefetch=True)
    managers.roll = 0.0
    await clock.settle()
    for _ in range(120):
        before = clock.now()
        error = await refusal_of(manager)
        assert clock.now() == before
        assert (error.code, error.status, error.outcome) == (code, status, Outcome.NOT_SENT)
        with pytest.raises(SidecarError):
            manager.check(clock.now())
        await clock.advance(0.1)
    assert source.requests == 1
    assert not is_ready(manager)


@both
async def test_it_recovers_by_itself_after_calls_have_waited(
    clock: FakeClock, managers: Managers, result: FetchResult, code: ErrorCode, status: int
) -> None:
    source = FakeSource(clock, result, result)
    manager = managers.start(source)
    error = await refusal_of(manager)
    assert (error.code, error.retry_after) == (code, 30)
    await clock.advance(29.9)
    assert source.requests == 1
    await clock.advance(0.1)
    assert source.requests == 2
    assert (await refusal_of(manager)).retry_after == 60
    await clock.advance(60)
    assert source.requests == 3
    assert is_ready(manager)
    assert manager.take_nowait(clock.now()) is not None


@both
async def test_a_prefetch_that_is_latched_is_probed_by_timer_until_ready(
    clock: FakeClock, managers: Managers, result: FetchResult, code: ErrorCode, status: int
) -> None:
    source = FakeSource(clock, *[result] * 8)
    manager = managers.start(source, prefetch=True)
    await clock.advance(3600)
    sent = [moment - 1000 for moment in source.sent_at]
    assert sent == [0, 30, 90, 210, 450, 930, 1830, 2730]
    assert not is_ready(manager)
    await clock.advance(900)
    assert is_ready(manager)


@both
async def test_while_the_token_is_valid_calls_go_on_and_idleness_makes_no_probe(
    clock: FakeClock, managers: Managers, result: FetchResult, code: ErrorCode, status: int
) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source)
    await manager.take(LATE)
    source.then(result)
    await clock.advance(1100)
    assert source.requests == 2
    assert manager.take_nowait(clock.now()) is not None
    assert is_ready(manager)
    await clock.advance(60)
    assert source.requests == 2
    token = manager.take_nowait(clock.now())
    assert token is not None
    await clock.settle()
    assert source.requests == 3


async def test_after_an_idle_latch_the_next_call_probes_and_waits_for_it(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=1200, delay=0.2)
    manager = managers.start(source)
    first = asyncio.create_task(manager.take(LATE))
    await clock.advance(1)
    await first
    source.then(LOCKED_OUT)
    await clock.advance(1300)
    assert source.requests == 2
    assert is_ready(manager), "so that a call may come and probe"
    waiting = [asyncio.create_task(manager.take(LATE)) for _ in range(20)]
    await clock.advance(0.2)
    assert {(await call).generation for call in waiting} == {2}
    assert source.requests == 3


@both
async def test_a_probe_that_gets_no_response_keeps_the_latch(
    clock: FakeClock, managers: Managers, result: FetchResult, code: ErrorCode, status: int
) -> None:
    source = FakeSource(clock, result, TRANSIENT, TRANSIENT)
    manager = managers.start(source)
    await refusal_of(manager)
    await clock.advance(30)
    error = await refusal_of(manager)
    assert (error.code, error.retry_after) == (code, 1)
    await clock.advance(1.5)
    assert [moment - 1000 for moment in source.sent_at] == [0, 30, 30.5, 31.5]
    assert manager.take_nowait(clock.now()) is not None


@pytest.mark.parametrize("result", [LockedOut("x", 100.0), Refused(Refusal.FORBIDDEN, "x", 100.0)])
async def test_a_longer_retry_after_is_honoured(clock: FakeClock, managers: Managers, result: FetchResult) -> None:
    source = FakeSource(clock, result)
    manager = managers.start(source)
    assert (await refusal_of(manager)).retry_after == 100
    await clock.advance(99.9)
    assert source.requests == 1
    await clock.advance(0.1)
    assert source.requests == 2


async def test_a_new_key_ends_a_latch_of_refused_credentials_at_once(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, REFUSED)
    manager = managers.start(source, prefetch=True)
    await clock.advance(1)
    manager.key_changed()
    await clock.settle()
    assert source.requests == 2
    assert is_ready(manager)


async def test_a_new_key_does_not_end_a_lockout(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, LOCKED_OUT)
    manager = managers.start(source, prefetch=True)
    await clock.advance(1)
    manager.key_changed()
    await clock.advance(28)
    assert source.requests == 1
    assert manager.status().state == "latched_lockout"


async def test_a_key_that_changes_while_the_old_one_is_being_refused_is_tried_at_once(
    clock: FakeClock, managers: Managers
) -> None:
    source = FakeSource(clock, REFUSED)
    source.gated = True
    manager = managers.start(source)
    call = asyncio.create_task(manager.take(LATE))
    await clock.settle()
    manager.key_changed()
    source.let_go()
    source.gated = False
    assert (await call).generation == 1


async def test_a_valid_token_outlives_a_new_key_that_is_refused(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source)
    await manager.take(LATE)
    source.then(*[REFUSED] * 9)
    manager.key_changed()
    await clock.advance(1150)
    assert source.requests > 1
    assert manager.take_nowait(clock.now()) is not None
    assert is_ready(manager)


class Account:
    """Both credentials of one account."""

    def __init__(self, clock: FakeClock, managers: Managers) -> None:
        lockout = AccountLockout()
        self.api_source = FakeSource(clock)
        self.embedded_source = FakeSource(clock)
        self.api = managers.start(self.api_source, "api", lockout=lockout)
        self.embedded = managers.start(self.embedded_source, "embedded", lockout=lockout)

    @property
    def requests(self) -> int:
        return self.api_source.requests + self.embedded_source.requests


@pytest.fixture
async def account(clock: FakeClock, managers: Managers) -> Account:
    return Account(clock, managers)


async def test_a_lockout_latches_both_credentials(clock: FakeClock, account: Account) -> None:
    account.api_source.then(LOCKED_OUT)
    for manager in (account.api, account.embedded):
        assert (await refusal_of(manager)).code is ErrorCode.TOKEN_LOCKED_OUT
        assert manager.status().state == "latched_lockout"
    assert account.requests == 1


async def test_a_refusal_latches_its_own_credential_only(account: Account) -> None:
    account.embedded_source.then(REFUSED)
    error = await refusal_of(account.embedded)
    assert error.code is ErrorCode.CREDENTIALS_REFUSED
    assert "SIDECAR_MANGOPAY_EMBEDDED_API_KEY" in error.message
    assert (await account.api.take(LATE)).generation == 1


async def test_one_probe_for_the_account_frees_both_credentials(clock: FakeClock, account: Account) -> None:
    account.api_source.then(LOCKED_OUT)
    await refusal_of(account.api)
    await refusal_of(account.embedded)
    account.api_source.gated = account.embedded_source.gated = True
    await clock.advance(30)
    assert account.requests == 2
    account.api_source.let_go()
    account.embedded_source.let_go()
    await clock.settle()
    assert account.requests == 3
    account.api_source.let_go()
    account.embedded_source.let_go()
    await clock.settle()
    assert account.api.take_nowait(clock.now()) is not None
    assert account.embedded.take_nowait(clock.now()) is not None


async def test_a_probe_that_is_locked_out_doubles_the_latch_for_both(clock: FakeClock, account: Account) -> None:
    account.api_source.then(LOCKED_OUT, LOCKED_OUT)
    account.embedded_source.then(LOCKED_OUT)
    await refusal_of(account.api)
    await refusal_of(account.embedded)
    await clock.advance(30)
    assert account.requests == 2
    await clock.advance(59.9)
    assert account.requests == 2


async def test_the_other_credential_is_answered_at_once_during_a_probe(clock: FakeClock, account: Account) -> None:
    account.api_source.then(LOCKED_OUT)
    await refusal_of(account.api)
    account.api_source.gated = True
    await clock.advance(30)
    assert account.api_source.in_flight == 1
    assert (await refusal_of(account.embedded)).retry_after == 1
    account.api_source.let_go()
    await clock.settle()


async def test_a_prober_that_closes_leaves_the_probe_to_the_other(clock: FakeClock, account: Account) -> None:
    account.api_source.then(LOCKED_OUT)
    await refusal_of(account.api)
    await refusal_of(account.embedded)
    account.api_source.gated = account.embedded_source.gated = True
    await clock.advance(30)
    prober, other = (
        (account.api, account.embedded_source)
        if account.api_source.in_flight
        else (account.embedded, account.api_source)
    )
    assert other.in_flight == 0
    await prober.close()
    await clock.advance(1)
    assert other.in_flight == 1
    other.let_go()
    await clock.settle()


async def test_a_call_that_waits_is_answered_when_another_credential_is_locked_out(
    clock: FakeClock, account: Account
) -> None:
    account.api_source.then(TRANSIENT, LOCKED_OUT)
    account.embedded_source.then(TRANSIENT, LOCKED_OUT)
    waiting = [asyncio.create_task(manager.take(LATE)) for manager in (account.api, account.embedded)]
    await clock.advance(0.5)
    for call in waiting:
        with pytest.raises(SidecarError) as raised:
            await call
        assert raised.value.code is ErrorCode.TOKEN_LOCKED_OUT


@pytest.mark.parametrize(
    ("result", "mend"),
    [
        (LOCKED_OUT, "tries again by itself"),
        (Refused(Refusal.CREDENTIALS, "x"), "SIDECAR_MANGOPAY_API_KEY"),
        (Refused(Refusal.FORBIDDEN, "x"), "allow-list"),
        (Refused(Refusal.CERTIFICATE, "x"), "SIDECAR_TLS_CLIENT_CERT_FILE"),
        (Refused(Refusal.REQUEST, "x"), "SIDECAR_MANGOPAY_BASE_URL"),
    ],
)
async def test_caller_and_log_are_told_the_mend(
    clock: FakeClock, managers: Managers, result: FetchResult, mend: str
) -> None:
    manager = managers.start(FakeSource(clock, result))
    with capture_logs() as logs:
        error = await refusal_of(manager)
    assert mend in error.message
    (entry,) = logs
    assert (entry["event"], entry["log_level"], entry["mend"]) == ("token.latched", "error", error.message)
    record("the log", repr(logs))


async def test_the_end_of_a_latch_is_logged(clock: FakeClock, managers: Managers) -> None:
    manager = managers.start(FakeSource(clock, LOCKED_OUT), prefetch=True)
    with capture_logs() as logs:
        await clock.advance(30)
    assert [entry["event"] for entry in logs] == ["token.latched", "token.unlatched", "token.refreshed"]
    assert manager.ready


@both
async def test_status_shows_the_latch(
    clock: FakeClock, managers: Managers, result: FetchResult, code: ErrorCode, status: int
) -> None:
    manager = managers.start(FakeSource(clock, result), prefetch=True)
    await clock.advance(1)
    shown = manager.status()
    reason = "lockout" if code is ErrorCode.TOKEN_LOCKED_OUT else "refused"
    assert (shown.state, shown.latch_reason, shown.valid) == (f"latched_{reason}", reason, False)
    assert shown.latched_until == shown.next_attempt_at == clock.wall() + 29
    assert shown.last_error is not None
