"""Reading back a response that was lost on its way (contract section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from sidecar.advice.texts.calls import DIAGNOSES, READ_BACK_SCOPE
from sidecar.core.causes import Cause
from sidecar.core.errors import SidecarError
from sidecar.core.http.dates import read_http_date
from sidecar.core.http.traced_request import TracedTemplate
from sidecar.core.stored_response import StoredResponse, read_stored_response
from sidecar.proxy.outgoing import Request
from sidecar.proxy.own_get import is_whole, own_get, read_in_time
from sidecar.proxy.token_retry import BODY_LIMIT, TokenRetry
from sidecar.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.proxy.exchange import Exchanger, WaitBudget
    from sidecar.proxy.upstream_response import UpstreamResponse
    from sidecar.telemetry.metrics import Metrics
    from sidecar.telemetry.record import CallRecord
    from sidecar.tokens.manager import TokenManager

#: Seconds before each try: Mangopay may need a moment to store a response whose connection broke.
PAUSES: Final = (0.2, 0.5, 1.0)
#: Bytes of a stored response that are read at most; Mangopay's resources are a few KiB. As many as of any response
#: that is held whole: a thousand callers that do not read theirs must fit into the process's memory.
DOCUMENT_LIMIT: Final = BODY_LIMIT
#: Seconds that one try may wait for its response's head, and then for the rest of it.
TRY_TIMEOUT: Final = 5.0

#: Statuses that say whether the key may read, success apart: 400 and 404 tell of an unknown Idempotency-Key.
_TELLING: Final = frozenset({400, 403, 404})

_log = structlog.get_logger()


class ReadBackQuery(msgspec.Struct, frozen=True):
    """Which response is looked for: the one under ``key`` to a request for ``path``, sent at ``sent_at`` or later."""

    key: str
    path: str
    #: ``Clock.now``.
    sent_at: float
    #: The response to an earlier request with that key and path will do as well.
    older_too: bool = False


class LostResponses:
    """Asks Mangopay what it answered to a request whose response never arrived."""

    def __init__(
        self, exchanger: Exchanger, *, endpoint: Endpoint, client_id: str, clock: Clock, metrics: Metrics
    ) -> None:
        self._exchanger: Final = exchanger
        self._endpoint: Final = endpoint
        self._client_id: Final = client_id
        self._clock: Final = clock
        #: Mangopay answered 403 to the last try: the API key may not read stored responses.
        self.forbidden = False
        self._token_retry: Final = TokenRetry(metrics)

    async def read_back(
        self, question: ReadBackQuery, tokens: TokenManager, waiting: WaitBudget, record: CallRecord
    ) -> StoredResponse | None:
        """Return the stored response, for the call of ``record``, of whose waiting time ``waiting`` is left.

        None if there is none after three tries, if what is stored answers another
        request (never somebody else's success), or if the API key may not read it.
        """
        target = f"/v2.01/{self._client_id}/responses/{question.key}"
        request = self._request(target, record)
        for pause in PAUSES:
            await self._clock.sleep_until(self._clock.now() + pause)
            try:
                response, at = await self._ask(request, target, tokens, waiting, record)
            except (UpstreamError, SidecarError, TimeoutError):
                continue
            stored = _match(response, question, elapsed=at - question.sent_at)
            _log.info("answer.read_back", id=record.id, found=stored is not None, upstream_status=response.status)
            forbidden = self._is_forbidden(response, tokens, record)
            if stored is not None or forbidden:
                return stored
        return None

    def _is_forbidden(self, response: UpstreamResponse, tokens: TokenManager, record: CallRecord) -> bool:
        """Whether the API key may not read stored responses, which is said once.

        Only Mangopay's own responses tell: a page of the edge says nothing of the key, and the embedded key is not
        meant to read.
        """
        if tokens.credential != "api" or not (200 <= response.status < 300 or response.status in _TELLING):
            return False
        report = response.error_report()
        if report.is_page:
            return False
        before, self.forbidden = self.forbidden, response.status == 403
        if self.forbidden and not before:
            _log.warning(
                "answer.read_back_forbidden",
                id=record.id,
                scope=READ_BACK_SCOPE,
                mangopay_id=report.id,
                mangopay_type=report.type,
                cf_ray=report.cf_ray,
                mend=DIAGNOSES[Cause.READ_BACK_FORBIDDEN].mend,
            )
        return self.forbidden

    def _request(self, target: str, record: CallRecord) -> Request:
        template = own_get(self._endpoint, target)
        return Request(template if record.trace is None else TracedTemplate(template, record.trace))

    async def _ask(
        self, request: Request, path: str, tokens: TokenManager, waiting: WaitBudget, record: CallRecord
    ) -> tuple[UpstreamResponse, float]:
        """Make one try, resent after a token 401; return the response and when its head was there."""
        response, generation, at = await self._exchange(request, tokens, waiting, record)

        async def send(newer_than: int) -> tuple[UpstreamResponse, int]:
            nonlocal at
            response, generation, at = await self._exchange(request, tokens, waiting, record, newer_than)
            return response, generation

        settled = await self._token_retry.settle(response, generation, tokens, path, send=send, may_resend=is_whole)
        return settled.response, at

    async def _exchange(
        self, request: Request, tokens: TokenManager, waiting: WaitBudget, record: CallRecord, newer_than: int = 0
    ) -> tuple[UpstreamResponse, int, float]:
        result: int | str = "cut"
        try:
            response, generation = await self._exchanger.exchange(
                request, tokens, waiting, timeout=TRY_TIMEOUT, newer_than=newer_than
            )
            result = response.status
        except UpstreamError as error:
            result = error.failure.kind.value
            raise
        except SidecarError as error:
            result = error.code.value
            raise
        finally:
            waiting.record_attempt(record, result, purpose="read_back")
        at = self._clock.now()
        await read_in_time(response, DOCUMENT_LIMIT, TRY_TIMEOUT)
        return response, generation, at


def _match(response: UpstreamResponse, question: ReadBackQuery, *, elapsed: float) -> StoredResponse | None:
    """Return the stored response in ``response``, which came ``elapsed`` seconds after the request in question."""
    upstream_now = read_http_date(response.head.first(b"date") or "")
    if response.status != 200 or upstream_now is None:
        return None
    return read_stored_response(
        response.body,
        path=question.path,
        not_before=upstream_now - elapsed,
        told_at=upstream_now,
        older_too=question.older_too,
    )
