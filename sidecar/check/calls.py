"""One token call, and one harmless GET with the token: on the way that all calls go, verified as ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from sidecar.config.errors import shown
from sidecar.core.backoff import read_retry_after
from sidecar.core.challenge import is_sca_challenge
from sidecar.core.diagnosis import Finding
from sidecar.core.oauth import BODY_LIMIT, REQUEST_BODY, TOKEN_PATH, Fetched, read_answer, request_headers
from sidecar.core.resend import UpstreamFailure
from sidecar.core.symptoms import call_finding, clock_finding, of_exchange, token_finding
from sidecar.upstream.dialing import Dialer
from sidecar.upstream.egress import Egress
from sidecar.upstream.pool import Pool
from sidecar.version import __version__

if TYPE_CHECKING:
    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.core.layout import RawHeaders
    from sidecar.core.secret import Secret
    from sidecar.runtime import Tasks
    from sidecar.upstream.response import Response
    from sidecar.upstream.tls import Trust

#: Seconds from the request to the head of the answer, and between two pieces of its body.
_ANSWER_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: RawHeaders
    body: bytes
    #: When it arrived (Unix time).
    wall: float

    def header(self, name: bytes) -> str | None:
        values = (value for key, value in self.headers if key.lower() == name)
        found = next(values, None)
        return None if found is None else found.decode("latin-1")


class Calls:
    """Makes the two calls. Neither is ever repeated."""

    def __init__(self, config: Config, trust: Trust | None, came_from: str, *, clock: Clock, tasks: Tasks) -> None:
        proxy = config.upstream.egress_proxy
        dialer = Dialer(
            config.mangopay.endpoint,
            connect_timeout=config.upstream.connect_timeout,
            ssl_context=None if trust is None else trust.context,
            egress=None if proxy is None else Egress(proxy),
        )
        self._config: Final = config
        self._has_certificate: Final = trust is not None and trust.validity is not None
        self._came_from: Final = came_from
        self._clock: Final = clock
        self._pool: Final = Pool(dialer, size=1, clock=clock, tasks=tasks)
        self._token: Secret | None = None
        self._skew: float | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def fetch_token(self) -> Finding:
        """Ask for a token, with the main key, once."""
        mangopay = self._config.mangopay
        fields = (*request_headers(mangopay.client_id, mangopay.api_key), ("Content-Length", str(len(REQUEST_BODY))))
        sent_at = self._clock.now()
        try:
            answer = await self._exchange("POST", TOKEN_PATH, fields, REQUEST_BODY)
        except UpstreamFailure as failure:
            return self._unanswered(failure)
        self._note_date(answer)
        retry_after = read_retry_after(answer.header(b"retry-after"), date=answer.header(b"date"), wall=answer.wall)
        result = read_answer(answer.status, answer.body, retry_after=retry_after, sent_at=sent_at)
        if isinstance(result, Fetched):
            self._token = result.value
        source = self._config.secret_files.get("mangopay.api_key")
        where = f"environment {mangopay.environment}, key from {shown(source) if source else 'a variable'}"
        return token_finding(answer.status, answer.body, result, came_from=self._came_from, where=where)

    async def compare_clocks(self) -> Finding:
        """Compare this machine's clock with the ``Date`` of the answer to the token call."""
        return clock_finding(self._skew)

    async def view_client(self) -> Finding:
        """Read the platform's own record, as Mangopay's "View a Client" does: nothing changes by it."""
        if self._token is None:
            return Finding.skipped("there is no token")
        fields = (("Authorization", f"Bearer {self._token.reveal()}"), ("Accept", "application/json"))
        try:
            answer = await self._exchange("GET", f"/v2.01/{self._config.mangopay.client_id}/clients", fields, None)
        except UpstreamFailure as failure:
            return self._unanswered(failure)
        return call_finding(answer.status, is_sca=is_sca_challenge(answer.headers), came_from=self._came_from)

    def _unanswered(self, failure: UpstreamFailure) -> Finding:
        kind = failure.failure.kind
        cause = of_exchange(kind, failure.detail, client_certificate=self._has_certificate)
        return Finding.failed(cause, failure.detail)

    def _note_date(self, answer: _Answer) -> None:
        date = answer.header(b"date")
        if date is None:
            return
        try:
            moment = parsedate_to_datetime(date)
        except (ValueError, OverflowError, IndexError, TypeError):
            return
        said = (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
        self._skew = answer.wall - (said + 0.5)  # it is cut to whole seconds

    async def _exchange(
        self, method: str, path: str, fields: tuple[tuple[str, str], ...], body: bytes | None
    ) -> _Answer:
        """Make one exchange on a connection of its own. Raises UpstreamFailure."""
        endpoint = self._config.mangopay.endpoint
        lines = [
            f"{method} {endpoint.prefix}{path} HTTP/1.1",
            f"Host: {endpoint.host_header.decode('ascii')}",
            f"User-Agent: mangopay-sidecar/{__version__}",
            *(f"{name}: {value}" for name, value in fields),
        ]
        head = "\r\n".join((*lines, "", "")).encode("ascii")
        deadline = self._clock.now() + self._config.upstream.connect_timeout
        connection = await self._pool.acquire(deadline, fresh=True)
        response = await connection.exchange(head, body, head_only=False, timeout=_ANSWER_TIMEOUT)
        wall = self._clock.wall()
        try:
            return _Answer(response.status, response.head.raw_headers, await _read(response), wall)
        finally:
            response.release()


async def _read(response: Response) -> bytes:
    """Read the body, or a little more of it than a token's answer may have."""
    body = bytearray()
    try:
        while len(body) <= BODY_LIMIT and (piece := await response.read()):
            body += piece
    except UpstreamFailure:
        if not 400 <= response.status < 500:
            raise
        return b""  # the status says enough
    return bytes(body)
