"""What may be sent twice: the table against an oracle written from the prose, and the promises that money rests on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import STATUS, ErrorCode, Outcome
from sidecar.core.resend import (
    MAX_DELIVERIES,
    TABLE,
    AttemptFailure,
    Event,
    FailureKind,
    Sent,
    UpstreamError,
    Verdict,
    decide,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SAFE = ("GET", "HEAD")
WRITES = ("POST", "PUT", "PATCH", "DELETE")
#: Neither is Mangopay's, nor is a method in lower case the same method: all count as writes.
OTHERS = ("OPTIONS", "TRACE", "QUERY", "get", "")

BEFORE_A_BYTE = (
    FailureKind.RESOLVE,
    FailureKind.EGRESS,
    FailureKind.CONNECT,
    FailureKind.TLS,
    FailureKind.DEAD_BEFORE_WRITE,
)


def failure(
    kind: FailureKind, sent: Sent = Sent.NOTHING, *, reused: bool = False, response_started: bool = False
) -> AttemptFailure:
    return AttemptFailure(kind, sent, reused, response_started)


def every_input() -> Iterator[tuple[AttemptFailure, str, int, int]]:
    flags = (False, True)
    failures = (AttemptFailure(*parts) for parts in itertools.product(FailureKind, Sent, flags, flags))
    yield from itertools.product(failures, SAFE + WRITES + OTHERS, range(4), range(3))


def oracle(failed: AttemptFailure, method: str, deliveries: int, connect_retries: int) -> Verdict:
    """Say what the prose of contract section 6 says, case by case, without its table."""
    wrote_now = failed.sent != Sent.NOTHING
    wrote_ever = wrote_now or deliveries > 0
    used_up = max(deliveries, int(wrote_now)) >= 2
    if failed.kind == FailureKind.TIMEOUT:
        return Verdict(False, ErrorCode.UPSTREAM_TIMEOUT, Outcome.UNKNOWN)
    if not wrote_now and not failed.response_started:
        if failed.kind in BEFORE_A_BYTE:
            again = connect_retries == 0 and not used_up
            return Verdict(again, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN if wrote_ever else Outcome.NOT_SENT)
        if failed.kind == FailureKind.NO_SLOT:
            if wrote_ever:  # "overloaded" promises that nothing was sent
                return Verdict(False, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN)
            return Verdict(False, ErrorCode.OVERLOADED, Outcome.NOT_SENT)
    if failed.kind == FailureKind.LOST and wrote_now and not failed.response_started:
        again = method in ("GET", "HEAD") and failed.reused and not used_up
        return Verdict(again, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN)
    return Verdict(False, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN)


def test_the_table_agrees_with_the_prose_on_every_input() -> None:
    differing = [case for case in every_input() if decide(*case) != oracle(*case)]
    assert differing == []


def test_every_event_has_a_row() -> None:
    assert set(TABLE) == set(Event)


# --- promises --------------------------------------------------------------------------------------------------------


def test_a_write_is_never_resent_after_a_byte() -> None:
    assert not any(
        decide(failed, method, deliveries, retries).resend
        for failed, method, deliveries, retries in every_input()
        if failed.sent is not Sent.NOTHING and method not in SAFE
    )


def test_nothing_is_resent_after_response_bytes() -> None:
    assert not any(decide(*case).resend for case in every_input() if case[0].response_started)


def test_a_fresh_connection_that_broke_is_no_reason_to_resend_anything() -> None:
    assert not any(
        decide(*case).resend for case in every_input() if case[0].sent is not Sent.NOTHING and not case[0].reused
    )


def test_not_sent_is_said_only_when_no_attempt_wrote_a_byte() -> None:
    for failed, method, deliveries, retries in every_input():
        if decide(failed, method, deliveries, retries).outcome is Outcome.NOT_SENT:
            assert failed.sent is Sent.NOTHING
            assert deliveries == 0


def test_overloaded_is_always_not_sent() -> None:
    for case in every_input():
        verdict = decide(*case)
        assert verdict.code is not ErrorCode.OVERLOADED or verdict.outcome is Outcome.NOT_SENT


@given(
    method=st.sampled_from(SAFE + WRITES + OTHERS),
    attempts=st.lists(
        st.builds(
            AttemptFailure,
            st.sampled_from(FailureKind),
            st.sampled_from(Sent),
            reused=st.booleans(),
            response_started=st.booleans(),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_a_call_ends_after_few_attempts_whatever_happens(method: str, attempts: list[AttemptFailure]) -> None:
    """Follow a call through failures until it is not resent: deliveries and attempts stay bounded."""
    deliveries = retries = made = 0
    for failed in attempts:
        made += 1
        deliveries += failed.sent is not Sent.NOTHING
        if not decide(failed, method, deliveries, retries).resend:
            break
        retries += failed.sent is Sent.NOTHING
    assert deliveries <= (MAX_DELIVERIES if method in SAFE else 1)
    assert made <= MAX_DELIVERIES + 1


# --- the rows, as the contract prints them ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", SAFE + WRITES)
@pytest.mark.parametrize("kind", BEFORE_A_BYTE)
def test_what_failed_before_a_byte_is_resent_once(kind: FailureKind, method: str) -> None:
    not_sent = (ErrorCode.UPSTREAM_UNREACHABLE, Outcome.NOT_SENT)
    assert decide(failure(kind), method, 0, 0) == (True, *not_sent)
    assert decide(failure(kind), method, 0, 1) == (False, *not_sent)


@pytest.mark.parametrize("method", WRITES)
def test_a_write_on_a_connection_that_broke_is_unknown(method: str) -> None:
    for sent in (Sent.PART, Sent.ALL):
        verdict = decide(failure(FailureKind.LOST, sent, reused=True), method, 1, 0)
        assert verdict == (False, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN)


@pytest.mark.parametrize("method", SAFE)
def test_a_safe_request_on_a_reused_connection_that_broke_is_resent_once(method: str) -> None:
    lost = failure(FailureKind.LOST, Sent.ALL, reused=True)
    assert decide(lost, method, 1, 0).resend
    assert not decide(lost, method, 2, 0).resend


def test_a_connection_may_be_retried_for_the_resend_after_a_401() -> None:
    """The first delivery was answered 401, the second attempt found no connection: one more try, then unknown."""
    refused = failure(FailureKind.CONNECT)
    assert decide(refused, "POST", 1, 0) == (True, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN)
    assert not decide(refused, "POST", 1, 1).resend


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        (failure(FailureKind.NO_SLOT), 503),
        (failure(FailureKind.RESOLVE), 502),
        (failure(FailureKind.CONNECT), 502),
        (failure(FailureKind.TLS), 502),
        (failure(FailureKind.DEAD_BEFORE_WRITE), 502),
        (failure(FailureKind.LOST, Sent.ALL), 502),
        (failure(FailureKind.TIMEOUT, Sent.ALL), 504),
        (failure(FailureKind.TIMEOUT, Sent.ALL, response_started=True), 504),
        (failure(FailureKind.BROKEN, Sent.ALL, response_started=True), 502),
    ],
)
def test_the_caller_sees_the_status_of_the_table(failed: AttemptFailure, status: int) -> None:
    assert STATUS[decide(failed, "POST", 0, 0).code] == status


def test_a_failure_carries_its_facts_and_its_words() -> None:
    facts = AttemptFailure(FailureKind.CONNECT, Sent.NOTHING, False, False)
    error = UpstreamError(facts, "no route to host")
    assert (error.failure, error.detail) == (facts, "no route to host")
    assert str(error) == "connect: no route to host"
