"""Readiness, the status document, and the document in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.admin.readiness import readiness
from sidecar.admin.state import Identity, LiveState, Parts
from sidecar.admin.status import (
    BatchLane,
    DeprecatedCalls,
    LastError,
    PoolStatus,
    ProxyStatus,
    Readiness,
    ReloadStatus,
    Status,
)
from sidecar.admin.status_text import status_in_words
from sidecar.core.deprecation import DEPRECATIONS
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.hooks import Hook, HooksStatus, HookState, hooks_status
from sidecar.core.http.field import Field
from sidecar.core.rate_windows import RateWindow
from sidecar.telemetry.history import History
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent import RecentCalls
from sidecar.telemetry.recorder import CallRecorder
from sidecar.telemetry.request_ids import RequestIds
from sidecar.tokens.status import StoreStatus
from sidecar.tracing.status import TracingStatus
from sidecar.upstream.expiry import CertificateStatus
from tests.support import prometheus
from tests.support.clock import FakeClock
from tests.support.status import NOW, latched, no_token, status, token

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.tokens.status import TokenStatus

LOCKED = latched("lockout")
REFUSED = latched("credentials", latched_until=NOW + 30)
EMPTY = no_token(generation=0)
POOL = PoolStatus(size=10, open=4, idle=1, waiting=2)
PROXY = ProxyStatus(addresses=("unix:/run/sidecar.sock",), needs_caller_key=True, client_segment="acme")


# --- readiness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "reason"),
    [("starting", "starting"), ("delaying", "draining"), ("draining", "draining"), ("stopped", "draining")],
)
def test_outside_of_serving_no_token_makes_it_ready(phase: str, reason: str) -> None:
    response = readiness(phase, token(), token_ready=True)
    assert (response.ready, response.reason) == (False, reason)


@pytest.mark.parametrize(
    ("token_status", "reason"),
    [
        (LOCKED, "token_locked_out"),
        (REFUSED, "credentials_refused"),
        (token(state="backing_off", valid=False, failures=1), "token_unavailable"),
        (token(state="refreshing", valid=False, failures=1), "token_unavailable"),
        (token(state="refreshing", valid=False), "token_pending"),
        (EMPTY, "token_pending"),
    ],
)
def test_without_a_usable_token_the_reason_tells_why(token_status: TokenStatus, reason: str) -> None:
    response = readiness("serving", token_status, token_ready=False)
    assert (response.ready, response.reason) == (False, reason)
    assert response.message


def test_the_token_manager_s_judgement_counts_whatever_the_state_is_called() -> None:
    """A latched credential whose token is still valid serves calls."""
    assert readiness("serving", LOCKED, token_ready=True).ready


# --- words -----------------------------------------------------------------------------------------------------------


HOURS = RateWindow("1h", 4300, 4500, int(NOW) + 2000)
QUARTER = RateWindow("15m", 300, 2000, int(NOW) + 90)


def test_a_healthy_sidecar_in_a_few_words() -> None:
    assert status_in_words(status(rate_limits=(QUARTER, HOURS))) == (
        "mangopay-sidecar 1.2.3, up 2 h 5 min\n"
        "account    acme in sandbox\n"
        "token      valid, expires in 17 min 3 s\n"
        "calls      1,204 answered; 0 in flight\n"
        "rate limit 1 h: 4,500 of 8,800 calls left, resets in 33 min 20 s\n"
    )


def test_and_with_every_number() -> None:
    assert status_in_words(status(rate_limits=(QUARTER, HOURS), replay_buffer_bytes=2_202_010), verbose=True) == (
        "mangopay-sidecar 1.2.3, up 2 h 5 min\n"
        "account    acme in sandbox, at https://api.sandbox.mangopay.com\n"
        "token      valid, expires in 17 min 3 s; next fetch in 15 min\n"
        "calls      1,204 answered; 0 in flight\n"
        "           2 token requests\n"
        "callers    1 of 1,000 connections\n"
        "upstream   1 of 100 connections, 0 calls waiting\n"
        "replay     2.1 MiB of 64 MiB in use\n"
        "rate limit 15 min: 2,000 of 2,300 calls left, resets in 1 min 30 s\n"
        "rate limit 1 h: 4,500 of 8,800 calls left, resets in 33 min 20 s\n"
    )


@pytest.mark.parametrize(
    ("windows", "shown"),
    [
        ((RateWindow("15m", 2299, 1, None), HOURS), "15 min: 1 of 2,300 calls left"),
        ((RateWindow("15m", None, 7, None), HOURS), "1 h: 4,500 of 8,800 calls left, resets in 33 min 20 s"),
        ((RateWindow(None, None, None, int(NOW) + 5),), "unknown window: resets in 5 s"),
        ((RateWindow("30m", None, 7, int(NOW) - 5),), "30 min: 7 calls left, resets now"),
        ((RateWindow("24h", 0, 0, None),), "24 h: 0 of 0 calls left"),
    ],
)
def test_in_short_the_window_that_is_used_most_is_told(windows: tuple[RateWindow, ...], shown: str) -> None:
    text = status_in_words(status(rate_limits=windows))
    assert [line for line in text.splitlines() if line.startswith("rate limit")] == [f"rate limit {shown}"]


def test_calls_without_success_are_told_by_whose_answer_it_was() -> None:
    """So that a caller's own 401 and 404 do not read as no error at all."""
    calls = msgspec.structs.replace(
        status().calls, client_errors=1520, server_errors=2, errors=3, recovered=4, in_flight=1
    )
    assert (
        "calls      1,204 answered, 1,520 with 4xx by Mangopay, 2 with 5xx by Mangopay, 3 by the sidecar's own errors, "
        "4 after a retry or a read-back; 1 in flight\n"
    ) in status_in_words(status(calls=calls))


def test_several_tokens_are_told_by_their_credential() -> None:
    text = status_in_words(status(tokens=(token(), token(credential="embedded"))))
    assert "token      api: valid" in text
    assert "token      embedded: valid" in text


@pytest.mark.parametrize(
    ("token_status", "words"),
    [
        (LOCKED, "the account is locked out; next try in 1 min 5 s"),
        (REFUSED, "the API key or the ClientId is refused; next try in 30 s"),
        (EMPTY, "none"),
        (no_token(state="refreshing"), "being fetched"),
        (
            token(state="backing_off", failures=3, next_attempt_at=NOW + 4, last_error="503 from the token endpoint"),
            (
                "valid, expires in 17 min 3 s; 3 failures in a row; next fetch in 4 s; "
                "last error: 503 from the token endpoint"
            ),
        ),
        (
            token(next_attempt_at=None, paused_until=NOW + 20, paused_paths=("/a", "/b")),
            "valid, expires in 17 min 3 s; 401s from 2 paths start a refresh again in 20 s",
        ),
        (token(next_attempt_at=None, expires_at=NOW - 1), "expired"),
    ],
)
def test_a_token_in_words(token_status: TokenStatus, words: str) -> None:
    assert f"token      {words}\n" in status_in_words(status(tokens=(token_status,)))


def test_findings_stand_above_the_numbers_with_countdown_and_mend() -> None:
    critical = (FindingKind.LOCKED_OUT, Level.CRITICAL, Area.LOCK)
    locked = Finding(*critical, "Locked", "It is.", "Wait.", NOW + 65, "next try")
    quiet = Finding(FindingKind.TOKEN_IDLE, Level.INFO, Area.TOKEN, "Idle", "It is.", "")
    assert (
        "critical   Locked (next try in 1 min 5 s)\n"
        "           It is.\n"
        "           -> Wait.\n"
        "info       Idle\n"
        "token      "
    ) in status_in_words(status(findings=(locked, quiet)))
    assert "info       Idle\n           It is.\ntoken      " in status_in_words(status(findings=(quiet,)), verbose=True)


def test_where_there_are_colours_the_level_of_a_finding_has_one() -> None:
    critical = Finding(FindingKind.LOCKED_OUT, Level.CRITICAL, Area.LOCK, "Locked", "It is.", "Wait.")
    text = status_in_words(status(findings=(critical,)), color=True)
    assert "\x1b[1;31mcritical\x1b[0m   Locked\n" in text
    assert text.count("\x1b") == 2


def test_the_last_errors_and_warnings_in_words() -> None:
    error = LastError(
        at=NOW - 61,
        id="abc-1",
        method="POST",
        path="/v2.01/{client}/payins",
        status=502,
        code="upstream_unreachable",
        outcome="unknown",
    )
    text = status_in_words(status(last_errors=(error, error, error), warnings=("HTTPS_PROXY is ignored",)))
    assert (
        "error      1 min 1 s ago: upstream_unreachable (unknown), POST /v2.01/{client}/payins answered 502, id abc-1\n"
    ) in text
    assert text.count("answered 502") == 1
    assert "           and 2 more: see --verbose\n" in text
    assert "warning    HTTPS_PROXY is ignored\n" in text
    assert status_in_words(status(last_errors=(error, error, error)), verbose=True).count("answered 502") == 3


@pytest.mark.parametrize(
    ("left", "words"), [(86_400 * 40 + 7_200, "expires in 40 d 2 h"), (-5, "has expired: renew it")]
)
def test_the_client_certificate_in_words(left: float, words: str) -> None:
    certificate = CertificateStatus(expires_at=NOW + left, days_left=max(0, int(left // 86_400)))
    assert f"mTLS       client certificate {words}\n" in status_in_words(status(client_certificate=certificate))


WHY = "cannot be reached: connection refused"
NEW_STORE = StoreStatus("redis", "redis.internal:6379/0", None, None, None)
UP = StoreStatus("file", "/var/lib/sidecar/tokens", up=True, since=NOW - 65, last_error=None)
DOWN = StoreStatus("redis", "redis.internal:6379/0", up=False, since=NOW - 65, last_error=WHY)


@pytest.mark.parametrize(
    ("store", "words"),
    [
        (NEW_STORE, "redis at redis.internal:6379/0: not used yet"),
        (UP, "file at /var/lib/sidecar/tokens: up for 1 min 5 s"),
        (
            DOWN,
            (
                "redis at redis.internal:6379/0: down for 1 min 5 s, tokens are this sidecar's own; "
                "the store cannot be reached: connection refused"
            ),
        ),
    ],
)
def test_the_store_in_words(store: StoreStatus, words: str) -> None:
    assert f"store      {words}\n" in status_in_words(status(store=store), verbose=True)
    assert ("store  " in status_in_words(status(store=store))) is (store.up is False)


@pytest.mark.parametrize(
    ("up", "words"),
    [
        (None, "none sent yet"),
        (True, "up for 1 min 5 s; 1,204 calls sent, 3 lost"),
        (False, "lost for 1 min 5 s, the collector answered 503; 1,204 calls sent, 3 lost"),
    ],
)
def test_traces_in_words(up: bool | None, words: str) -> None:
    since = None if up is None else NOW - 65
    tracing = TracingStatus("http://collector:4318", up, since, "answered 503", sent=1204, lost=3)
    assert f"traces     to http://collector:4318: {words}\n" in status_in_words(status(tracing=tracing), verbose=True)
    assert ("traces  " in status_in_words(status(tracing=tracing))) is (up is False)


def test_what_is_not_ready_says_why_in_words() -> None:
    text = status_in_words(
        status(readiness=Readiness(ready=False, reason="draining", message="the sidecar is shutting down"))
    )
    assert "not ready  draining: the sidecar is shutting down\n" in text


def test_the_document_can_be_read_back_from_json() -> None:
    """As the ``status`` command does."""
    document = status(rate_limits=(RateWindow("15m", 1, None, 3),))
    assert msgspec.json.decode(msgspec.json.encode(document), type=Status) == document


# --- the snapshot ----------------------------------------------------------------------------------------------------


class Source:
    def __init__(self, token_status: TokenStatus, *, ready: bool = True) -> None:
        self.ready = ready
        self._status = token_status

    def status(self) -> TokenStatus:
        return self._status


class Sidecar:
    """Fakes for the running parts."""

    def __init__(self, *sources: Source) -> None:
        self.clock = FakeClock(wall=NOW)
        self.metrics = Metrics()
        self.recent = RecentCalls()
        # No timer ends here: who shows calls has to have them told.
        self.recorder = CallRecorder(
            RequestIds(bytes(5)),
            self.clock,
            [self.metrics.observe_call, self.recent.observe],
            later=lambda _seconds, _tell: None,
        )
        self.history = History(self.metrics, self.clock, self.recorder.flush)
        self.phase = "serving"
        self.certificate: CertificateStatus | None = None
        self.reload_error: str | None = None
        self.store: StoreStatus | None = None
        self.state = LiveState(
            Identity("sandbox", "https://api.sandbox.mangopay.com", "acme", 1000, 50, ("a warning",)),
            Parts(
                phase=lambda: self.phase,
                tokens=sources,
                metrics=self.metrics,
                recorder=self.recorder,
                recent=self.recent,
                history=self.history,
                pool=lambda: POOL,
                proxy=lambda: PROXY,
                connections=lambda: 7,
                replay_bytes=lambda: 600,
                certificate=lambda: self.certificate,
                reload_error=lambda: self.reload_error,
                read_back_forbidden=lambda: False,
                store=lambda: self.store,
            ),
            self.clock,
        )

    def exposed(self) -> dict[str, prometheus.Family]:
        return prometheus.parse(self.state.metrics().decode())


READINGS: dict[str, Callable[[LiveState], int]] = {
    "the number of calls": lambda state: state.calls_ended,
    "the list": lambda state: len(state.recent_calls()),
    "the document": lambda state: len(state.status().recent_calls),
    "the snapshot": lambda state: state.snapshot().calls.requests,
    "the metrics": lambda state: state.metrics().count(
        b'requests_total{method="GET",status="none",source="sidecar"} 1'
    ),
}


@pytest.mark.parametrize("reading", READINGS)
def test_whatever_is_read_first_has_the_call_that_ended_just_now(reading: str) -> None:
    sidecar = Sidecar(Source(token()))
    sidecar.recorder.close(sidecar.recorder.open("GET", "/v2.01/acme/users/1"))
    assert READINGS[reading](sidecar.state) == 1


async def test_the_snapshot_shows_the_running_parts() -> None:
    sidecar = Sidecar(Source(token()), Source(token(credential="embedded")))
    sidecar.metrics.rate_limits.observe([Field(b"X-RateLimit-Remaining", b"5")])
    await sidecar.clock.advance(60)
    sidecar.recorder.open("GET", "/v2.01/acme/users/1")
    shown = sidecar.state.status()
    assert (shown.uptime_seconds, shown.time, shown.phase) == (60, NOW + 60, "serving")
    assert [each.credential for each in shown.tokens] == ["api", "embedded"]
    assert (shown.pool, shown.proxy) == (POOL, PROXY)
    assert (shown.calls.in_flight, shown.calls.connections, shown.replay_buffer_bytes) == (1, 7, 600)
    assert [window.remaining for window in shown.rate_limits] == [5]
    assert shown.warnings == ("a warning",)


async def test_an_own_error_shows_with_its_moment_and_masked_path() -> None:
    sidecar = Sidecar(Source(token()))
    call = sidecar.recorder.open("POST", "/v2.01/acme/payins/123456")
    await sidecar.clock.advance(2)
    call.failed(SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "slow", outcome=Outcome.UNKNOWN))
    sidecar.recorder.close(call)
    await sidecar.clock.advance(10)
    (error,) = sidecar.state.status().last_errors
    assert (error.at, error.path) == (NOW + 2, "/v2.01/{client}/payins/{id}")
    assert (error.status, error.code, error.outcome) == (504, "upstream_timeout", "unknown")


def test_the_last_reload_shows_unless_nothing_can_be_reloaded() -> None:
    sidecar = Sidecar(Source(token()))
    assert sidecar.state.status().reload is None
    sidecar.reload_error = ""
    assert sidecar.state.status().reload == ReloadStatus(successful=True, error="")
    sidecar.reload_error = "tls.ca_file: no PEM"
    shown = sidecar.state.status()
    assert shown.reload == ReloadStatus(successful=False, error="tls.ca_file: no PEM")
    assert FindingKind.RELOAD_FAILED in {finding.kind for finding in shown.findings}


async def test_calls_and_samples_show_by_the_wall_clock_of_now() -> None:
    """A step of the wall clock moves what is past along with it."""
    sidecar = Sidecar(Source(token()))
    call = sidecar.recorder.open("GET", "/v2.01/acme/users/123?secret=1")
    await sidecar.clock.advance(2)
    call.status = 200
    sidecar.recorder.close(call)
    sidecar.history.sample()
    sidecar.clock.step_wall(100)
    shown = sidecar.state.status()
    (recent,) = shown.recent_calls
    assert (recent.at, recent.path, recent.duration_seconds) == (NOW + 100, "/v2.01/{client}/users/{id}", 2)
    (sample,) = shown.history
    assert (sample.at, sample.seconds, sample.calls) == (NOW + 102, 2, 1)
    assert shown.upstream.answered_at == NOW + 102


@pytest.mark.parametrize(("store", "value"), [(None, None), (NEW_STORE, None), (UP, 1), (DOWN, 0)])
def test_the_store_shows_in_status_and_metrics_if_there_is_one(store: StoreStatus | None, value: int | None) -> None:
    sidecar = Sidecar(Source(token()))
    sidecar.store = store
    assert sidecar.state.status().store == store
    family = sidecar.exposed().get("mangopay_sidecar_store_up")
    assert (None if family is None else family.value()) == value


def test_readiness_is_that_of_the_api_credential() -> None:
    """The embedded key's token is fetched on first use only."""
    sidecar = Sidecar(Source(token()), Source(EMPTY, ready=False))
    assert sidecar.state.readiness().ready
    sidecar.phase = "draining"
    assert not sidecar.state.readiness().ready


def test_a_client_certificate_shows_and_its_end_is_no_reason_not_to_be_ready() -> None:
    sidecar = Sidecar(Source(token()))
    assert sidecar.state.readiness().client_certificate_days_left is None
    assert "mangopay_sidecar_client_certificate_expiry_timestamp_seconds" not in sidecar.exposed()
    sidecar.certificate = CertificateStatus(expires_at=NOW - 5, days_left=0)
    assert sidecar.state.readiness().ready
    assert sidecar.state.readiness().client_certificate_days_left == 0
    assert sidecar.state.status().client_certificate == sidecar.certificate
    assert sidecar.exposed()["mangopay_sidecar_client_certificate_expiry_timestamp_seconds"].value() == NOW - 5


def test_the_gauges_show_the_running_parts() -> None:
    sidecar = Sidecar(Source(LOCKED), Source(token(credential="embedded")))
    sidecar.recorder.open("GET", "/")
    families = sidecar.exposed()
    values = {
        name: families[f"mangopay_sidecar_{name}"].value()
        for name in (
            *("requests_in_flight", "connections", "replay_buffer_bytes", "upstream_connections"),
            "upstream_pool_waiting",
        )
    }
    assert values == {
        "requests_in_flight": 1,
        "connections": 7,
        "replay_buffer_bytes": 600,
        "upstream_connections": 4,
        "upstream_pool_waiting": 2,
    }
    latched = families["mangopay_sidecar_latched"]
    assert latched.value(credential="api", reason="lockout") == 1
    assert latched.value(credential="api", reason="refused") == 0
    assert latched.value(credential="embedded", reason="lockout") == 0
    expiry = families["mangopay_sidecar_token_expiry_timestamp_seconds"]
    assert expiry.value(credential="embedded") == NOW + 1023
    assert len(expiry.samples) == 1


@pytest.mark.parametrize(
    ("hooks", "words"),
    [
        (None, None),
        (HooksStatus(None, {}, (), ""), "not looked at yet"),
        (hooks_status([], NOW - 60), "none; looked at 1 min ago"),
        (
            hooks_status(
                [Hook("A", HookState.INVALID), Hook("B", HookState.VALID), Hook("C", HookState.VALID)], NOW - 5
            ),
            "2 valid, 1 invalid; looked at 5 s ago",
        ),
    ],
)
def test_hooks_are_told_if_they_are_watched(hooks: HooksStatus | None, words: str | None) -> None:
    told = [line for line in status_in_words(status(hooks=hooks)).splitlines() if line.startswith("hooks ")]
    assert told == ([] if words is None else [f"hooks      {words}"])


async def test_calls_to_deprecated_endpoints_are_shown_the_last_one_first() -> None:
    sidecar = Sidecar(Source(token()))
    for row in (DEPRECATIONS[0], DEPRECATIONS[-1], DEPRECATIONS[0]):
        await sidecar.clock.advance(10)
        call = sidecar.recorder.open(row.method, "/v2.01/acme/users/1")
        call.deprecation = row
        sidecar.recorder.close(call)
    users, giropay = sidecar.state.status().deprecated_calls
    assert (users.what, users.endpoint, users.calls, users.at) == ("legacy_users", "POST users/natural", 2, NOW + 30)
    assert (users.since, users.successor) == ("2025-11-17", "POST sca/users/natural")
    assert (giropay.calls, giropay.at, giropay.successor) == (1, NOW + 20, "")
    assert [shown.deprecated for shown in sidecar.state.recent_calls()] == ["legacy_users", "giropay", "legacy_users"]


def test_the_batch_lane_and_deprecated_endpoints_in_words() -> None:
    shown = status(
        batch_lane=BatchLane(0.2, waiting=12, room_at=NOW + 300, window="15m", refused_at=None),
        deprecated_calls=(
            DeprecatedCalls("a", "POST old", 2, NOW, "2025-11-17", "goes away", "POST new", "release note"),
            DeprecatedCalls("b", "GET old", 1, NOW, "2025-11-17", "goes away", "", "release note"),
        ),
    )
    words = status_in_words(shown, verbose=True)
    kept = "\nbatch lane 20% of each window is reserved for other calls; "
    assert f"{kept}12 calls waiting, room is looked for in 5 min\n" in words
    assert "\ndeprecated POST old, 2 calls: it goes away; call POST new instead\n" in words
    assert "\ndeprecated GET old, 1 call: it goes away\n" in words
    short = status_in_words(shown)
    assert f"{kept}12 calls waiting" in short
    assert "deprecated" not in short
    quiet = status(batch_lane=BatchLane(0.2, waiting=0, room_at=None, window=None, refused_at=None))
    assert f"{kept}0 calls waiting\n" in status_in_words(quiet, verbose=True)
    assert "batch lane" not in status_in_words(quiet)
