"""How keys are asked for: what each answer leads to, at what pace, and when it is given up."""

from __future__ import annotations

import json
from collections import deque
from email.utils import formatdate
from typing import Any, Final

import pytest

from sidecar.core.reconciliation.log_lines import UncertainCall
from sidecar.core.reconciliation.verdicts import LookupFailed, NothingStored, Stored
from sidecar.reconcile.logs import Reading
from sidecar.reconcile.lookup import MAX_FAILURES, MAX_WAIT, PACE, PAUSE, TRIES, ResponseLookup
from sidecar.reconcile.proxy import Response
from sidecar.reconcile.run import reconcile
from tests.support.clock import FakeClock

KEY: Final = "0123456789abcdef"
JSON: Final = {"content-type": "application/json"}
ABOUT: Final = Response(200, JSON, b'{"name": "mangopay-sidecar", "environment": "sandbox"}')
NOTHING: Final = Response(400, JSON, b'{"Type": "correlationid_not_found"}')


class Scripted:
    """A proxy port that answers as a test says, and an lookup that asks it; waiting takes no time."""

    shown = "127.0.0.1:18080"

    def __init__(self, *replies: Response | None) -> None:
        self.replies: deque[Response | None] = deque(replies)
        self.targets: list[str] = []
        self.slept: list[float] = []
        self.told: list[str] = []
        self.clock = FakeClock()
        #: Of what is stored (seconds).
        self.age = 0.0
        self.lookup = ResponseLookup(self, "_", clock=self.clock, sleep=self._sleep, on_wait=self.told.append)

    def get(self, target: str) -> Response | None:
        self.targets.append(target)
        return self.replies.popleft()

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.step_wall(seconds)

    @property
    def waited(self) -> list[float]:
        """The sleeps that are not the pace."""
        return [each for each in self.slept if each != PACE]

    def stored(self, **headers: str) -> Response:
        document = {
            "StatusCode": "200",
            "Date": self.clock.wall() - self.age,
            "RequestURL": "https://api.mangopay.com/V2.01/acme/payins",
            "Resource": {"Id": "p"},
        }
        date = formatdate(self.clock.wall() + 30, usegmt=True)
        return Response(200, {**JSON, "date": date, **headers}, json.dumps(document).encode())


def own(status: int, code: str, **headers: str) -> Response:
    """An error of the sidecar's own."""
    return Response(status, {**JSON, "x-sidecar-error": code, **headers}, b"{}")


def test_a_stored_answer_comes_with_how_far_mangopays_clock_is_ahead() -> None:
    proxy = Scripted()
    proxy.replies.append(proxy.stored())
    answer = proxy.lookup.look_up(KEY)
    assert isinstance(answer, Stored)
    assert (answer.path, answer.resource_id) == ("/V2.01/{client}/payins", "p")
    assert 29.0 - PACE <= answer.ahead <= 30.0
    assert proxy.targets == [f"/v2.01/_/responses/{KEY}"]
    assert proxy.slept == [PACE]


def test_each_key_is_asked_for_once() -> None:
    proxy = Scripted(NOTHING)
    assert proxy.lookup.look_up(KEY) == proxy.lookup.look_up(KEY) == NothingStored()
    assert len(proxy.targets) == 1


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (None, "no sidecar answers at 127.0.0.1:18080"),
        (own(403, "caller_not_allowed"), "SIDECAR_LISTEN_CALLER_KEY_FILE"),
        (own(403, "host_not_allowed"), "Host"),
        (own(403, "policy_denied"), "policy"),
        (own(403, "client_id_mismatch"), "ClientId"),
        (own(502, "credentials_refused"), "credentials"),
        (own(503, "token_locked_out"), "no token"),
        (own(503, "shutting_down"), "shutting down"),
        (Response(403, JSON, b'{"Type": "forbidden_ressource"}'), "Client.Developers"),
        (Response(401, JSON, b"{}"), "401"),
    ],
)
def test_what_the_next_question_would_meet_too_ends_it(reply: Response | None, word: str) -> None:
    proxy = Scripted(reply)
    answer = proxy.lookup.look_up(KEY)
    assert isinstance(answer, LookupFailed)
    assert word in answer.reason
    assert proxy.lookup.stop_reason == answer.reason
    assert proxy.lookup.look_up(KEY + "1") == answer
    assert len(proxy.targets) == 1


@pytest.mark.parametrize(
    "reply",
    [
        own(502, "upstream_unreachable"),
        own(503, "token_unavailable"),
        own(504, "upstream_timeout"),
        Response(500, JSON, b"{}"),
        Response(503, JSON, b"{}"),
        Response(0, {}, b""),
    ],
)
def test_what_passes_is_asked_again(reply: Response) -> None:
    proxy = Scripted(reply, NOTHING)
    assert proxy.lookup.look_up(KEY) == NothingStored()
    assert proxy.waited == [PAUSE]
    assert proxy.lookup.stop_reason is None


@pytest.mark.parametrize(("value", "waited"), [("7", 7.0), ("soon", PAUSE), ("9999999", PAUSE), ("", PAUSE)])
def test_a_retry_after_is_waited_for_and_told(value: str, waited: float) -> None:
    proxy = Scripted(own(429, "rate_reserved", **{"retry-after": value}), NOTHING)
    assert proxy.lookup.look_up(KEY) == NothingStored()
    assert proxy.waited == [waited]
    assert proxy.told == [f"waits {waited:g} s until it can be asked again"]


def test_one_that_is_longer_than_the_patience_is_not() -> None:
    proxy = Scripted(own(429, "rate_reserved", **{"retry-after": str(int(MAX_WAIT) + 1)}), NOTHING)
    answer = proxy.lookup.look_up(KEY)
    assert answer == LookupFailed("the question was answered with 429 rate_reserved")
    assert (proxy.waited, len(proxy.replies)) == ([], 1)


def test_the_patience_is_for_all_questions_together() -> None:
    half = str(int(MAX_WAIT / 2) + 1)
    limited = own(429, "rate_reserved", **{"retry-after": half})
    proxy = Scripted(limited, NOTHING, limited)
    assert proxy.lookup.look_up(KEY) == NothingStored()
    assert isinstance(proxy.lookup.look_up(KEY + "1"), LookupFailed)


def test_a_question_is_asked_some_times_and_the_next_one_all_the_same() -> None:
    broken = own(504, "upstream_timeout")
    proxy = Scripted(*[broken] * TRIES, NOTHING)
    assert proxy.lookup.look_up(KEY) == LookupFailed("the question was answered with 504 upstream_timeout")
    assert proxy.lookup.look_up(KEY + "1") == NothingStored()


def test_after_some_questions_without_an_answer_no_more_is_asked() -> None:
    broken = own(504, "upstream_timeout")
    proxy = Scripted(*[broken] * TRIES * MAX_FAILURES)
    for number in range(MAX_FAILURES + 2):
        assert isinstance(proxy.lookup.look_up(f"{KEY}{number}"), LookupFailed)
    assert len(proxy.targets) == TRIES * MAX_FAILURES
    assert proxy.lookup.stop_reason == "not asked any more, since the last questions got no answer"


def test_an_answer_that_is_cut_short_again_and_again_is_none() -> None:
    assert Scripted(*[Response(0, {}, b"")] * TRIES).lookup.look_up(KEY) == LookupFailed(
        "the answer was cut short, or did not come in time"
    )


def test_what_makes_no_sense_is_not_asked_again() -> None:
    proxy = Scripted(Response(418, {}, b"\x1b[2J"))
    assert proxy.lookup.look_up(KEY) == LookupFailed("the question was answered with 418")


@pytest.mark.parametrize("page", [b"<html>blocked</html>", b"error code: 1020"])
def test_a_page_of_the_edge_says_nothing_of_the_key(page: bytes) -> None:
    proxy = Scripted(Response(403, {"content-type": "text/html"}, page), NOTHING)
    assert proxy.lookup.look_up(KEY) == LookupFailed("the question was answered with 403")
    assert proxy.lookup.look_up(KEY + "1") == NothingStored()


def test_an_error_code_of_somebody_elses_is_printed_without_control_characters() -> None:
    answer = Scripted(own(409, "\x1b[2J")).lookup.look_up(KEY)
    assert answer == LookupFailed("the question was answered with 409 ?[2J")


# --- the rate windows ------------------------------------------------------------------------------------------------


def limits(remaining: int, reset: float) -> dict[str, str]:
    return {
        "x-ratelimit": f"{2300 - remaining}, 10",
        "x-ratelimit-remaining": f"{remaining}, 105590",
        "x-ratelimit-reset": f"{reset:.0f}, {reset + 50_000:.0f}",
    }


@pytest.mark.parametrize(("remaining", "waits"), [(500, False), (460, False), (459, True), (0, True)])
def test_a_fifth_of_each_window_is_left_to_the_apps(remaining: int, waits: bool) -> None:
    proxy = Scripted()
    reset = round(proxy.clock.wall()) + 600
    proxy.replies.extend([proxy.stored(**limits(remaining, reset)), NOTHING])
    proxy.lookup.look_up(KEY)
    assert proxy.lookup.look_up(KEY + "1") == NothingStored()
    assert bool(proxy.waited) is waits
    assert not waits or proxy.clock.wall() >= reset


def test_a_window_that_starts_anew_too_late_is_not_waited_for() -> None:
    proxy = Scripted()
    proxy.replies.append(proxy.stored(**limits(0, proxy.clock.wall() + MAX_WAIT + 60)))
    proxy.lookup.look_up(KEY)
    answer = proxy.lookup.look_up(KEY + "1")
    assert isinstance(answer, LookupFailed)
    assert "rate window" in answer.reason
    assert proxy.lookup.stop_reason == answer.reason
    assert len(proxy.targets) == 1


# --- who is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "environment"),
    [(ABOUT, "sandbox"), (Response(200, JSON, b'{"name": "mangopay-sidecar", "what": "has a caller key"}'), "")],
)
def test_the_sidecar_tells_its_environment(reply: Response, environment: str) -> None:
    proxy = Scripted(reply)
    assert (proxy.lookup.environment(), proxy.targets, proxy.lookup.stop_reason) == (environment, ["/"], None)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (None, "no sidecar answers at 127.0.0.1:18080"),
        (Response(404, JSON, ABOUT.body), "what answers is no sidecar"),
        (Response(200, {}, b"<html>"), "what answers is no sidecar"),
        (Response(200, JSON, b'{"name": "nginx"}'), "what answers is no sidecar"),
        (own(403, "caller_not_allowed"), "as a user of SIDECAR_LISTEN_ALLOWED_UIDS"),
        (own(503, "overloaded"), "the question was answered with 503 overloaded"),
    ],
)
def test_what_is_no_sidecar_is_asked_for_no_key(reply: Any, word: str) -> None:
    proxy = Scripted(reply)
    assert proxy.lookup.environment() is None
    answer = proxy.lookup.look_up(KEY)
    assert isinstance(answer, LookupFailed)
    assert word in answer.reason
    assert proxy.targets == ["/"]


# --- which writes are asked about ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("since", "left_out"), [(None, 0), (1800.0, 0), (60.0, 2)])
def test_a_write_counts_by_its_last_try_and_is_judged_by_its_first(since: float | None, left_out: int) -> None:
    """Else the answer to a first try of before ``--since`` would be taken for that to another call."""
    scripted = Scripted(ABOUT)
    now = scripted.clock.wall()
    calls = [
        UncertainCall(identifier, "sandbox", "POST", "/v2.01/{client}/payins", began, began + 60, KEY)
        for identifier, began in (("a", now - 3600), ("b", now - 900))
    ]
    scripted.age = 3550.0
    scripted.replies.append(scripted.stored())
    told = reconcile(Reading(calls=calls), scripted.lookup, clock=scripted.clock, since=since)
    assert told.read.left_out == left_out
    assert [(each.verdict, each.ids) for each in told.writes] == ([] if left_out else [("executed", ("a", "b"))])
