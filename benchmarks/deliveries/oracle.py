"""What must hold for each call, given what upstream saw, what its caller was told, and what the log says.

Pure: nothing here knows how it was observed. Contract sections 4.4, 5.4, 6, 7 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.deliveries.plan import Call


@dataclass(slots=True)
class Delivery:
    """What upstream saw and did when a request, whole or in part, reached it."""

    method: str
    #: Bytes came that are not the request's own.
    altered: bool = False
    executed: bool = False
    #: What the response says, 0 for none; and its body.
    status: int = 0
    body: bytes = b""
    #: Response bytes that were written.
    written: int = 0
    #: All of a valid response was written.
    complete: bool = False
    #: Whether the response is valid is a matter of taste.
    ambiguous: bool = False
    #: A token 401 that allows a second delivery: complete, and small enough.
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """The response that upstream keeps under a call's key."""

    status: int
    body: bytes


@dataclass(slots=True)
class Told:
    """What a caller got. A status of 0: nothing."""

    #: The caller left before it had all.
    left: bool = False
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: The response ended as its framing says.
    complete: bool = False

    @property
    def error(self) -> str | None:
        """The sidecar's own error code."""
        return self.headers.get("x-sidecar-error")

    @property
    def outcome(self) -> str | None:
        """What the sidecar said of the request."""
        return self.headers.get("x-sidecar-outcome")

    @property
    def recovered(self) -> str:
        """What the sidecar says that it did."""
        return self.headers.get("x-sidecar-recovered", "")


@dataclass(slots=True)
class Evidence:
    """All that is known of one call."""

    call: Call
    told: Told = field(default_factory=Told)
    deliveries: list[Delivery] = field(default_factory=list)
    stored: Stored | None = None
    #: Its ``request`` lines.
    lines: list[Mapping[str, object]] = field(default_factory=list)


def judge(evidence: Evidence) -> list[str]:
    """Return a sentence for each promise that was broken."""
    return [*_deliveries(evidence), *_executions(evidence), *_response(evidence), *_error(evidence), *_log(evidence)]


def _deliveries(evidence: Evidence) -> Iterator[str]:
    call, deliveries = evidence.call, evidence.deliveries
    for delivery in deliveries:
        if delivery.method != call.method:
            yield f"asked by {call.method}, delivered as {delivery.method}"
        if delivery.altered:
            yield "a delivery has other bytes than the request"
    if len(deliveries) > 2:
        yield f"delivered {len(deliveries)} times"
    if len(deliveries) < 2 or deliveries[0].refused:
        return
    if not call.is_read:
        yield f"a {call.method} was delivered twice, though the first was not answered with a complete token 401"
    elif deliveries[0].written:
        yield f"a {call.method} was delivered twice, though a part of the response to the first had been sent"


def _executions(evidence: Evidence) -> Iterator[str]:
    executed = sum(delivery.executed for delivery in evidence.deliveries)
    if executed > 1 and not evidence.call.is_read:
        yield f"executed {executed} times"


def _response(evidence: Evidence) -> Iterator[str]:
    told = evidence.told
    if not told.status or told.error is not None:
        return
    if told.outcome is not None:
        yield "upstream's response has an outcome of the sidecar's"
    if "idempotency" in told.recovered:
        yield from _read_back(evidence)
        return
    if told.headers.get("x-number") != str(evidence.call.number):
        yield f"got the response to call {told.headers.get('x-number')}"
        return
    index = int(told.headers.get("x-delivery", "0"))
    if not 0 < index <= len(evidence.deliveries):
        yield "got a response that upstream never gave"
        return
    delivery = evidence.deliveries[index - 1]
    if told.status != delivery.status:
        yield f"told {told.status}, upstream said {delivery.status}"
    if told.complete and not (delivery.complete or delivery.ambiguous):
        yield "a response that was not complete or broke HTTP was passed on as complete"
    whole = told.complete and not delivery.ambiguous
    if not delivery.body.startswith(told.body) or (whole and delivery.body != told.body):
        yield "the body is not the one that upstream sent"
    if told.status < 300 and not delivery.executed:
        yield f"told {told.status}, but it was not executed"


def _read_back(evidence: Evidence) -> Iterator[str]:
    told, stored = evidence.told, evidence.stored
    if stored is None:
        yield "got a stored response, but upstream has none to this call"
    elif (told.status, told.body if told.complete else stored.body) != (stored.status, stored.body):
        yield "got another stored response than the one to this call"


def _error(evidence: Evidence) -> Iterator[str]:
    told = evidence.told
    if told.error is None:
        return
    if told.outcome not in {"not-sent", "rejected", "unknown"}:
        yield f"an error of the sidecar's own has the outcome {told.outcome}"
    yield from _outcome(evidence, told.outcome, "said")


def _outcome(evidence: Evidence, outcome: object, who: str) -> Iterator[str]:
    """Say what is wrong with an outcome that was ``said`` or ``logged``."""
    deliveries = evidence.deliveries
    if outcome == "not-sent" and deliveries:
        yield f"{who} not-sent, but bytes of it reached upstream"
    if outcome == "rejected" and not (deliveries and all(each.refused and not each.executed for each in deliveries)):
        yield f"{who} rejected, but upstream did not answer each delivery with a complete token 401"


def _log(evidence: Evidence) -> Iterator[str]:
    told, lines = evidence.told, evidence.lines
    if len(lines) > 1:
        yield f"{len(lines)} log lines"
    if not lines:
        if evidence.deliveries:
            yield "delivered, but there is no log line"
        return
    line = lines[0]
    logged = line.get("outcome")
    yield from _outcome(evidence, logged, "logged")
    attempts = line.get("attempts")
    if isinstance(attempts, int) and attempts < len(evidence.deliveries):
        yield f"{attempts} attempts logged, {len(evidence.deliveries)} arrived"
    if logged == "unknown" and line.get("idempotency_key") != evidence.call.key:
        yield "logged unknown without the request's key"
    if told.outcome is not None and told.complete and logged != told.outcome:
        yield f"told {told.outcome}, logged {logged}"
    if not told.left and evidence.deliveries and not told.complete and logged != "unknown":
        yield f"delivered and not wholly answered, but logged as {logged}"
    if told.left and line.get("error") is None and logged is None:
        yield from _logged_status(evidence, line.get("status"))


def _logged_status(evidence: Evidence, status: object) -> Iterator[str]:
    known = {delivery.status for delivery in evidence.deliveries}
    if evidence.stored is not None:
        known.add(evidence.stored.status)
    if status not in known - {0}:
        yield f"the caller left, and the log has the status {status}, which upstream did not give"
