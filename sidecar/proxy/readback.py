"""Reading back an answer that was lost on its way (contract section 6)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.core.errors import SidecarError
from sidecar.core.headers import RequestTemplate
from sidecar.core.stored_answer import StoredAnswer, read_stored_answer
from sidecar.proxy.exchange import Exchanger, Request, Waiting
from sidecar.upstream.errors import UpstreamFailure

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.proxy.answer import UpstreamAnswer
    from sidecar.proxy.call import Call
    from sidecar.tokens.manager import TokenManager

#: Seconds before each try: Mangopay may need a moment to store an answer whose connection broke.
PAUSES: Final = (0.2, 0.5, 1.0)
#: Bytes of a stored answer that are read at most; Mangopay's resources are a few KiB.
DOCUMENT_LIMIT: Final = 1024 * 1024
#: Seconds that one try may wait for a connection and a token, and then for its answer.
TRY_TIMEOUT: Final = 5.0

_log = structlog.get_logger()


class LostAnswers:
    """Asks Mangopay what it answered to a request whose answer never arrived."""

    def __init__(self, exchanger: Exchanger, *, endpoint: Endpoint, client_id: str, clock: Clock) -> None:
        self._exchanger: Final = exchanger
        self._endpoint: Final = endpoint
        self._client_id: Final = client_id
        self._clock: Final = clock

    async def read_back(self, call: Call, tokens: TokenManager, *, key: str, path: str) -> StoredAnswer | None:
        """Return the stored answer to this call's request for ``path``.

        None if there is none after three tries, or if what is stored answers
        another request: never somebody else's success.
        """
        request = self._request(key)
        for pause in PAUSES:
            await self._clock.sleep_until(self._clock.now() + pause)
            answer = await self._ask(request, tokens)
            if answer is None:
                continue
            stored = self._match(answer, path=path, sent_at=call.sent_at)
            _log.info("answer.read_back", id=call.record.id, found=stored is not None, upstream_status=answer.status)
            if stored is not None:
                return stored
        return None

    def _request(self, key: str) -> Request:
        target = f"/v2.01/{self._client_id}/responses/{key}".encode("ascii")
        template = RequestTemplate.build(
            "GET",
            target,
            prefix=self._endpoint.prefix,
            host=self._endpoint.host_header,
            headers=((b"Accept", b"application/json"),),
            content_length=None,
            chunked=False,
        )
        return Request(template)

    async def _ask(self, request: Request, tokens: TokenManager) -> UpstreamAnswer | None:
        """Make one try; None if it got no whole answer."""
        try:
            answer, _ = await self._exchanger.exchange(
                request, tokens, Waiting(self._clock, TRY_TIMEOUT), timeout=TRY_TIMEOUT
            )
            whole = await answer.read_whole(DOCUMENT_LIMIT)
        except (UpstreamFailure, SidecarError):
            return None
        answer.discard()
        return answer if whole else None

    def _match(self, answer: UpstreamAnswer, *, path: str, sent_at: float | None) -> StoredAnswer | None:
        upstream_now = _date(answer)
        if answer.status != 200 or upstream_now is None or sent_at is None:
            return None
        not_before = upstream_now - (self._clock.now() - sent_at)
        return read_stored_answer(answer.head, path=path, not_before=not_before)


def _date(answer: UpstreamAnswer) -> float | None:
    """Return the ``Date`` header: what upstream's clock says (Unix seconds)."""
    for name, value in answer.raw_headers:
        if name.lower() == b"date":
            try:
                return parsedate_to_datetime(value.decode("ascii")).timestamp()
            except ValueError:
                return None
    return None
