"""How a call is told that it got no response: before a byte, after a 401, and once a part of it is out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import pytest

from sidecar.advice.texts.calls import FAILURES
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.resend import FailureKind, Sent, Verdict
from sidecar.proxy.attempts import Attempts, NoResponse, _delivered, _rejected, broken_response
from sidecar.proxy.call import Call
from sidecar.proxy.exchange import WaitBudget
from sidecar.telemetry.record import CallRecord
from sidecar.upstream.errors import UpstreamError, before_a_byte
from tests.support.clock import FakeClock

LOCKED_OUT: Final = SidecarError(
    ErrorCode.TOKEN_LOCKED_OUT, "There is no token.", retry_after=30.0, detail="for the log", close=True
)
TOO_LARGE: Final = SidecarError(ErrorCode.BODY_TOO_LARGE, "The body is too large.")
EXECUTED_NOTHING: Final = "Mangopay answered the request with 401 and executed nothing: it may be sent again as it is."


@pytest.mark.parametrize("error", [LOCKED_OUT, TOO_LARGE], ids=["with everything", "with a message alone"])
def test_after_a_401_an_error_says_that_nothing_was_executed_and_when_to_come_again(error: SidecarError) -> None:
    told = _rejected(error)
    assert told.message == (f"{error.message} {EXECUTED_NOTHING}")
    assert (told.code, told.outcome, told.detail) == (error.code, Outcome.REJECTED, error.detail)
    assert (told.retry_after, told.close) == (error.retry_after, error.close)


@pytest.mark.parametrize("error", [LOCKED_OUT, TOO_LARGE], ids=["with everything", "with a message alone"])
def test_once_a_part_is_out_an_error_warns_of_repeating_a_write_and_invites_nobody_to(error: SidecarError) -> None:
    told = _delivered(error)
    assert told.message == (
        f"{error.message} A part of the request may have reached Mangopay: before you repeat a write, find out."
    )
    assert (told.code, told.outcome, told.detail) == (error.code, Outcome.UNKNOWN, error.detail)
    assert (told.retry_after, told.close) == (None, error.close)


@pytest.mark.parametrize(
    ("kind", "code", "outcome", "advice", "added", "retry_after"),
    [
        (FailureKind.CONNECT, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.NOT_SENT, "", "", None),
        (FailureKind.NO_SLOT, ErrorCode.OVERLOADED, Outcome.NOT_SENT, "", "", 1.0),
        (FailureKind.LOST, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN, "Do this.", " Do this.", None),
        (FailureKind.CONNECT, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.REJECTED, "", f" {EXECUTED_NOTHING}", None),
    ],
)
def test_without_a_response_the_cause_is_told_with_what_is_known_and_advised(
    kind: FailureKind, code: ErrorCode, outcome: Outcome, advice: str, added: str, retry_after: float | None
) -> None:
    lost = NoResponse(before_a_byte(kind, "for the log"), Verdict(False, code, outcome))
    with pytest.raises(SidecarError) as caught:
        lost.raise_for_caller(advice) if advice else lost.raise_for_caller()
    error = caught.value
    assert error.message == f"{FAILURES[kind].told}{added}"
    assert (error.code, error.outcome, error.detail, error.retry_after) == (code, outcome, "for the log", retry_after)
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FailureKind.TIMEOUT, ErrorCode.UPSTREAM_TIMEOUT),
        (FailureKind.LOST, ErrorCode.UPSTREAM_UNREACHABLE),
        (FailureKind.BROKEN, ErrorCode.UPSTREAM_UNREACHABLE),
    ],
)
def test_a_response_that_broke_off_leaves_the_outcome_unknown_and_is_not_asked_for_again(
    kind: FailureKind, code: ErrorCode
) -> None:
    failure: UpstreamError = before_a_byte(kind, "for the log")
    lost = broken_response(failure)
    assert (lost.failure, lost.verdict) == (failure, Verdict(False, code, Outcome.UNKNOWN))
    assert str(lost) == "for the log"


class UnhurriedExchanger:
    """Two seconds go by before it writes a request, in which it waits for nothing; the response takes three."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def wait_budget(self, seconds: float) -> WaitBudget:
        return WaitBudget(self._clock, seconds, self._clock)

    async def exchange(
        self, _request: Any, _tokens: Any, waiting: WaitBudget, *, sending: Call, **_: Any
    ) -> tuple[Any, int]:
        connection: Any = SimpleNamespace(sent=Sent.ALL)
        waiting.no_wait(self._clock.now())
        await self._clock.advance(2.0)
        sending.begins(connection, self._clock.now())
        await self._clock.advance(3.0)
        return SimpleNamespace(status=200), 1


# In the compiled build nothing but an Exchanger is taken for one.
@pytest.mark.interpreted
async def test_the_timeline_tells_what_mangopay_took_and_not_what_passed_here_before() -> None:
    clock = FakeClock(now=100.0)
    caller: Any = SimpleNamespace(task=None)
    call = Call("GET", caller, CallRecord("id", 100.0, "GET", "/"), clock)
    outgoing: Any = SimpleNamespace(request=None, tokens=None)
    exchanger: Any = UnhurriedExchanger(clock)
    await Attempts(call, outgoing, exchanger, timeout=4.0).response()
    (attempt,) = call.record.timeline
    assert (attempt.at, attempt.upstream, attempt.result) == (0.0, 3.0, 200)
