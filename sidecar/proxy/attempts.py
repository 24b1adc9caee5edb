"""The attempts of one call: each is counted, and one that failed is repeated where the table allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from sidecar.advice.texts.calls import FAILURES
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.resend import AttemptFailure, FailureKind, Verdict, decide
from sidecar.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from sidecar.proxy.call import Call
    from sidecar.proxy.exchange import Exchanger
    from sidecar.proxy.outgoing import ForwardRequest
    from sidecar.proxy.upstream_response import UpstreamResponse

#: Seconds that all token waits and connects of one call share: the .NET SDK gives up
#: after 15, and a refresh and a resend must fit into that.
WAITING_BUDGET: Final = 12.0

_REJECTED: Final = "Mangopay answered the request with 401 and executed nothing: it may be sent again as it is."


class NoResponse(Exception):  # noqa: N818 - the end of the attempts, not a fault of the program
    """A call got no response and may not be sent again."""

    def __init__(self, failure: UpstreamError, verdict: Verdict) -> None:
        super().__init__(failure.detail)
        self.failure: Final = failure
        self.verdict: Final = verdict

    def raise_for_caller(self, advice: str = "") -> NoReturn:
        """Raise the error that tells the caller what happened, what is known of its request, and ``advice``."""
        code = self.verdict.code
        if self.verdict.outcome is Outcome.REJECTED:
            advice = _REJECTED
        raise SidecarError(
            code,
            f"{FAILURES[self.failure.failure.kind].told} {advice}".rstrip(),
            outcome=self.verdict.outcome,
            retry_after=1.0 if code is ErrorCode.OVERLOADED else None,
            detail=self.failure.detail,
        ) from None


class Attempts:
    """Sends one call until it is answered, or may not be sent again."""

    def __init__(self, call: Call, outgoing: ForwardRequest, exchanger: Exchanger, *, timeout: float) -> None:
        self._call: Final = call
        self._outgoing: Final = outgoing
        self._exchanger: Final = exchanger
        self._timeout: Final = timeout
        #: What is left of the time that token waits and connects may take.
        self.waiting: Final = exchanger.wait_budget(WAITING_BUDGET)
        self._retries = 0
        self._last: UpstreamResponse | None = None

    async def response(self, *, newer_than: int = 0) -> tuple[UpstreamResponse, int]:
        """Return upstream's response and the generation of the token that the request carried.

        ``newer_than`` is a generation that a 401 burnt. Raises NoResponse, and
        SidecarError if there is no token to be had.
        """
        call = self._call
        lost: NoResponse | None = None
        while True:
            try:
                response, generation = await self._exchanger.exchange(
                    self._outgoing.request,
                    self._outgoing.tokens,
                    self.waiting,
                    timeout=self._timeout,
                    newer_than=newer_than,
                    fresh=lost is not None,
                    sending=call,
                )
            except UpstreamError as failed:
                self._ended(failed.failure.kind.value)
                verdict = self._verdict(failed.failure)
                lost = NoResponse(failed, verdict)
                if not verdict.resend or not self._outgoing.repeatable:
                    raise lost from None
                self._retries += 1
            except SidecarError as error:
                self._ended(error.code.value)
                if not call.deliveries:
                    raise
                if call.outcome() is Outcome.REJECTED:
                    raise _rejected(error) from None
                # No token for the second delivery of a read, or the caller's body ended badly on its way through.
                raise lost or _delivered(error) from None
            except BaseException:
                self._ended("cut")
                raise
            else:
                self._ended(response.status, status=response.status)
                if lost is not None:
                    call.record.add_recovered("connection")
                self._last = response
                return response, generation

    def abandon(self) -> None:
        """Let go of the response that came last: nobody will pass it on."""
        if self._last is not None:
            self._last.discard()

    def _verdict(self, failure: AttemptFailure) -> Verdict:
        call = self._call
        if call.outcome() is not Outcome.REJECTED:
            return decide(failure, call.method, call.deliveries, self._retries)
        # This attempt wrote nothing, and those before were answered 401: it is judged as the first, but its outcome is
        # REJECTED.
        return decide(failure, call.method, 0, self._retries)._replace(outcome=Outcome.REJECTED)

    def _ended(self, result: int | str, *, status: int = 0) -> None:
        """Note the end of an attempt: on the call, and on its timeline."""
        record = self._call.record
        before = record.upstream_seconds
        self._call.ended(status)
        self.waiting.record_attempt(record, result, upstream=record.upstream_seconds - before)


def broken_response(error: UpstreamError) -> NoResponse:
    """Return the end of a call whose response broke off; the caller may have got a part of it."""
    late = error.failure.kind is FailureKind.TIMEOUT
    code = ErrorCode.UPSTREAM_TIMEOUT if late else ErrorCode.UPSTREAM_UNREACHABLE
    return NoResponse(error, Verdict(False, code, Outcome.UNKNOWN))


def _rejected(error: SidecarError) -> SidecarError:
    """Return ``error`` as it has to be told after a 401 to the first delivery, before a byte of a second one."""
    return SidecarError(
        error.code,
        f"{error.message} {_REJECTED}",
        outcome=Outcome.REJECTED,
        retry_after=error.retry_after,
        detail=error.detail,
        close=error.close,
    )


def _delivered(error: SidecarError) -> SidecarError:
    """Return ``error`` as it has to be told once a part of the request is out."""
    message = f"{error.message} A part of the request may have reached Mangopay: before you repeat a write, find out."
    return SidecarError(error.code, message, outcome=Outcome.UNKNOWN, detail=error.detail, close=error.close)
