"""Getting one call to Mangopay and its answer back.

The rules are not here: :mod:`sidecar.core.resend` says what may be sent again
after a failure, :mod:`sidecar.core.unauthorized` what a 401 means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import Outcome
from sidecar.core.stored_answer import is_conflict
from sidecar.proxy.answer import UpstreamAnswer
from sidecar.proxy.attempts import Attempts, Outgoing, Unanswered, broken_answer
from sidecar.proxy.readback import LostAnswers, Question
from sidecar.proxy.token_retry import BODY_LIMIT, TokenRetry
from sidecar.upstream.errors import UpstreamFailure

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.proxy.call import Call
    from sidecar.proxy.exchange import Exchanger
    from sidecar.telemetry.metrics import Metrics

_KEYED_ADVICE: Final = (
    "No stored answer yet; the first request may still be running. Retry with the SAME Idempotency-Key "
    "(a duplicate is refused with 409), never with a new one."
)


class Forwarder:
    """Sends calls upstream and mends what may be mended."""

    def __init__(
        self,
        exchanger: Exchanger,
        lost_answers: LostAnswers,
        *,
        response_timeout: float,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._exchanger: Final = exchanger
        self._lost_answers: Final = lost_answers
        self._response_timeout: Final = response_timeout
        self._clock: Final = clock
        self._metrics: Final = metrics
        self._token_retry: Final = TokenRetry(metrics)

    async def forward(self, call: Call, outgoing: Outgoing) -> UpstreamAnswer:
        """Return the answer to the call; raise SidecarError if there is none to be had.

        The request is written at most twice: a second time only where the
        table of resends allows it, or after a complete token 401.
        """
        # Shown only if the outcome is unknown in the end, however the call ends.
        call.record.idempotency_key = outgoing.idempotency_key
        attempts = Attempts(call, outgoing, self._exchanger, timeout=self._response_timeout, clock=self._clock)
        try:
            answer, generation = await attempts.answer()
            if outgoing.foreign:
                return answer
            self._metrics.rate_limits.observe(answer.head.read_here)
            if answer.status == 401:
                answer = await self._settle(attempts, call, outgoing, answer, generation)
            else:
                outgoing.tokens.accepted(generation, outgoing.path)
            if outgoing.idempotency_key is not None and not call.gone:
                # While nothing of it has been passed on, an answer that breaks off can still be read back.
                await _is_whole(answer)
        except Unanswered as lost:
            return await self._recover(attempts, call, outgoing, lost)
        return answer

    async def _settle(
        self, attempts: Attempts, call: Call, outgoing: Outgoing, first: UpstreamAnswer, generation: int
    ) -> UpstreamAnswer:
        """Return what the caller gets in place of a 401, or the 401 itself if that is it."""

        async def send(newer_than: int) -> tuple[UpstreamAnswer, int]:
            return await attempts.answer(newer_than=newer_than)

        async def may_resend(refusal: UpstreamAnswer) -> bool:
            if call.deliveries > 1 or not outgoing.repeatable or call.gone or not await _is_whole(refusal):
                return False
            call.rejected()
            return True

        settled = await self._token_retry.settle(
            first, generation, outgoing.tokens, outgoing.path, send=send, may_resend=may_resend
        )
        if settled.futile:
            call.record.futile = True
        elif settled.resent:
            if await self._is_conflict_with_refusal(attempts, call, outgoing, settled.answer):
                return first
            call.record.add_recovered("token")
        return settled.answer

    async def _recover(self, attempts: Attempts, call: Call, outgoing: Outgoing, lost: Unanswered) -> UpstreamAnswer:
        """Read a lost answer back by its key, or raise the error that tells the caller what is known."""
        key = outgoing.idempotency_key
        if key is None or call.gone or lost.verdict.outcome is not Outcome.UNKNOWN:
            lost.fail()
        question = Question(key, outgoing.path, call.sent_at)
        stored = await self._lost_answers.read_back(question, outgoing.tokens, attempts.waiting, call.record)
        if stored is None:
            lost.fail(_KEYED_ADVICE)
        if call.deliveries > 1 and stored.status != 401:
            call.record.add_recovered("token")  # a POST is sent a second time after a 401 only
        call.record.add_recovered("idempotency")
        return UpstreamAnswer.stored(stored)

    async def _is_conflict_with_refusal(
        self, attempts: Attempts, call: Call, outgoing: Outgoing, answer: UpstreamAnswer
    ) -> bool:
        """Whether Mangopay refuses the resend as a duplicate of the very request that it had answered with a 401."""
        key = outgoing.idempotency_key
        if answer.status != 409 or key is None or not await _is_whole(answer) or not is_conflict(answer.body):
            return False
        question = Question(key, outgoing.path, call.first_sent_at)
        stored = await self._lost_answers.read_back(question, outgoing.tokens, attempts.waiting, call.record)
        return stored is not None and stored.status == 401


async def _is_whole(answer: UpstreamAnswer) -> bool:
    """Read the answer's body if it is small; return whether all of it is in hand. Raises Unanswered if it breaks.

    Mangopay's answers have a few KiB.
    """
    try:
        return await answer.read_whole(BODY_LIMIT)
    except UpstreamFailure as error:
        raise broken_answer(error) from None
