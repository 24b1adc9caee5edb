"""The last calls, and what they tell about the way to Mangopay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core.deprecation import DEPRECATIONS
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.resend import FailureKind
from sidecar.core.tokens.oauth import RATE_LIMITED, SERVER_ERROR
from sidecar.telemetry.attempt import Attempt
from sidecar.telemetry.recent import RecentCalls, failure_kind
from sidecar.telemetry.recent_facts import DeprecatedCalls
from tests.support.call_record import call_record

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord

UNREACHABLE, TIMEOUT = ErrorCode.UPSTREAM_UNREACHABLE, ErrorCode.UPSTREAM_TIMEOUT


def record(number: int = 0, **fields: Any) -> CallRecord:
    """Return a call that began at ``number`` seconds and took one; Mangopay answered 200 if nothing else is said."""
    defaults: dict[str, Any] = {"method": "GET", "path": "/v2.01/acme/users", "status": 200, "duration": 1.0}
    return call_record(id=str(number), started=float(number), **{**defaults, **fields})


def failed(number: int = 0, code: ErrorCode = UNREACHABLE, *results: int | str, **fields: Any) -> CallRecord:
    """Return a call that the sidecar ended, after attempts with these ``results``."""
    made = record(number, **{"status": 0, **fields})
    made.timeline = tuple(Attempt(0.0, 0.0, 0.0, 0.0, result) for result in results)
    made.failed(SidecarError(code, "failed", outcome=Outcome.UNKNOWN, detail="why"))
    return made


def observed(*records: CallRecord, **limits: int) -> RecentCalls:
    recent = RecentCalls(**limits)
    for each in records:
        recent.observe(each)
    return recent


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_the_newest_calls_are_kept_and_all_are_counted() -> None:
    recent = observed(*map(record, range(5)), calls=3)
    assert [call.id for call in recent.newest_first()] == ["4", "3", "2"]
    assert [call.id for call in recent.newest_first(2)] == ["4", "3"]
    assert recent.total == 5


def test_errors_stay_when_other_calls_have_pushed_them_out() -> None:
    recent = observed(failed(0), record(1), failed(2), failed(3), record(4), record(5), calls=2, errors=2)
    assert [call.id for call in recent.errors_newest_first()] == ["3", "2"]


def refused(number: int, code: ErrorCode, **fields: Any) -> CallRecord:
    made = record(number, status=403, source="sidecar", **fields)
    made.failed(SidecarError(code, "refused"))
    return made


def test_the_newest_response_is_known_when_calls_that_are_none_have_pushed_it_out() -> None:
    """As probes of the port do, once in some seconds."""
    own = [record(2 + number, source="sidecar") for number in range(9)]
    recent = observed(record(0), record(1), *own, calls=5)
    assert recent.health(20.0).answered_at == 2.0
    recent.observe(record(30))
    assert recent.health(40.0).answered_at == 31.0


def test_an_unknown_outcome_is_pushed_out_by_others_of_its_kind_only() -> None:
    recent = observed(failed(0), *(refused(number, ErrorCode.BAD_REQUEST) for number in range(1, 30)), errors=2)
    assert [call.id for call in recent.errors_newest_first()] == ["29", "28", "0"]
    for number in (30, 31):
        recent.observe(failed(number))
    assert [call.id for call in recent.errors_newest_first()] == ["31", "30", "29", "28"]


def test_refused_calls_for_another_client_id_push_no_error_out() -> None:
    """They are counted by themselves."""
    foreign = [refused(number, ErrorCode.CLIENT_ID_MISMATCH, foreign=True) for number in range(1, 30)]
    recent = observed(refused(0, ErrorCode.BAD_REQUEST), *foreign, errors=2)
    assert [call.id for call in recent.errors_newest_first()] == ["0"]
    assert recent.foreign is not None
    assert recent.foreign.calls == 29


@pytest.mark.parametrize("length", [257, 258, 8190])
def test_of_a_long_path_no_more_is_kept_than_is_ever_shown(length: int) -> None:
    path = "/v2.01/acme/" + "a" * (length - 12)
    long = record(path=path)
    shown = record(path=path).shown_path
    observed(long)
    assert len(long.path) <= 257
    assert long.shown_path == shown


def test_the_newest_mended_call_is_remembered() -> None:
    recent = observed(record(1, recovered=("token",)), record(2, recovered=("connection",)), record(3))
    assert recent.recovered is not None
    assert recent.recovered.id == "2"


def test_calls_for_another_client_id_are_counted_as_long_as_they_go_on() -> None:
    recent = RecentCalls()
    for number in range(0, 1000, 10):
        recent.observe(record(number))
        recent.observe(record(number, foreign=True, status=401))
    assert recent.foreign is not None
    assert (recent.foreign.calls, recent.foreign.since, recent.foreign.newest.id) == (100, 1.0, "990")


@pytest.mark.parametrize(("pause", "calls"), [(300, 2), (301, 1)])
def test_after_five_minutes_without_one_they_are_counted_anew(pause: int, calls: int) -> None:
    recent = observed(record(0, foreign=True), record(pause, foreign=True))
    assert recent.foreign is not None
    assert (recent.foreign.calls, recent.foreign.newest.id) == (calls, str(pause))


def test_calls_for_our_client_id_are_not_counted_among_them() -> None:
    assert observed(record(0), failed(1)).foreign is None


# --- how upstream failed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (record(), None),
        (record(status=404), None),
        (record(status=401, futile=True), None),
        (record(status=429), RATE_LIMITED),
        (record(status=500), SERVER_ERROR),
        (record(status=503), SERVER_ERROR),
        (record(status=500, source="sidecar"), None),
        (record(status=0, source="sidecar", caller="gone"), None),
        *((failed(0, UNREACHABLE, kind.value), kind.value) for kind in FailureKind if kind is not FailureKind.TIMEOUT),
        (failed(0, TIMEOUT, "timeout"), "timeout"),
        # A resend that failed differs from what failed first.
        (failed(0, UNREACHABLE, "dead_before_write", "connect"), "connect"),
        # The response broke off within its body: the attempt itself had its response.
        (failed(0, UNREACHABLE, 200, status=200), "lost"),
        (failed(0, TIMEOUT, 200, status=200), "timeout"),
        # Not upstream's fault.
        (failed(0, ErrorCode.OVERLOADED, "no_slot"), "no_slot"),
        (failed(0, ErrorCode.OVERLOADED), None),
        (failed(0, ErrorCode.TOKEN_UNAVAILABLE, "token_unavailable"), None),
        (failed(0, ErrorCode.BAD_REQUEST), None),
        (failed(0, UNREACHABLE, "cut"), None),
        (failed(0, UNREACHABLE), None),
    ],
)
def test_a_call_tells_how_upstream_failed_or_that_it_did_not(call: CallRecord, kind: str | None) -> None:
    assert failure_kind(call) == kind


def test_a_response_that_the_sidecar_could_not_pass_on_is_no_failure_of_upstream_s() -> None:
    call = failed(0, UNREACHABLE, 200, status=200)
    call.own_failure = True
    assert failure_kind(call) is None


def test_reading_back_is_not_what_failed() -> None:
    call = failed(0, TIMEOUT, "timeout")
    call.timeline += (Attempt(0.0, 0.0, 0.0, 0.0, 404, "read_back"),)
    assert failure_kind(call) == "timeout"


# --- health ----------------------------------------------------------------------------------------------------------


def test_before_any_call_nothing_is_known() -> None:
    assert RecentCalls().health(0.0) == (None, 0, None, {})


def test_failures_run_until_mangopay_answers_again() -> None:
    recent = observed(record(1), failed(10, UNREACHABLE, "connect"), failed(20, UNREACHABLE, "resolve"))
    health = recent.health(22.0)
    assert (health.answered_at, health.failures) == (2.0, 2)
    assert health.last_failure is not None
    assert (health.last_failure.record.id, health.last_failure.kind) == ("20", "resolve")
    assert health.last_minute == {"connect": 1, "resolve": 1}
    recent.observe(record(30))
    assert recent.health(31.0)[:2] == (31.0, 0)


@pytest.mark.parametrize(
    "call",
    [
        failed(20, ErrorCode.BAD_REQUEST),
        record(20, status=200, source="sidecar"),
        record(20, status=0, source="sidecar", caller="gone"),
    ],
)
def test_calls_that_did_not_ask_mangopay_neither_prolong_nor_end_an_outage(call: CallRecord) -> None:
    recent = observed(record(1), failed(10, UNREACHABLE, "connect"), call)
    assert recent.health(25.0)[:2] == (2.0, 1)


def test_the_last_response_is_known_however_long_the_outage_lasts() -> None:
    recent = observed(record(1), *(failed(10 + n, UNREACHABLE, "connect") for n in range(50)), calls=5, failures=5)
    health = recent.health(100.0)
    assert (health.answered_at, health.failures) == (2.0, 50)


def test_an_outage_from_the_start_has_no_last_response() -> None:
    assert observed(failed(1, UNREACHABLE, "connect")).health(2.0).answered_at is None


def test_the_minute_moves_on() -> None:
    recent = observed(record(0, status=500), record(30, status=500), record(31))
    assert recent.health(32.0).last_minute == {SERVER_ERROR: 2}
    assert recent.health(70.0).last_minute == {SERVER_ERROR: 1}
    assert recent.health(200.0).last_minute == {}


def test_a_401_or_a_404_is_a_response_too() -> None:
    assert observed(record(1, status=404)).health(5.0).answered_at == 2.0


# --- deprecated endpoints --------------------------------------------------------------------------------------------


def test_calls_to_deprecated_endpoints_are_counted_by_endpoint() -> None:
    first, second = DEPRECATIONS[:2]
    recent = observed(
        record(1, deprecation=first), record(2, deprecation=second), record(3), record(7, deprecation=first)
    )
    assert recent.deprecated == {first: DeprecatedCalls(2, 8.0), second: DeprecatedCalls(1, 3.0)}


def test_refused_batch_calls_push_no_error_out() -> None:
    recent = observed(failed(0), *(refused(number, ErrorCode.RATE_RESERVED) for number in range(1, 30)), errors=2)
    assert [call.id for call in recent.errors_newest_first()] == ["0"]
    assert recent.health(40.0).failures == 0, "they are no failures of upstream either"
