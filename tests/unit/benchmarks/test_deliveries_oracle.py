"""The oracle of the random test of deliveries: what it accepts, and each promise that it sees broken."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.deliveries.oracle import Delivery, Evidence, Stored, Told, judge
from benchmarks.deliveries.plan import Call

KEY = "dlv-000001-0000000007"
POST = Call(7, "POST", "/v2.01/acme/payins/7", key=KEY, size=3)
GET = Call(7, "GET", "/v2.01/acme/payins/7")
BODY = b'{"Number": 7}'


def delivery(method: str = "POST", **changes: Any) -> Delivery:
    """Return one that was executed and answered well, but for ``changes``."""
    usual = {"executed": True, "status": 200, "body": BODY, "written": 99, "complete": True}
    return Delivery(method, **{**usual, **changes})


def refused(**changes: Any) -> Delivery:
    """Return one that was answered with a complete token 401."""
    return delivery(**{"executed": False, "status": 401, "refused": True, **changes})


def told(status: int = 200, number: int = 7, index: int = 1, body: bytes = BODY, **changes: Any) -> Told:
    """Return upstream's response as a caller got it."""
    headers = {"x-number": str(number), "x-delivery": str(index)}
    return Told(**{"status": status, "headers": headers, "body": body, "complete": True, **changes})


def error(outcome: str, code: str = "upstream_unreachable", **changes: Any) -> Told:
    """Return an error of the sidecar's own."""
    headers = {"x-sidecar-error": code, "x-sidecar-outcome": outcome}
    return Told(**{"status": 502, "headers": headers, "complete": True, **changes})


def recovered(status: int = 200, body: bytes = BODY, **changes: Any) -> Told:
    """Return a response that was read back."""
    headers = {"x-sidecar-recovered": "token, idempotency"}
    return Told(**{"status": status, "headers": headers, "body": body, "complete": True, **changes})


def line(**fields: Any) -> dict[str, object]:
    """Return a log line."""
    return {"event": "request", "status": 200, "attempts": 1, **fields}


UNKNOWN = line(status=502, error="upstream_unreachable", outcome="unknown", idempotency_key=KEY)
LOST = delivery(status=0, written=0, complete=False, body=b"")

KEPT: list[Any] = [
    ("a response", Evidence(POST, told(), [delivery()], None, [line()])),
    ("nothing at all", Evidence(POST)),
    ("a cut", Evidence(POST, told(body=b"{", complete=False), [delivery()], None, [UNKNOWN])),
    ("a second delivery after a 401", Evidence(POST, told(index=2), [refused(), delivery()], None, [line(attempts=2)])),
    (
        "a read that was lost",
        Evidence(
            GET,
            told(index=2),
            [delivery("GET", status=0, written=0, complete=False), delivery("GET")],
            None,
            [line(attempts=2)],
        ),
    ),
    ("unknown", Evidence(POST, error("unknown"), [LOST], None, [UNKNOWN])),
    ("not sent", Evidence(POST, error("not-sent"), [], None, [line(outcome="not-sent", error="x", attempts=0)])),
    ("rejected", Evidence(POST, error("rejected"), [refused()], None, [line(outcome="rejected", error="x")])),
    ("read back", Evidence(POST, recovered(), [LOST], Stored(200, BODY), [line()])),
    ("a status, and nobody there", Evidence(POST, Told(left=True), [delivery()], None, [line(caller="gone")])),
    (
        "a stored status, and nobody there",
        Evidence(POST, Told(left=True), [LOST], Stored(201, BODY), [line(caller="gone", status=201)]),
    ),
    (
        "a challenge without a length",
        Evidence(
            GET,
            told(401, body=b""),
            [delivery("GET", status=401, executed=False, complete=False, ambiguous=True)],
            None,
            [line(status=401)],
        ),
    ),
]

BROKEN: list[Any] = [
    ("another method", Evidence(POST, told(), [delivery("PUT")], None, [line()]), "delivered as PUT"),
    ("other bytes", Evidence(POST, told(), [delivery(altered=True)], None, [line()]), "other bytes"),
    (
        "three deliveries",
        Evidence(POST, told(index=3), [refused(), refused(), delivery()], None, [line(attempts=3)]),
        "delivered 3 times",
    ),
    ("a write twice", Evidence(POST, told(index=2), [LOST, delivery()], None, [line(attempts=2)]), "delivered twice"),
    (
        "a read twice",
        Evidence(GET, told(index=2), [delivery("GET"), delivery("GET")], None, [line(attempts=2)]),
        "a part of the response to the first",
    ),
    (
        "executed twice",
        Evidence(POST, told(index=2), [refused(executed=True), delivery()], None, [line(attempts=2)]),
        "executed 2 times",
    ),
    ("somebody else's", Evidence(POST, told(number=8), [delivery()], None, [line()]), "the response to call 8"),
    ("nobody's", Evidence(POST, told(index=2), [delivery()], None, [line()]), "upstream never gave"),
    ("another status", Evidence(POST, told(201), [delivery()], None, [line()]), "told 201, upstream said 200"),
    (
        "a cut as an end",
        Evidence(POST, told(), [delivery(complete=False)], None, [line()]),
        "passed on as complete",
    ),
    ("a part as the whole", Evidence(POST, told(body=b"{"), [delivery()], None, [line()]), "not the one"),
    ("another body", Evidence(POST, told(body=b"[]", complete=False), [delivery()], None, [UNKNOWN]), "not the one"),
    (
        "success of what was not executed",
        Evidence(POST, told(), [delivery(executed=False)], None, [line()]),
        "was not executed",
    ),
    (
        "an outcome beside a response",
        Evidence(
            POST, told(headers={"x-sidecar-outcome": "unknown", "x-number": "7", "x-delivery": "1"}), [delivery()]
        ),
        "has an outcome",
    ),
    ("read back from nowhere", Evidence(POST, recovered(), [LOST], None, [line()]), "has none"),
    (
        "read back somebody else's",
        Evidence(POST, recovered(body=b"{}"), [LOST], Stored(200, BODY), [line()]),
        "another stored response",
    ),
    (
        "read back another status",
        Evidence(POST, recovered(201), [LOST], Stored(200, BODY), [line()]),
        "another stored response",
    ),
    ("no outcome", Evidence(POST, error("maybe"), [LOST], None, [UNKNOWN]), "has the outcome maybe"),
    (
        "a false not-sent",
        Evidence(POST, error("not-sent"), [LOST], None, [line(outcome="not-sent", error="x")]),
        "said not-sent",
    ),
    (
        "a false rejected",
        Evidence(POST, error("rejected"), [LOST], None, [line(outcome="rejected", error="x")]),
        "said rejected",
    ),
    (
        "rejected, and never delivered",
        Evidence(POST, error("rejected"), [], None, [line(outcome="rejected", error="x", attempts=0)]),
        "said rejected",
    ),
    (
        "rejected, and executed",
        Evidence(POST, error("rejected"), [refused(executed=True)], None, [line(outcome="rejected", error="x")]),
        "said rejected",
    ),
    ("a false line", Evidence(POST, Told(left=True), [LOST], None, [line(outcome="not-sent")]), "logged not-sent"),
    ("two lines", Evidence(POST, told(), [delivery()], None, [line(), line()]), "2 log lines"),
    ("no line", Evidence(POST, told(), [delivery()]), "no log line"),
    ("too few attempts", Evidence(POST, told(), [delivery()], None, [line(attempts=0)]), "0 attempts logged"),
    (
        "no key",
        Evidence(POST, error("unknown"), [LOST], None, [line(outcome="unknown", error="x")]),
        "without the request's key",
    ),
    (
        "two stories",
        Evidence(POST, error("unknown"), [refused()], None, [line(outcome="rejected", error="x")]),
        "told unknown, logged rejected",
    ),
    ("nothing told", Evidence(POST, Told(), [delivery()], None, [line()]), "not wholly answered"),
    (
        "a status of nobody's",
        Evidence(POST, Told(left=True), [delivery()], None, [line(caller="gone", status=500)]),
        "which upstream did not give",
    ),
]


@pytest.mark.parametrize(("name", "evidence"), KEPT, ids=[name for name, _ in KEPT])
def test_what_is_right_is_accepted(name: str, evidence: Evidence) -> None:
    assert judge(evidence) == []


@pytest.mark.parametrize(("name", "evidence", "words"), BROKEN, ids=[name for name, *_ in BROKEN])
def test_a_broken_promise_is_seen(name: str, evidence: Evidence, words: str) -> None:
    assert any(words in sentence for sentence in judge(evidence)), judge(evidence)
