"""One token call, and two harmless GETs with the token: over the same stack, and as strictly verified, as all calls."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from sidecar.advice.classify import (
    GetResponse,
    call_finding,
    classify_exchange_failure,
    clock_finding,
    read_back_finding,
    token_finding,
)
from sidecar.core.causes import StepFinding
from sidecar.core.error_report import read_error_report
from sidecar.core.http.challenge import is_sca_challenge
from sidecar.core.http.dates import read_http_date
from sidecar.core.resend import FailureKind, UpstreamError
from sidecar.core.text import printable_name
from sidecar.core.tokens.oauth import Fetched, TokenResponse, Transient, read_response
from sidecar.tokens.fetcher import Fetcher
from sidecar.upstream.dialing import dialer_for
from sidecar.upstream.pool import Pool
from sidecar.version import __version__

if TYPE_CHECKING:
    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.core.secret import Secret
    from sidecar.runtime import Tasks
    from sidecar.upstream.response import Response
    from sidecar.upstream.trust import Trust

#: Seconds from the request to the head of the response, and between two pieces of its body.
_RESPONSE_TIMEOUT: Final = 10.0
#: Bytes of a response to a GET that are read: enough to tell a page, and for an error report.
_BODY_LIMIT: Final = 64 * 1024


class Calls:
    """Makes the calls. None is ever repeated."""

    def __init__(self, config: Config, trust: Trust | None, source_address: str, *, clock: Clock, tasks: Tasks) -> None:
        dialer = dialer_for(config, trust, clock)
        self._config: Final = config
        self._has_certificate: Final = trust is not None and trust.validity is not None
        self._source_address: Final = source_address
        self._clock: Final = clock
        self._fetcher: Final = Fetcher(
            config.mangopay.endpoint,
            config.mangopay.client_id,
            config.mangopay.api_key,
            clock,
            dialer=dialer,
            connect_timeout=config.upstream.connect_timeout,
        )
        self._pool: Final = Pool(dialer, size=1, clock=clock, tasks=tasks)
        self._token: Secret | None = None
        self._skew: float | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def fetch_token(self) -> StepFinding:
        """Ask for a token, with the main key, once."""
        mangopay = self._config.mangopay
        sent_at = self._clock.now()
        response = await self._fetcher.ask(mangopay.api_key)
        if not isinstance(response, TokenResponse):
            kind = response.failure if isinstance(response, Transient) else FailureKind.TLS
            return self._no_response(kind, response.detail)
        self._note_date(response)
        result = read_response(response, sent_at=sent_at)
        if isinstance(result, Fetched):
            self._token = result.value
        source = self._config.secret_files.get("mangopay.api_key")
        where = f"environment {mangopay.environment}, key from {printable_name(source) if source else 'a variable'}"
        return token_finding(response, result, source_address=self._source_address, where=where)

    async def compare_clocks(self) -> StepFinding:
        """Compare this machine's clock with the ``Date`` of the response to the token call."""
        return clock_finding(self._skew)

    async def view_client(self) -> StepFinding:
        """Read the platform's own record, as Mangopay's "View a Client" does: nothing changes by it."""
        reply = await self._get("clients")
        return reply if isinstance(reply, StepFinding) else call_finding(reply, source_address=self._source_address)

    async def read_back(self) -> StepFinding:
        """Ask for the stored response to an ``Idempotency-Key`` that nobody has used, to see whether it may be."""
        reply = await self._get(f"responses/mangopay-sidecar-check-{secrets.token_hex(6)}")
        return reply if isinstance(reply, StepFinding) else read_back_finding(reply)

    async def _get(self, resource: str) -> GetResponse | StepFinding:
        """Read one of the account's resources; a StepFinding says why there is no response."""
        if self._token is None:
            return StepFinding.skipped("there is no token")
        try:
            return await self._exchange(f"/v2.01/{self._config.mangopay.client_id}/{resource}", self._token)
        except UpstreamError as failure:
            return self._no_response(failure.failure.kind, failure.detail)

    def _no_response(self, kind: str | None, detail: str) -> StepFinding:
        return StepFinding.failed(
            classify_exchange_failure(kind, detail, client_certificate=self._has_certificate), detail
        )

    def _note_date(self, response: TokenResponse) -> None:
        said = read_http_date(response.headers.get("date", ""))
        if said is not None:
            self._skew = response.wall - (said + 0.5)  # it is cut to whole seconds

    async def _exchange(self, path: str, token: Secret) -> GetResponse:
        """Make one exchange on a connection of its own. Raises UpstreamError."""
        endpoint = self._config.mangopay.endpoint
        lines = (
            f"GET {endpoint.prefix}{path} HTTP/1.1",
            f"Host: {endpoint.host_header.decode('ascii')}",
            f"User-Agent: mangopay-sidecar/{__version__}",
            f"Authorization: Bearer {token.reveal()}",
            "Accept: application/json",
        )
        head = "\r\n".join((*lines, "", "")).encode("ascii")
        deadline = self._clock.now() + self._config.upstream.connect_timeout
        connection = await self._pool.acquire(deadline, fresh=True)
        response = await connection.exchange(head, None, head_only=False, timeout=_RESPONSE_TIMEOUT)
        try:
            headers, body = response.head.raw_headers, await _read(response)
        finally:
            response.release()
        return GetResponse(response.status, read_error_report(headers, body), is_sca=is_sca_challenge(headers))


async def _read(response: Response) -> bytes:
    """Read the body, or its beginning."""
    body = bytearray()
    try:
        while len(body) <= _BODY_LIMIT and (piece := await response.read()):
            body += piece
    except UpstreamError:
        if not 400 <= response.status < 500:
            raise  # of a 4xx the status says enough
    return bytes(body)
