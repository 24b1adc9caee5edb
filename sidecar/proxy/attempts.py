"""The attempts of one call: each is counted, and one that failed is repeated where the table allows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.resend import Sent, Verdict, decide, describe
from sidecar.proxy.exchange import Exchanger, Request, Waiting
from sidecar.upstream.errors import UpstreamFailure

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.proxy.answer import UpstreamAnswer
    from sidecar.proxy.call import Call
    from sidecar.tokens.manager import TokenManager

#: Seconds that all token waits and connects of one call share: the .NET SDK gives up
#: after 15, and a refresh and a resend must fit into that.
WAITING_BUDGET: Final = 12.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A call that has been admitted and is ready to be sent."""

    request: Request
    tokens: TokenManager
    #: The target's path, without the query.
    path: str
    #: The one that Mangopay would store the answer under; None if there is none to read back by.
    idempotency_key: str | None

    @property
    def repeatable(self) -> bool:
        """Whether the whole body is in hand."""
        return self.request.body is None or isinstance(self.request.body, bytes)


class Unanswered(Exception):  # noqa: N818 - the end of the attempts, not a fault of the program
    """A call got no answer and may not be sent again."""

    def __init__(self, failure: UpstreamFailure, verdict: Verdict) -> None:
        super().__init__(failure.detail)
        self.failure: Final = failure
        self.verdict: Final = verdict

    def fail(self, advice: str = "") -> NoReturn:
        """Raise the error that tells the caller what happened, what is known of its request, and ``advice``."""
        code = self.verdict.code
        raise SidecarError(
            code,
            f"{describe(self.failure.failure)} {advice}".rstrip(),
            outcome=self.verdict.outcome,
            retry_after=1.0 if code is ErrorCode.OVERLOADED else None,
            detail=self.failure.detail,
        ) from None


class Attempts:
    """Sends one call until it is answered, or may not be sent again."""

    def __init__(self, call: Call, outgoing: Outgoing, exchanger: Exchanger, *, timeout: float, clock: Clock) -> None:
        self._call: Final = call
        self._outgoing: Final = outgoing
        self._exchanger: Final = exchanger
        self._timeout: Final = timeout
        self._waiting: Final = Waiting(clock, WAITING_BUDGET)
        self._retries = 0
        #: Attempts on which at least one byte of the request was written.
        self.deliveries = 0

    async def answer(self, *, newer_than: int = 0) -> tuple[UpstreamAnswer, int]:
        """Return upstream's answer and the generation of the token that the request carried.

        ``newer_than`` is a generation that a 401 burnt. Raises Unanswered, and
        SidecarError if there is no token to be had.
        """
        call, fresh = self._call, False
        while True:
            try:
                answer, generation = await self._send(newer_than=newer_than, fresh=fresh)
            except UpstreamFailure as error:
                self.deliveries += error.failure.sent is not Sent.NOTHING
                verdict = decide(error.failure, call.method, self.deliveries, self._retries)
                if not verdict.resend or not self._outgoing.repeatable or call.gone:
                    raise Unanswered(error, verdict) from None
                self._retries += 1
                fresh = True
            else:
                self.deliveries += 1
                if fresh:
                    call.record.add_recovered("connection")
                return answer, generation

    async def _send(self, *, newer_than: int, fresh: bool) -> tuple[UpstreamAnswer, int]:
        call = self._call
        try:
            return await self._exchanger.exchange(
                self._outgoing.request,
                self._outgoing.tokens,
                self._waiting,
                timeout=self._timeout,
                newer_than=newer_than,
                fresh=fresh,
                sending=call,
            )
        finally:
            call.ended()
            call.record.token_wait_seconds = self._waiting.token_seconds


def broken_answer(error: UpstreamFailure) -> Unanswered:
    """Return the end of a call whose answer broke off before the caller got any of it."""
    return Unanswered(error, Verdict(False, ErrorCode.UPSTREAM_UNREACHABLE, Outcome.UNKNOWN))
