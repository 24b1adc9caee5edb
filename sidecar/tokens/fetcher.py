"""Asking Mangopay's token endpoint for a token."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from sidecar.core.resend import FailureKind, UpstreamError
from sidecar.core.tls_alerts import is_about_our_certificate
from sidecar.core.tokens.oauth import (
    BODY_LIMIT,
    REQUEST_BODY,
    TOKEN_PATH,
    FetchResult,
    Refusal,
    Refused,
    TokenResponse,
    Transient,
    read_response,
    request_headers,
)
from sidecar.patience import PatientTimeout
from sidecar.tokens.connector import DialedConnector
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.core.secret import Secret
    from sidecar.tokens.connector import Dialer

#: Seconds for the response, besides those for the connection: one time runs over both.
RESPONSE_TIMEOUT: Final = 10.0


class Fetcher:
    """Asks for one token at a time, on a connection of its own, which ``dialer`` opens.

    A session lives for one request: token requests are rare, and so a changed key
    or certificate counts from the next one on. Nothing of the environment is used
    (proxies, netrc), no cookie kept, no redirect followed, nothing decompressed
    (:mod:`sidecar.core.tokens.oauth` does that, up to a limit); and aiohttp never sends a POST a
    second time by itself.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        client_id: str,
        api_key: Secret,
        clock: Clock,
        *,
        dialer: Dialer,
        connect_timeout: float = 5.0,
        response_timeout: float = RESPONSE_TIMEOUT,
    ) -> None:
        """Make a fetcher; timeouts in seconds.

        ``dialer`` leads to ``endpoint`` and takes ``connect_timeout`` for it at most.
        """
        #: May be replaced at any time; :meth:`sidecar.tokens.manager.TokenManager.key_changed` is then to be called.
        self.api_key = api_key
        #: What is shown besides the key: a hash of the client certificate; empty: none. May be replaced at any time.
        self.certificate = b""
        #: Told what came of each request.
        self.observe: Callable[[FetchResult], None] | None = None
        self._dialer: Final = dialer
        self._client_id: Final = client_id
        self._clock: Final = clock
        # "encoded": the prefix is used as it was checked when the configuration was read.
        self._url: Final = URL(endpoint.origin + endpoint.prefix + TOKEN_PATH, encoded=True)
        self._timeout: Final = connect_timeout + response_timeout

    async def fetch(self) -> FetchResult:
        """Send one token request. Every failure of the network or of the other side is a result, not an exception."""
        return await self.fetch_with(self.api_key)

    async def fetch_with(self, api_key: Secret) -> FetchResult:
        """Do the same with ``api_key``, also if :attr:`api_key` has changed."""
        sent_at = self._clock.now()
        response = await self.ask(api_key)
        result = read_response(response, sent_at=sent_at) if isinstance(response, TokenResponse) else response
        if self.observe is not None:
            self.observe(result)
        return result

    def burnt(self) -> None:
        """Do nothing: a fetcher keeps no token."""

    async def ask(self, api_key: Secret) -> TokenResponse | Refused | Transient:
        """Send one token request with ``api_key``; return the response as it came, or why there is none."""
        connector = DialedConnector(self._dialer)
        arrival = _Arrival()
        try:
            async with PatientTimeout(self._timeout), self._session(connector) as session:
                await self._ask(session, api_key, arrival)
            return arrival.response(complete=True)
        except UpstreamError as failure:
            return _translate_dial(failure)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if 400 <= arrival.status < 500:
                # Whatever its body would have said: asking again at once could lock the account.
                return arrival.response(complete=False)
            return _translate(connector.tls_error or error)

    def _session(self, connector: DialedConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # it would count time in which this process stood still
            headers={"User-Agent": f"mangopay-sidecar/{__version__}"},
            auto_decompress=False,
            trust_env=False,
        )

    async def _ask(self, session: aiohttp.ClientSession, api_key: Secret, arrival: _Arrival) -> None:
        request = session.post(
            self._url,
            data=REQUEST_BODY,
            headers=request_headers(self._client_id, api_key),
            allow_redirects=False,
        )
        async with request as response:
            arrival.wall = self._clock.wall()
            arrival.headers = {name.lower(): value for name, value in reversed([*response.headers.items()])}
            arrival.status = response.status
            async for piece in response.content.iter_chunked(BODY_LIMIT):
                arrival.body += piece
                if len(arrival.body) > BODY_LIMIT:
                    break


class _Arrival:
    """A response on its way: what is there of it, also if it breaks off or stops coming."""

    def __init__(self) -> None:
        #: 0 until its head is there.
        self.status = 0
        self.headers: dict[str, str] = {}
        self.wall = 0.0
        self.body = bytearray()

    def response(self, *, complete: bool) -> TokenResponse:
        """Return it as far as it has come."""
        return TokenResponse(self.status, self.headers, bytes(self.body), self.wall, complete=complete)


def _translate_dial(failure: UpstreamError) -> Refused | Transient:
    """Say what it means that there was no connection."""
    cause, kind = failure.__cause__, failure.failure.kind
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLCertVerificationError):
        return _translate_tls(cause)
    words = None if isinstance(cause, ssl.SSLError) else _STEPS.get(kind)
    return Transient(f"{words} ({failure.detail})" if words else failure.detail, failure=kind)


def _translate(error: BaseException) -> Refused | Transient:
    """Say what an exception of the network means, without its own text: that may hold bytes received."""
    for each in _causes(error):
        if isinstance(each, ssl.SSLError) and not isinstance(each, aiohttp.ClientError):
            return _translate_tls(each)
    for exception, failure, detail in _DETAILS:
        if isinstance(error, exception):
            return Transient(detail, failure=failure)
    return Transient(f"the connection failed: {type(error).__name__}", failure=FailureKind.LOST)


def _translate_tls(error: ssl.SSLError) -> Refused | Transient:
    # OpenSSL's own name for what happened; the error's text would also name a line of its source.
    reason = (error.reason or "no reason given").lower()
    if is_about_our_certificate(reason):
        return Refused(Refusal.CERTIFICATE, f"TLS: {reason}")
    return Transient(f"TLS: {reason}", failure=FailureKind.TLS)


#: What could not be done, where the failure's own words take that for granted.
_STEPS: Final = {
    FailureKind.RESOLVE: "the host name cannot be resolved",
    FailureKind.CONNECT: "no connection can be made",
    FailureKind.TLS: "the TLS handshake failed",
}

#: From the special to the general.
_DETAILS: Final[tuple[tuple[type[BaseException], FailureKind, str], ...]] = (
    (TimeoutError, FailureKind.TIMEOUT, "no answer in time"),
    (aiohttp.ClientResponseError, FailureKind.BROKEN, "the answer is broken"),
    (aiohttp.ClientPayloadError, FailureKind.LOST, "the answer was cut short"),
    (aiohttp.ServerDisconnectedError, FailureKind.LOST, "the connection was closed without an answer"),
    (aiohttp.ClientOSError, FailureKind.LOST, "the connection was lost"),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give the exception and those it came from."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
