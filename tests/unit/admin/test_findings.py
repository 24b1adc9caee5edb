"""What the facts mean: one row for each thing that can be said, and what holds for all of them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import pytest

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.admin.findings import findings
from sidecar.admin.status import (
    BatchLane,
    CallTotals,
    DeprecatedCalls,
    ForeignCalls,
    LastError,
    PoolStatus,
    Readiness,
    RecoveredCall,
    ReloadStatus,
    Snapshot,
    UpstreamFailure,
    UpstreamStatus,
)
from sidecar.advice.texts.hooks import FORBIDDEN
from sidecar.core.errors import ErrorCode
from sidecar.core.hooks import Hook, HooksStatus, HookState, hooks_status
from sidecar.core.rate_windows import RateWindow
from sidecar.core.resend import FailureKind
from sidecar.telemetry.recent import ERRORS
from sidecar.tokens.status import StoreStatus
from sidecar.tracing.status import TracingStatus
from sidecar.upstream.expiry import CertificateStatus
from tests.support.status import NOW, latched, no_token, snapshot, token

OK, INFO, WARNING, CRITICAL = Level.OK, Level.INFO, Level.WARNING, Level.CRITICAL
DAY = 86_400.0
LOCKED = Readiness(ready=False, reason="token_locked_out", message="locked")


def upstream(kind: str, running: int, *, ago: float = 1.0, detail: str = "", **minute: int) -> UpstreamStatus:
    """Return what is known after ``running`` failures of ``kind``, the last of them ``ago`` seconds back."""
    last = UpstreamFailure(at=NOW - ago, kind=kind, id="call-1", status=None, detail=detail)
    return UpstreamStatus(NOW - 60, running, last, minute or ({kind: running} if ago < 60 else {}))


def failing(*, last_error: str = "status 503", **fields: Any) -> Any:
    return no_token(state="backing_off", failures=4, next_attempt_at=NOW + 8, last_error=last_error, **fields)


def window(
    used: int | None, remaining: int | None, reset: int | None = int(NOW) + 300, name: str | None = "15m"
) -> RateWindow:
    return RateWindow(name, used, remaining, reset)


def error(code: str, *, outcome: str = "not-sent", ago: float = 10.0) -> LastError:
    return LastError(
        at=NOW - ago, id="call-9", method="POST", path="/v2.01/{client}/payins", status=502, code=code, outcome=outcome
    )


def foreign(calls: int, *, refused: bool, ago: float = 10.0) -> ForeignCalls:
    path = "/v2.01/{client}/users"
    return ForeignCalls(
        calls=calls, since=NOW - ago - 100, at=NOW - ago, id="call-3", method="GET", path=path, refused=refused
    )


def connections(number: int) -> CallTotals:
    return msgspec.structs.replace(snapshot().calls, connections=number)


DEPRECATED = DeprecatedCalls(
    what="old_ones",
    endpoint="POST old",
    calls=3,
    at=NOW - 86_400,
    since="2025-11-17",
    announced="goes away",
    successor="POST new",
    source="release note",
)


class Row(NamedTuple):
    """Facts that differ from a healthy sidecar's, and what is found."""

    facts: dict[str, Any]
    kind: FindingKind
    level: Level
    area: Area
    until: float | None = None
    #: Some words that must be in title, text or mend.
    words: str = ""


K, A = FindingKind, Area
VALID: Final = Hook("Z", HookState.VALID)
ROWS = {
    "healthy": Row({}, K.HEALTHY, OK, A.SIDECAR, NOW + 900),
    "healthy and idle": Row({"tokens": (token(next_attempt_at=None),)}, K.HEALTHY, OK, A.SIDECAR),
    # --- the process
    "starting": Row(
        {"phase": "starting", "readiness": Readiness(False, "starting", "starts"), "tokens": (no_token(generation=0),)},
        *(K.STARTING, INFO, A.SIDECAR),
    ),
    "delaying": Row({"phase": "delaying"}, K.DRAINING, WARNING, A.SIDECAR, words="still served"),
    "draining": Row({"phase": "draining"}, K.DRAINING, WARNING, A.SIDECAR, words="503 shutting_down"),
    "not ready for a reason unknown": Row(
        {"readiness": Readiness(False, "other", "because of this")},
        *(K.NOT_READY, WARNING, A.SIDECAR, None, "Because of this."),
    ),
    "a reload that failed": Row(
        {"reload": ReloadStatus(successful=False, error="tls.ca_file: x.pem holds no certificate: name a PEM file")},
        *(K.RELOAD_FAILED, WARNING, A.SIDECAR, None, "x.pem holds no certificate"),
    ),
    "a collector that does not take traces": Row(
        {"tracing": TracingStatus("http://collector:4318", False, NOW - 5, "answered 503", sent=7, lost=3)},
        *(K.TRACES_LOST, WARNING, A.SIDECAR, None, "The collector (http://collector:4318) answered 503."),
    ),
    "a collector that takes them": Row(
        {"tracing": TracingStatus("http://collector:4318", True, NOW - 5, "answered 503", sent=7, lost=3)},
        *(K.HEALTHY, OK, A.SIDECAR, NOW + 900),
    ),
    "a store that is down": Row(
        {"store": StoreStatus("redis", "cache.internal:6379/0", False, NOW - 5, "does not answer within 1 s")},
        *(
            K.STORE_DOWN,
            WARNING,
            A.TOKEN,
            None,
            "The store (redis at cache.internal:6379/0) does not answer within 1 s.",
        ),
    ),
    # --- tokens and keys
    "locked out": Row(
        {"tokens": (latched("lockout"),), "readiness": LOCKED},
        *(K.LOCKED_OUT, CRITICAL, A.LOCK, NOW + 65, "The sidecar tries again by itself"),
    ),
    "locked out with a token in hand": Row(
        {"tokens": (latched("lockout", valid=True, expires_at=NOW + 99),)},
        *(K.LOCKED_OUT, WARNING, A.LOCK, NOW + 65, "calls go on"),
    ),
    "locked out, and the time is up": Row(
        {"tokens": (latched("lockout", latched_until=NOW),)},
        *(K.LOCKED_OUT, CRITICAL, A.LOCK, None, "the next call"),
    ),
    "a refused key": Row(
        {"tokens": (latched("credentials"),)}, K.KEY_REFUSED, CRITICAL, A.KEY, NOW + 65, "SIDECAR_MANGOPAY_API_KEY"
    ),
    "a refused embedded key": Row(
        {"tokens": (token(), latched("credentials", credential="embedded"))},
        *(K.KEY_REFUSED, WARNING, A.KEY, NOW + 65, "SIDECAR_MANGOPAY_EMBEDDED_API_KEY"),
    ),
    "a refused address": Row(
        {"tokens": (latched("forbidden"),)}, K.ADDRESS_REFUSED, CRITICAL, A.NETWORK, NOW + 65, "allow-list"
    ),
    "a refused certificate": Row(
        {"tokens": (latched("certificate"),)}, K.CERTIFICATE_REFUSED, CRITICAL, A.CERTIFICATE, NOW + 65, "CLIENT_CERT"
    ),
    "a refused token request": Row(
        {"tokens": (latched("request"),)}, K.TOKEN_REQUEST_REFUSED, CRITICAL, A.KEY, NOW + 65, "BASE_URL"
    ),
    "the first token on its way": Row(
        {"tokens": (no_token(generation=0, state="refreshing"),)}, K.TOKEN_PENDING, INFO, A.TOKEN, words="first token"
    ),
    "a burnt token's successor on its way": Row(
        {"tokens": (no_token(next_attempt_at=NOW),)}, K.TOKEN_PENDING, INFO, A.TOKEN, words="A token is being fetched"
    ),
    "no token to be had": Row(
        {"tokens": (failing(),)},
        K.TOKEN_UNAVAILABLE,
        CRITICAL,
        A.TOKEN,
        NOW + 8,
        "4 tries failed in a row: status 503.",
    ),
    "no embedded token to be had": Row(
        {"tokens": (token(), failing(credential="embedded"))},
        *(K.TOKEN_UNAVAILABLE, WARNING, A.TOKEN, NOW + 8, "(embedded key)"),
    ),
    "a token that ends soon and cannot be renewed": Row(
        {"tokens": (token(failures=1, last_error="status 503", expires_at=NOW + 30, refresh_at=NOW - 90),)},
        *(K.TOKEN_NOT_RENEWED, WARNING, A.TOKEN, NOW + 30, "1 try failed in a row"),
    ),
    "a token that ends soon unused": Row(
        {"tokens": (token(next_attempt_at=None, expires_at=NOW + 30, refresh_at=NOW),)},
        *(K.TOKEN_IDLE, INFO, A.TOKEN, NOW + 30),
    ),
    "a token that has ended unused": Row({"tokens": (no_token(),)}, K.TOKEN_EXPIRED_UNUSED, INFO, A.TOKEN),
    "futile refreshes": Row(
        {"tokens": (token(paused_until=NOW + 10, paused_paths=("/a", "/b", "/c", "/d")),)},
        K.REFRESHES_FUTILE,
        WARNING,
        A.TOKEN,
        NOW + 10,
        "/a, /b, /c and 1 more",
    ),
    "one futile refresh": Row(
        {"tokens": (token(paused_until=NOW + 10, paused_paths=("/a",)),)},
        K.REFRESHES_FUTILE,
        WARNING,
        A.TOKEN,
        NOW + 10,
        "401s from /a are",
    ),
    "a mended token": Row(
        {"last_mended": RecoveredCall(NOW - 299, "call-7", ("token",))}, K.TOKEN_MENDED, INFO, A.TOKEN, words="call-7"
    ),
    "a mended connection": Row(
        {"last_mended": RecoveredCall(NOW, "call-7", ("connection",))}, K.CONNECTION_MENDED, INFO, A.NETWORK
    ),
    "an answer read back": Row(
        {"last_mended": RecoveredCall(NOW, "call-7", ("idempotency",))},
        *(K.ANSWER_READ_BACK, INFO, A.NETWORK, None, "stored under its Idempotency-Key"),
    ),
    # --- why there is no token, told apart
    "no token because of DNS": Row({"tokens": (failing(last_failure="resolve"),)}, K.DNS_FAILING, CRITICAL, A.NETWORK),
    "no token because of silence": Row(
        {"tokens": (failing(last_failure="timeout"),)}, K.MANGOPAY_SILENT, CRITICAL, A.MANGOPAY
    ),
    "no token because of the edge": Row(
        {"tokens": (failing(last_failure="edge_page", last_error="status 403 with a web page, CF-Ray 8f3c-CDG"),)},
        *(K.EDGE_PAGES, CRITICAL, A.NETWORK, None, "CF-Ray 8f3c-CDG"),
    ),
    "no token because of its endpoint": Row(
        {"tokens": (failing(last_failure="server_error"),)},
        *(K.MANGOPAY_ERRORS, CRITICAL, A.MANGOPAY, None, "The token endpoint: status 503."),
    ),
    "no token because the token endpoint is none": Row(
        {"tokens": (failing(last_error="status 301"),)},
        *(K.TOKEN_UNAVAILABLE, CRITICAL, A.TOKEN, NOW + 8, "see SIDECAR_MANGOPAY_BASE_URL, and run"),
    ),
    # --- the way to Mangopay
    "DNS fails": Row(
        {"upstream": upstream("resolve", 3)}, K.DNS_FAILING, CRITICAL, A.NETWORK, None, "mangopay-sidecar check"
    ),
    "connecting fails": Row(
        {"upstream": upstream("connect", 3, detail="connection refused")},
        *(K.CONNECT_FAILING, CRITICAL, A.NETWORK, None, "Last seen: connection refused."),
    ),
    "connecting failed once": Row({"upstream": upstream("connect", 1)}, K.CONNECT_FAILING, WARNING, A.NETWORK),
    "connecting failed an hour ago, and nobody has called since": Row(
        {"upstream": upstream("connect", 9, ago=3600)}, K.CONNECT_FAILING, WARNING, A.NETWORK, None, "none was answered"
    ),
    "the egress proxy fails": Row({"upstream": upstream("egress", 3)}, K.EGRESS_FAILING, CRITICAL, A.NETWORK),
    "TLS fails": Row({"upstream": upstream("tls", 3)}, K.TLS_FAILING, CRITICAL, A.NETWORK, None, "clock"),
    "connections break": Row({"upstream": upstream("lost", 3)}, K.CONNECTIONS_BREAKING, CRITICAL, A.NETWORK),
    "pooled connections are dead": Row(
        {"upstream": upstream("dead_before_write", 3)}, K.CONNECTIONS_BREAKING, CRITICAL, A.NETWORK
    ),
    "Mangopay is silent": Row({"upstream": upstream("timeout", 3)}, K.MANGOPAY_SILENT, CRITICAL, A.MANGOPAY),
    "Mangopay answers 5xx": Row({"upstream": upstream("server_error", 3)}, K.MANGOPAY_ERRORS, CRITICAL, A.MANGOPAY),
    "Mangopay answers 5xx now and then": Row(
        {"upstream": upstream("server_error", 0, server_error=7)},
        *(K.MANGOPAY_ERRORS, WARNING, A.MANGOPAY, None, "7 calls failed so in the last minute; others were answered"),
    ),
    "answers are broken": Row({"upstream": upstream("broken", 3)}, K.ANSWERS_BROKEN, CRITICAL, A.NETWORK),
    "a call that failed": Row(
        {"upstream": upstream("broken", 1)},
        *(K.ANSWERS_BROKEN, WARNING, A.NETWORK, None, "The last call failed, and none was answered since."),
    ),
    "the edge answers calls": Row({"upstream": upstream("edge_page", 3)}, K.EDGE_PAGES, CRITICAL, A.NETWORK),
    "Mangopay answers 429": Row({"upstream": upstream("rate_limited", 3)}, K.RATE_LIMITED, CRITICAL, A.RATE_LIMIT),
    "no connection became free": Row({"upstream": upstream("no_slot", 3)}, K.POOL_EXHAUSTED, CRITICAL, A.SIDECAR),
    "batch calls wait, and it is known until when": Row(
        {"batch_lane": BatchLane(0.2, waiting=12, room_at=NOW + 300, window="15m", refused_at=None)},
        *(K.BATCH_HELD, INFO, A.RATE_LIMIT, NOW + 300, "Batch calls are held: 12 wait, room at 13:16 UTC"),
    ),
    "a batch call waits for its turn": Row(
        {"batch_lane": BatchLane(0.255, waiting=1, room_at=None, window=None, refused_at=None)},
        *(K.BATCH_HELD, INFO, A.RATE_LIMIT, None, "Batch calls are held: 1 waits What remains of a rate window"),
    ),
    "batch calls were refused a moment ago": Row(
        {"batch_lane": BatchLane(0.2, waiting=0, room_at=NOW + 60, window="1h", refused_at=NOW - 59)},
        *(K.BATCH_HELD, INFO, A.RATE_LIMIT, NOW + 60, "Batch calls are refused, room at 13:12 UTC"),
    ),
    "a deprecated endpoint is called": Row(
        {"deprecated_calls": (DEPRECATED,)},
        *(K.DEPRECATED_CALLS, INFO, A.CALLS, None, "POST old (3 calls) goes away. Such calls are forwarded"),
    ),
    "a deprecated endpoint without a successor": Row(
        {"deprecated_calls": (msgspec.structs.replace(DEPRECATED, successor=""),)},
        *(K.DEPRECATED_CALLS, INFO, A.CALLS, None, "nothing takes their place"),
    ),
    # --- limits
    "calls wait for a connection": Row(
        {"pool": PoolStatus(size=2, open=2, idle=0, waiting=3)},
        *(K.POOL_EXHAUSTED, WARNING, A.SIDECAR, None, "All 2 are in use, and 3 calls wait for one."),
    ),
    "a call waits for a connection": Row(
        {"pool": PoolStatus(size=2, open=2, idle=0, waiting=1)},
        *(K.POOL_EXHAUSTED, WARNING, A.SIDECAR, None, "All 2 are in use, and 1 call waits for one."),
    ),
    "a window nearly used up": Row(
        {"rate_limits": (window(2100, 200),)},
        *(K.RATE_LIMIT_NEARLY_USED, WARNING, A.RATE_LIMIT, NOW + 300, "200 of 2300 calls are left"),
    ),
    "a window of unknown use and end": Row(
        {"rate_limits": (window(None, 0, None),)}, K.RATE_LIMIT_USED_UP, CRITICAL, A.RATE_LIMIT
    ),
    "a window used up": Row(
        {"rate_limits": (window(100, 8000), window(8800, 0, name="1h"))},
        *(K.RATE_LIMIT_USED_UP, CRITICAL, A.RATE_LIMIT, NOW + 300, "1 hour"),
    ),
    "a certificate that ends": Row(
        {"client_certificate": CertificateStatus(NOW + 29 * DAY, 29)},
        *(K.CERTIFICATE_EXPIRING, WARNING, A.CERTIFICATE, NOW + 29 * DAY, "Dashboard"),
    ),
    "a certificate that has ended": Row(
        {"client_certificate": CertificateStatus(NOW - 1, 0)}, K.CERTIFICATE_EXPIRED, CRITICAL, A.CERTIFICATE
    ),
    "nearly as many callers as may be": Row({"calls": connections(900)}, K.CALLERS_NEAR_LIMIT, WARNING, A.CALLS),
    "no memory for bodies": Row(
        {"replay_buffer_bytes": 60, "replay_budget_bytes": 64},
        *(K.REPLAY_BUDGET_USED_UP, WARNING, A.SIDECAR, None, "SIDECAR_REPLAY_BUDGET"),
    ),
    # --- calls
    "lost answers that may not be read back": Row(
        {"read_back_forbidden": True}, K.READ_BACK_FORBIDDEN, WARNING, A.KEY, None, "Client.Developers (READ)"
    ),
    "an unknown outcome": Row(
        {"last_errors": (error("upstream_timeout", outcome="unknown"),)},
        *(K.OUTCOMES_UNKNOWN, WARNING, A.CALLS, None, "1 call of the last 15 minutes ended without an answer"),
    ),
    "as many unknown outcomes as are kept": Row(
        {"last_errors": (error("upstream_timeout", outcome="unknown"),) * ERRORS},
        *(K.OUTCOMES_UNKNOWN, WARNING, A.CALLS, None, f"{ERRORS} calls or more of the last 15 minutes"),
    ),
    "a caller refused": Row(
        {"last_errors": (error("bad_request"),)}, K.CALLERS_REFUSED, INFO, A.CALLS, None, "bad_request (1)"
    ),
    "another ClientId, refused": Row(
        {"foreign_calls": foreign(20, refused=True)},
        *(K.CLIENT_ID_MISMATCH, WARNING, A.CALLS, NOW + 290, "Calls for another ClientId: 20 within 1 min 40 s"),
    ),
    "another ClientId, forwarded": Row(
        {"foreign_calls": foreign(1, refused=False)},
        *(K.CLIENT_ID_MISMATCH, WARNING, A.CALLS, NOW + 290, "its 401 says nothing of the token"),
    ),
    # --- hooks
    "hooks that are not called": Row(
        {"hooks": hooks_status([Hook(each, HookState.INVALID) for each in "ABCDEFG"] + [VALID], NOW)},
        *(
            K.HOOKS_FAILING,
            WARNING,
            A.MANGOPAY,
            None,
            "Of 8 hooks: A (invalid), B (invalid), C (invalid), D (invalid), E",
        ),
    ),
    "one hook that is disabled": Row(
        {"hooks": hooks_status([Hook("PAYOUT_NORMAL_FAILED", HookState.DISABLED)], NOW)},
        *(K.HOOKS_FAILING, WARNING, A.MANGOPAY, None, "Of 1 hook: PAYOUT_NORMAL_FAILED (disabled). Their events"),
    ),
    "a look at the hooks that failed": Row(
        {"hooks": HooksStatus(NOW - 900, {HookState.VALID: 1}, (), "timeout: no response within 10 s")},
        *(
            K.HOOKS_UNSEEN,
            INFO,
            A.MANGOPAY,
            None,
            "no response within 10 s",
        ),
    ),
    "a look at the hooks that the key may not make": Row(
        {"hooks": HooksStatus(NOW - 900, {HookState.VALID: 1}, (), FORBIDDEN)},
        *(K.HOOKS_UNSEEN, INFO, A.MANGOPAY, None, "the API key needs the scope Client.Developers"),
    ),
    "callers refused": Row(
        {"last_errors": (error("host_not_allowed"),) * 3 + (error("bad_request"),)},
        *(K.CALLERS_REFUSED, WARNING, A.CALLS, None, "SIDECAR_LISTEN_ALLOWED_HOSTS"),
    ),
}


def facts_of(row: Row) -> Snapshot:
    return snapshot(**row.facts)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_facts_are_told(row: Row) -> None:
    (found,) = (each for each in findings(facts_of(row)) if each.kind is row.kind)
    assert (found.level, found.area, found.until) == (row.level, row.area, row.until)
    assert row.words in f"{found.title} {found.text} {found.mend}"


def test_every_kind_has_a_row() -> None:
    assert {row.kind for row in ROWS.values()} == set(FindingKind)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_is_wrong_comes_first_and_only_then_nothing_is_said_to_be_well(row: Row) -> None:
    found = findings(facts_of(row))
    ranks = [[OK, INFO, WARNING, CRITICAL].index(each.level) for each in found if each.kind is not K.HEALTHY]
    assert ranks == sorted(ranks, reverse=True)
    bad = any(each.level in (WARNING, CRITICAL) for each in found)
    healthy = [each.kind for each in found].count(K.HEALTHY)
    assert healthy == (0 if bad or not facts_of(row).readiness.ready else 1)
    assert found[0].kind is K.HEALTHY or not healthy


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_findings_are_sentences_that_need_no_second_reading(row: Row) -> None:
    for found in findings(facts_of(row)):
        assert found.title[0].isupper()
        assert not found.title.endswith(".")
        assert len(found.title) < 70
        for words in filter(None, (found.text, found.mend)):
            assert words[0].isupper() or words[0].isdigit()
            assert words.endswith((".", "?"))
            assert "{" not in words.replace("{client}", "").replace("{id}", "")
        assert bool(found.until_label) == (found.until is not None)
        if found.level in (WARNING, CRITICAL):
            assert found.mend


@pytest.mark.parametrize(
    "facts",
    [
        {"readiness": Readiness(False, reason, "why")}
        for reason in ("starting", "draining", "token_pending", "token_unavailable", "anything")
    ],
)
def test_whatever_is_not_ready_is_never_said_to_be_well(facts: dict[str, Any]) -> None:
    kinds = [each.kind for each in findings(snapshot(**facts))]
    assert kinds
    assert K.HEALTHY not in kinds


# --- what is not told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"rate_limits": (window(2000, 300),)},
        {"rate_limits": (window(2300, 0, int(NOW)),)},  # it has started anew
        {"rate_limits": (window(2300, None),)},
        {"client_certificate": CertificateStatus(NOW + 31 * DAY, 31)},
        {"pool": PoolStatus(size=2, open=2, idle=1, waiting=0)},
        {"calls": connections(899)},
        {"last_errors": (error("host_not_allowed", ago=301),) * 5},
        {"last_errors": (error("upstream_timeout", outcome="unknown", ago=901),)},
        {"last_errors": (error("token_unavailable"),)},
        {"foreign_calls": foreign(20, refused=True, ago=301)},
        {"last_mended": RecoveredCall(NOW - 301, "call-7", ("token",))},
        {"tokens": (token(), no_token(credential="embedded", generation=0))},
        {"reload": None},
        {"store": StoreStatus("file", "/run/token", True, NOW - 5, "is full")},  # that is over
        {"store": StoreStatus("file", "/run/token", None, None, None)},  # nobody has used it yet
        {"tokens": (token(state="refreshing", next_attempt_at=None, refresh_at=NOW - 1),)},
    ],
    ids=str,
)
def test_what_needs_nobody_s_attention_is_not_told(facts: dict[str, Any]) -> None:
    assert [each.kind for each in findings(snapshot(**facts))] == [K.HEALTHY]


def test_the_lockout_of_one_account_is_told_once_for_all_its_credentials() -> None:
    """The worst of both: the API key's."""
    tokens = (latched("lockout"), latched("lockout", credential="embedded"))
    found = [each for each in findings(snapshot(tokens=tokens)) if each.kind is K.LOCKED_OUT]
    assert [each.level for each in found] == [CRITICAL]


def test_what_another_sidecar_met_is_not_told_as_an_error_of_mangopays() -> None:
    """A store says that there is no token, not why."""
    facts = snapshot(tokens=(failing(last_failure="elsewhere", last_error="another sidecar got no token"),))
    assert [each.kind for each in findings(facts)] == [K.TOKEN_UNAVAILABLE]


def test_what_token_requests_and_calls_meet_alike_is_told_once() -> None:
    facts = snapshot(tokens=(failing(last_failure="resolve"),), upstream=upstream("resolve", 1))
    assert [each.level for each in findings(facts) if each.kind is K.DNS_FAILING] == [CRITICAL]


@pytest.mark.parametrize("kind", [*(kind.value for kind in FailureKind), "server_error", "rate_limited", "edge_page"])
def test_every_failure_of_upstream_is_told_with_its_mend(kind: str) -> None:
    (found,) = findings(snapshot(upstream=upstream(kind, 3)))
    assert found.level is CRITICAL
    assert found.mend


@pytest.mark.parametrize("code", [code for code in ErrorCode if code not in {
    # Those that other findings explain.
    ErrorCode.CLIENT_ID_MISMATCH, ErrorCode.RATE_RESERVED,
    ErrorCode.CREDENTIALS_REFUSED, ErrorCode.UPSTREAM_UNREACHABLE, ErrorCode.TOKEN_LOCKED_OUT,
    ErrorCode.TOKEN_UNAVAILABLE, ErrorCode.OVERLOADED, ErrorCode.SHUTTING_DOWN, ErrorCode.UPSTREAM_TIMEOUT,
}])  # fmt: skip
def test_every_refusal_of_a_caller_has_its_mend(code: ErrorCode) -> None:
    (_, found) = findings(snapshot(last_errors=(error(code.value),)))
    assert (found.kind, bool(found.mend)) == (K.CALLERS_REFUSED, True)


def test_the_way_in_which_calls_fail_now_is_told_before_the_others() -> None:
    facts = snapshot(upstream=upstream("lost", 2, server_error=1, lost=1))
    found = findings(facts)
    assert [each.kind for each in found] == [K.CONNECTIONS_BREAKING, K.MANGOPAY_ERRORS]
    assert found[1].text == "1 call failed so in the last minute; others fail in another way."


def test_a_batch_lane_in_which_nobody_waits_is_no_finding() -> None:
    lanes = (
        BatchLane(0.2, waiting=0, room_at=NOW + 60, window=None, refused_at=None),
        BatchLane(0.2, waiting=0, room_at=NOW + 60, window=None, refused_at=NOW - 61),
    )
    for lane in lanes:
        assert [each.kind for each in findings(snapshot(batch_lane=lane))] == [K.HEALTHY]


def test_all_deprecated_endpoints_are_told_in_one_finding_for_a_day() -> None:
    other = msgspec.structs.replace(DEPRECATED, endpoint="GET older", calls=1, successor="GET newer")
    past = msgspec.structs.replace(DEPRECATED, endpoint="PUT forgotten", at=NOW - 86_401)
    (_, found) = findings(snapshot(deprecated_calls=(DEPRECATED, other, past)))
    told = "POST old (3 calls) goes away; GET older (1 call) goes away."
    assert found.text == f"{told} Such calls are forwarded as any other."
    assert found.mend == "Call POST new in place of POST old; GET newer in place of GET older."


def test_a_window_without_a_name_is_no_finding() -> None:
    """Nobody could say which window it is, nor whether it is one that matters."""
    facts = snapshot(rate_limits=(window(2300, 0, name=None), window(99, 1, name=None)))
    assert [each.kind for each in findings(facts)] == [K.HEALTHY]


def test_two_windows_are_told_apart() -> None:
    facts = snapshot(rate_limits=(window(2290, 10), window(4490, 10, name="30m")))
    found = findings(facts)
    assert [each.title for each in found] == [
        "The rate limit for 15 minutes is nearly used up",
        "The rate limit for 30 minutes is nearly used up",
    ]


def test_findings_are_made_of_the_facts_alone() -> None:
    """Those of before do not matter, so that each snapshot tells the same whoever asks."""
    old = Finding(K.HEALTHY, OK, A.SIDECAR, "Old", "Old.", "")
    assert findings(snapshot(findings=(old,))) == findings(snapshot())
