"""Reading back an answer that was lost on its way (contract section 6)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.core.errors import SidecarError
from sidecar.core.headers import RequestTemplate
from sidecar.core.stored_answer import StoredAnswer, read_stored_answer, unix_seconds
from sidecar.proxy.exchange import Exchanger, Request, Waiting
from sidecar.proxy.token_retry import BODY_LIMIT, TokenRetry
from sidecar.upstream.errors import UpstreamFailure

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.proxy.answer import UpstreamAnswer
    from sidecar.telemetry.metrics import Metrics
    from sidecar.telemetry.record import CallRecord
    from sidecar.tokens.manager import TokenManager

#: Seconds before each try: Mangopay may need a moment to store an answer whose connection broke.
PAUSES: Final = (0.2, 0.5, 1.0)
#: Bytes of a stored answer that are read at most; Mangopay's resources are a few KiB.
DOCUMENT_LIMIT: Final = 1024 * 1024
#: Seconds that one try may wait for its answer's head, and then for the rest of it.
TRY_TIMEOUT: Final = 5.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Question:
    """Which answer is looked for: the one under ``key`` to a request for ``path``, sent at ``sent_at`` or later."""

    key: str
    path: str
    #: ``Clock.now``.
    sent_at: float


class LostAnswers:
    """Asks Mangopay what it answered to a request whose answer never arrived."""

    def __init__(
        self, exchanger: Exchanger, *, endpoint: Endpoint, client_id: str, clock: Clock, metrics: Metrics
    ) -> None:
        self._exchanger: Final = exchanger
        self._endpoint: Final = endpoint
        self._client_id: Final = client_id
        self._clock: Final = clock
        self._token_retry: Final = TokenRetry(metrics)

    async def read_back(
        self, question: Question, tokens: TokenManager, waiting: Waiting, record: CallRecord
    ) -> StoredAnswer | None:
        """Return the stored answer, for the call of ``record``, of whose waiting time ``waiting`` is left.

        None if there is none after three tries, or if what is stored answers
        another request: never somebody else's success.
        """
        target = f"/v2.01/{self._client_id}/responses/{question.key}"
        request = self._request(target)
        for pause in PAUSES:
            await self._clock.sleep_until(self._clock.now() + pause)
            try:
                answer, at = await self._ask(request, target, tokens, waiting, record)
            except (UpstreamFailure, SidecarError, TimeoutError):
                continue
            stored = _match(answer, question, elapsed=at - question.sent_at)
            _log.info("answer.read_back", id=record.id, found=stored is not None, upstream_status=answer.status)
            if stored is not None:
                return stored
        return None

    def _request(self, target: str) -> Request:
        template = RequestTemplate.build(
            "GET",
            target.encode("ascii"),
            prefix=self._endpoint.prefix,
            host=self._endpoint.host_header,
            headers=((b"Accept", b"application/json"),),
            content_length=None,
            chunked=False,
        )
        return Request(template)

    async def _ask(
        self, request: Request, path: str, tokens: TokenManager, waiting: Waiting, record: CallRecord
    ) -> tuple[UpstreamAnswer, float]:
        """Make one try, resent after a token 401; return the answer and when its head was there."""
        answer, generation, at = await self._exchange(request, tokens, waiting, record)
        if answer.status != 401:
            tokens.accepted(generation, path)
            return answer, at

        async def send(newer_than: int) -> tuple[UpstreamAnswer, int]:
            nonlocal at
            answer, generation, at = await self._exchange(request, tokens, waiting, record, newer_than)
            return answer, generation

        settled = await self._token_retry.settle(answer, generation, tokens, path, send=send, may_resend=_is_whole)
        return settled.answer, at

    async def _exchange(
        self, request: Request, tokens: TokenManager, waiting: Waiting, record: CallRecord, newer_than: int = 0
    ) -> tuple[UpstreamAnswer, int, float]:
        result: int | str = "cut"
        try:
            answer, generation = await self._exchanger.exchange(
                request, tokens, waiting, timeout=TRY_TIMEOUT, newer_than=newer_than
            )
            result = answer.status
        except UpstreamFailure as error:
            result = error.failure.kind.value
            raise
        except SidecarError as error:
            result = error.code.value
            raise
        finally:
            waiting.note(record, result, purpose="read_back")
        at = self._clock.now()
        try:
            async with asyncio.timeout(TRY_TIMEOUT):
                await answer.read_whole(DOCUMENT_LIMIT)
        finally:
            answer.discard()
        return answer, generation, at


async def _is_whole(answer: UpstreamAnswer) -> bool:
    return await answer.read_whole(BODY_LIMIT)


def _match(answer: UpstreamAnswer, question: Question, *, elapsed: float) -> StoredAnswer | None:
    """Return the stored answer in ``answer``, which came ``elapsed`` seconds after the request that it is to answer."""
    upstream_now = _date(answer)
    if answer.status != 200 or upstream_now is None:
        return None
    return read_stored_answer(answer.body, path=question.path, not_before=upstream_now - elapsed)


def _date(answer: UpstreamAnswer) -> float | None:
    """Return the ``Date`` header: what upstream's clock says (Unix seconds)."""
    for name, value in answer.head.raw_headers:
        if name.lower() == b"date":
            return unix_seconds(value.decode("latin-1"))
    return None
