"""What upstream saw of each call, and what it keeps under keys."""

from __future__ import annotations

from typing import Final

from benchmarks.deliveries.messages import Rendered, request_body
from benchmarks.deliveries.oracle import Delivery, Evidence, Stored
from benchmarks.deliveries.plan import LARGEST_REFUSAL, Action, Call, Reply


class Ledger:
    """The evidence of all calls, by their numbers; and the tokens, by their serial numbers."""

    def __init__(self) -> None:
        self.evidence: Final[dict[int, Evidence]] = {}
        #: Bytes that reached upstream and belong to no request that it could name.
        self.strays: Final[list[bytes]] = []
        #: Serial number of the newest token; those below ``valid_from`` are revoked.
        self.newest = 0
        self.valid_from = 0
        self.token_requests = 0

    def expect(self, call: Call) -> Evidence:
        """Open the page of a call before it is made."""
        evidence = self.evidence[call.number] = Evidence(call)
        return evidence

    def issue(self) -> int:
        """Return the serial number of a new token."""
        self.newest += 1
        return self.newest

    def revoke(self) -> None:
        """Revoke every token that was ever given out."""
        self.valid_from = self.newest + 1


class Page:
    """Writes one delivery down while it happens."""

    def __init__(self, evidence: Evidence, method: str) -> None:
        self.call: Final = evidence.call
        self.number: Final = len(evidence.deliveries) + 1
        self._evidence: Final = evidence
        self._delivery: Final = Delivery(method)
        self._received = 0
        self._expected: Final = request_body(self.call.number, self.call.size or 0)
        evidence.deliveries.append(self._delivery)

    def received(self, piece: bytes) -> None:
        """Note a piece of the request's body."""
        at, self._received = self._received, self._received + len(piece)
        if self._expected[at : self._received] != piece:
            self._delivery.altered = True

    def received_all(self) -> None:
        """Note the end of the request."""
        if self._received != len(self._expected):
            self._delivery.altered = True

    @property
    def whole(self) -> bool:
        """Whether all of the body has come."""
        return self._received == len(self._expected)

    def acts(self, reply: Reply, rendered: Rendered | None) -> None:
        """Note what is about to be done: execute or not, and what will be said (None: nothing)."""
        delivery = self._delivery
        says_so = rendered is not None and reply.status < 300 and reply.action is Action.RESPOND
        delivery.executed = says_so or (reply.executes and self.whole)
        if rendered is not None:
            delivery.status, delivery.body = reply.status, rendered.body
            delivery.ambiguous = rendered.ambiguous
        if reply.action is Action.GARBAGE:
            delivery.status = 0
        if self.call.key is not None and (delivery.executed or reply.action is Action.TOKEN_401):
            self._keep(reply, rendered)

    def wrote(self, reply: Reply, rendered: Rendered, sent: int) -> None:
        """Note that so many bytes of the response were written."""
        delivery = self._delivery
        delivery.written = sent
        delivery.complete = rendered.complete_at is not None and sent >= rendered.complete_at
        small = len(rendered.body) <= LARGEST_REFUSAL
        delivery.refused = reply.action is Action.TOKEN_401 and delivery.complete and small

    def _keep(self, reply: Reply, rendered: Rendered | None) -> None:
        answered = rendered is not None and reply.action in {Action.RESPOND, Action.TOKEN_401}
        status = reply.status if answered else 200
        body = rendered.body if rendered is not None and answered else b""
        body = body or b'{"Number": %d, "Delivery": %d}' % (self.call.number, self.number)
        self._evidence.stored = Stored(status, b"" if status in {204, 304} else body)
