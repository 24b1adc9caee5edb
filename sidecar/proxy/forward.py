"""Getting one call to Mangopay and its response back.

The rules are not here: :mod:`sidecar.core.resend` says what may be sent again
after a failure, :mod:`sidecar.core.tokens.unauthorized` what a 401 means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import Outcome
from sidecar.core.stored_response import is_conflict
from sidecar.proxy.attempts import Attempts, NoResponse, broken_response
from sidecar.proxy.readback import LostResponses, ReadBackQuery
from sidecar.proxy.token_retry import BODY_LIMIT, TokenRetry
from sidecar.proxy.upstream_response import UpstreamResponse
from sidecar.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.proxy.batch_lane import BatchLane
    from sidecar.proxy.call import Call
    from sidecar.proxy.exchange import Exchanger
    from sidecar.proxy.outgoing import ForwardRequest
    from sidecar.telemetry.metrics import Metrics

_KEYED_ADVICE: Final = (
    "No stored answer yet; the first request may still be running. Retry with the SAME Idempotency-Key "
    "(a duplicate is refused with 409), never with a new one."
)


class Forwarder:
    """Sends calls upstream, retries what may be sent again, and reads lost responses back."""

    def __init__(
        self,
        exchanger: Exchanger,
        lost_responses: LostResponses,
        *,
        response_timeout: float,
        resolve_conflicts: bool,
        clock: Clock,
        metrics: Metrics,
        batch: BatchLane | None = None,
    ) -> None:
        """``resolve_conflicts``: see ``replay.resolve_conflicts``; ``batch`` is told of each response."""
        self._exchanger: Final = exchanger
        self._lost_responses: Final = lost_responses
        self._response_timeout: Final = response_timeout
        self._resolve_conflicts: Final = resolve_conflicts
        self._clock: Final = clock
        self._metrics: Final = metrics
        self._batch: Final = batch
        self._token_retry: Final = TokenRetry(metrics)

    async def forward(self, call: Call, outgoing: ForwardRequest) -> UpstreamResponse:
        """Return the response to the call; raise SidecarError if there is none to be had.

        The request is written at most twice: a second time only where the
        table of resends allows it, or after a complete token 401.
        """
        # Shown only if the outcome is unknown in the end, however the call ends.
        call.record.idempotency_key = outgoing.idempotency_key
        attempts = Attempts(call, outgoing, self._exchanger, timeout=self._response_timeout)
        try:
            response, generation = await attempts.response()
            if outgoing.foreign:
                return response
            self._observe_limits(call, response)
            if response.status == 401:
                response = await self._settle(attempts, call, outgoing, response, generation)
            else:
                outgoing.tokens.accepted(generation, outgoing.path)
            if outgoing.idempotency_key is not None and not call.gone:
                if self._resolve_conflicts and response.status == 409 and call.deliveries == 1:
                    # A conflict of the second delivery has been looked up already.
                    response = await self._resolve_conflict(attempts, call, outgoing, response)
                # While nothing of it has been passed on, a response that breaks off can still be read back.
                await self._is_whole(response)
        except NoResponse as end:
            lost = end
        except BaseException:
            attempts.abandon()
            raise
        else:
            return response
        return await self._recover(attempts, call, outgoing, lost)

    def _observe_limits(self, call: Call, response: UpstreamResponse) -> None:
        """Note what a response tells of the rate windows; a 429 without ``Retry-After`` gets one, if they tell it."""
        self._metrics.rate_limits.observe(response.head.read_here)
        batch = self._batch
        if batch is None:
            return
        batch.look(response.head, call.sent_at, call.attempt_ended_at)
        if response.status == 429 and (seconds := batch.when_to_retry(response.head)) is not None:
            response.add_line(b"Retry-After: %d" % seconds)

    async def _settle(
        self, attempts: Attempts, call: Call, outgoing: ForwardRequest, first: UpstreamResponse, generation: int
    ) -> UpstreamResponse:
        """Return what the caller gets in place of a 401, or the 401 itself if that is it."""

        async def send(newer_than: int) -> tuple[UpstreamResponse, int]:
            return await attempts.response(newer_than=newer_than)

        async def may_resend(refusal: UpstreamResponse) -> bool:
            if call.deliveries > 1 or not outgoing.repeatable or call.gone or not await self._is_whole(refusal):
                return False
            call.rejected()
            return True

        settled = await self._token_retry.settle(
            first, generation, outgoing.tokens, outgoing.path, send=send, may_resend=may_resend
        )
        if settled.futile:
            call.record.futile = True
        if settled.resent:
            self._observe_limits(call, settled.response)
        if settled.resent and not settled.futile:
            response = await self._resolve_conflict(attempts, call, outgoing, settled.response, first)
            if response is not first:
                call.record.add_recovered("token")
            return response
        return settled.response

    async def _recover(
        self, attempts: Attempts, call: Call, outgoing: ForwardRequest, lost: NoResponse
    ) -> UpstreamResponse:
        """Read a lost response back by its key, or raise the error that tells the caller what is known."""
        key = outgoing.idempotency_key
        if key is None or call.gone or lost.verdict.outcome is not Outcome.UNKNOWN:
            lost.raise_for_caller()
        question = ReadBackQuery(key, outgoing.path, call.sent_at)
        stored = await self._lost_responses.read_back(question, outgoing.tokens, attempts.waiting, call.record)
        if stored is None:
            lost.raise_for_caller(_KEYED_ADVICE)
        if call.deliveries > 1 and stored.status != 401:
            call.record.add_recovered("token")  # a POST is sent a second time after a 401 only
        call.record.add_recovered("idempotency")
        return UpstreamResponse.stored(stored)

    async def _resolve_conflict(
        self,
        attempts: Attempts,
        call: Call,
        outgoing: ForwardRequest,
        response: UpstreamResponse,
        refusal: UpstreamResponse | None = None,
    ) -> UpstreamResponse:
        """Return what the caller gets if ``response`` refuses its POST as a duplicate; any other passes as it is.

        ``refusal`` is the 401 that the first delivery was answered with. If that is what Mangopay has stored, the
        resend was refused as a duplicate of this very call, and the caller gets the 401. A duplicate of an earlier
        call gets the response to that one, if ``replay.resolve_conflicts`` says so.
        """
        key = outgoing.idempotency_key
        if (
            response.status != 409
            or key is None
            or call.gone
            or not await self._is_whole(response)
            or not is_conflict(response.body, response.head.raw_headers)
        ):
            return response
        question = ReadBackQuery(key, outgoing.path, call.first_sent_at, older_too=self._resolve_conflicts)
        stored = await self._lost_responses.read_back(question, outgoing.tokens, attempts.waiting, call.record)
        if stored is None:
            return response
        if refusal is not None and stored.status == 401 and not stored.older:
            return refusal
        if not self._resolve_conflicts:
            return response
        if refusal is not None:
            call.record.add_recovered("token")
        call.record.add_recovered("idempotency")
        return UpstreamResponse.stored(stored)

    async def _is_whole(self, response: UpstreamResponse) -> bool:
        """Read the response's body if it is small and comes soon; return whether all of it is in hand.

        Mangopay's responses have a few KiB. One that drips in may pause for ``response_timeout`` again and again; the
        caller waits for that long once, and then has it as it comes. Raises NoResponse if it breaks.
        """
        ends = response.awaited_until
        if ends is None:
            ends = response.awaited_until = self._clock.now() + self._response_timeout
        try:
            return await response.read_whole(BODY_LIMIT, lambda: self._clock.now() >= ends)
        except UpstreamError as error:
            raise broken_response(error) from None
