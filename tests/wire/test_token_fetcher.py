"""The token request and every odd response to it, on real sockets."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import pytest
import trustme

from sidecar.core.endpoint import Endpoint
from sidecar.core.resend import FailureKind
from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import (
    EDGE_PAGE,
    SERVER_ERROR,
    Fetched,
    FetchResult,
    LockedOut,
    Refusal,
    Refused,
    Transient,
)
from sidecar.network.resolver import look_up
from sidecar.tokens.fetcher import Fetcher
from sidecar.upstream.dialing import Dialer
from tests.support.canary import CANARY_API_KEY as KEY
from tests.support.canary import CANARY_TOKEN, record
from tests.support.clock import FakeClock
from tests.support.ports import free_port
from tests.support.tls import MADE_IN, WatchedLayer
from tests.support.upstreams import ScriptedNames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sidecar.network.resolver import Addresses

P = TypeVar("P", bound=asyncio.Protocol)

TOKEN = CANARY_TOKEN + "-55aa"
GOOD_BODY = b'{"access_token": "%b", "token_type": "bearer", "expires_in": 3600}' % TOKEN.encode()


def response(status: bytes, body: bytes = b"", *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers, b"", body))


GOOD = response(b"200 OK", GOOD_BODY, b"Content-Type: application/json")


@dataclass
class TokenEndpoint:
    """A raw server: notes what it receives, and answers the same bytes to every request."""

    reply: bytes
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    on_request: Callable[[], Awaitable[None]] | None = None
    #: The connection stays open until then.
    after_reply: asyncio.Event | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            self.requests.append(head + await reader.readexactly(length))
            if self.on_request is not None:
                await self.on_request()
            writer.write(self.reply)
            await writer.drain()
            if self.after_reply is not None:
                await self.after_reply.wait()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(reply: bytes, *, tls: ssl.SSLContext | None = None, prefix: str = "") -> AsyncIterator[TokenEndpoint]:
    endpoint = TokenEndpoint(reply)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    endpoint.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}{prefix}"
    try:
        yield endpoint
    finally:
        server.close()
        await server.wait_closed()


def fetcher(url: str, *, clock: FakeClock | None = None, tls: ssl.SSLContext | None = None) -> Fetcher:
    return Fetcher(Endpoint.parse(url), "acme", Secret(KEY), clock or FakeClock(), dialer=dialer(url, tls))


def dialer(url: str, tls: ssl.SSLContext | None = None) -> Dialer:
    """Return what connects to ``url``; TLS without a context of its own trusts what this machine does."""
    endpoint = Endpoint.parse(url)
    if tls is None and endpoint.scheme == "https":
        tls = ssl.create_default_context()
    return Dialer(endpoint, connect_timeout=5.0, ssl_context=tls)


async def test_an_ipv6_address_is_an_address_like_others() -> None:
    endpoint = TokenEndpoint(GOOD)
    server = await asyncio.start_server(endpoint.serve, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    result = await fetcher(f"http://[::1]:{port}/x").fetch()
    server.close()
    await server.wait_closed()
    assert isinstance(result, Fetched)
    assert f"Host: [::1]:{port}\r\n".encode() in endpoint.requests[0]


async def test_an_absolute_name_has_no_dot_in_host() -> None:
    async def resolve(host: str, port: int) -> Addresses:
        assert host == "api.test."
        return look_up("127.0.0.1", port, socket.AI_NUMERICHOST)

    async with serving(GOOD) as endpoint:
        port = endpoint.url.rpartition(":")[2]
        absolute = Endpoint.parse(f"http://api.test.:{port}")
        dialer = Dialer(absolute, connect_timeout=5.0, ssl_context=None, names=ScriptedNames(resolve))
        assert isinstance(await Fetcher(absolute, "acme", Secret(KEY), FakeClock(), dialer=dialer).fetch(), Fetched)
        assert f"Host: api.test:{port}\r\n".encode() in endpoint.requests[0]


async def fetch_from(reply: bytes) -> FetchResult:
    async with serving(reply) as endpoint:
        result = await fetcher(endpoint.url).fetch()
        assert len(endpoint.requests) == 1
    return result


async def test_the_request_is_what_mangopay_documents_and_nothing_more() -> None:
    async with serving(GOOD, prefix="/base%20x") as endpoint:
        result = await fetcher(endpoint.url).fetch()
    assert isinstance(result, Fetched)
    head, _, body = endpoint.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert line == b"POST /base%20x/v2.01/oauth/token HTTP/1.1"
    assert body == b"grant_type=client_credentials"
    names = sorted(header.split(b":")[0].lower() for header in headers)
    assert names == [
        b"accept", b"accept-encoding", b"authorization", b"connection", b"content-length", b"content-type", b"host",
        b"user-agent",
    ]  # fmt: skip
    assert b"Authorization: Basic " + base64.b64encode(f"acme:{KEY}".encode()) in headers
    assert b"Content-Type: application/x-www-form-urlencoded" in headers
    assert b"Accept-Encoding: identity" in headers
    assert f"Host: {endpoint.url.split('/')[2]}".encode() in headers


async def test_a_token_comes_back_with_its_life_counted_from_before_the_request_was_sent() -> None:
    clock = FakeClock(now=1000.0)
    async with serving(GOOD) as endpoint:

        async def slowly() -> None:
            await clock.advance(3.0)

        endpoint.on_request = slowly
        result = await fetcher(endpoint.url, clock=clock).fetch()
    assert result == Fetched(Secret(TOKEN), 3600.0, 1000.0)
    record("a token's repr", repr(result))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(response(b"401 Unauthorized", b'{"error":"invalid_client"}'), Refusal.CREDENTIALS, id="401"),
        pytest.param(response(b"403 Forbidden"), Refusal.FORBIDDEN, id="403"),
        pytest.param(response(b"404 Not Found", b'{"error":"not_found"}'), Refusal.REQUEST, id="404 with an error"),
        pytest.param(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 500\r\n\r\n{", Refusal.CREDENTIALS, id="401 cut short"
        ),
        pytest.param(response(b"403 Forbidden", b"x" * 70_000), Refusal.FORBIDDEN, id="403 over-long"),
    ],
)
async def test_refused_credentials_are_told_by_their_status(reply: bytes, expected: Refusal) -> None:
    result = await fetch_from(reply)
    assert isinstance(result, Refused)
    assert result.refusal is expected


async def test_a_lockout_is_told_by_its_error_code() -> None:
    body = b'{"error":"unauthorized_client","error_description":"This account has been temporarily locked"}'
    result = await fetch_from(response(b"400 Bad Request", body, b"Retry-After: 90"))
    assert isinstance(result, LockedOut)
    assert result.retry_after == 90


async def test_a_retry_after_date_is_compared_with_the_responses_own_date() -> None:
    reply = response(
        b"503 Service Unavailable",
        b"",
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT",
        b"Retry-After: Sun, 06 Nov 1994 08:50:37 GMT",
    )
    assert await fetch_from(reply) == Transient("status 503", 60.0, SERVER_ERROR)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(response(b"302 Found", b"", b"Location: /v2.01/oauth/token"), id="redirect"),
        pytest.param(
            response(b"307 Temporary Redirect", b"", b"Location: /v2.01/oauth/token"), id="redirect of a POST"
        ),
        pytest.param(response(b"408 Request Timeout"), id="408"),
        pytest.param(response(b"429 Too Many Requests"), id="429"),
        pytest.param(response(b"500 Internal Server Error", GOOD_BODY), id="500 with a token"),
        pytest.param(response(b"204 No Content"), id="no body"),
        pytest.param(response(b"200 OK", b"<html>all well</html>"), id="not JSON"),
        pytest.param(response(b"200 OK", b"[" * 60_000), id="nested without end"),
        pytest.param(response(b"200 OK", b"\x0b\x02", b"Content-Encoding: br"), id="in a coding that is not ours"),
        pytest.param(response(b"200 OK", gzip.compress(GOOD_BODY)[:-4], b"Content-Encoding: gzip"), id="broken gzip"),
        pytest.param(response(b"200 OK", gzip.compress(b" " * 9_000_000), b"Content-Encoding: gzip"), id="a gzip bomb"),
        pytest.param(response(b"404 Not Found"), id="404"),
        pytest.param(response(b"200 OK", GOOD_BODY + b" " * 70_000), id="over 64 KiB"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + GOOD_BODY, id="cut short"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD_BODY, id="broken chunks"),
        pytest.param(b"", id="closed without an answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="endless header"),
        pytest.param(b"SSH-2.0-OpenSSH_9.7\r\n", id="another protocol"),
        pytest.param(
            response(b"200 OK", b'{"access_token": "a\\nb", "token_type": "Bearer"}'),
            id="a control character",
        ),
    ],
)
async def test_a_response_that_is_no_token_is_transient_and_the_request_is_sent_once(reply: bytes) -> None:
    async with serving(reply) as endpoint:
        result = await fetcher(endpoint.url).fetch()
        assert isinstance(result, Transient)
        assert (endpoint.connections, len(endpoint.requests)) == (1, 1)
    record("the reason of a failed fetch", repr(result))


PAGE = b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(response(b"403 Forbidden", PAGE, b"CF-RAY: 8f3c2a1b4d5e6f70-CDG"), id="403"),
        pytest.param(
            response(b"403 Forbidden", gzip.compress(PAGE), b"Content-Encoding: gzip", b"CF-RAY: 8f3c2a1b4d5e6f70-CDG"),
            id="compressed",
        ),
        pytest.param(
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nCF-RAY: 8f3c2a1b4d5e6f70-CDG\r\n"
            b"Content-Length: 900\r\n\r\n",
            id="cut short",
        ),
    ],
)
async def test_a_page_of_the_edge_is_no_refusal_and_told_with_its_ray(reply: bytes) -> None:
    result = await fetch_from(reply)
    assert isinstance(result, Transient)
    assert result.failure == EDGE_PAGE
    assert result.detail.endswith("CF-Ray 8f3c2a1b4d5e6f70-CDG")


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(response(b"200 OK", b"\xef\xbb\xbf" + GOOD_BODY), id="a BOM"),
        pytest.param(response(b"200 OK", gzip.compress(GOOD_BODY), b"Content-Encoding: gzip"), id="gzip"),
        pytest.param(
            response(b"200 OK", gzip.compress(b"\xef\xbb\xbf" + GOOD_BODY), b"content-encoding: X-GZIP"), id="both"
        ),
    ],
)
async def test_a_bom_and_gzip_are_undone(reply: bytes) -> None:
    result = await fetch_from(reply)
    assert isinstance(result, Fetched)
    assert result.value.reveal() == TOKEN


async def test_the_first_of_repeated_headers_counts() -> None:
    reply = response(b"503 Service Unavailable", b"", b"Retry-After: 60", b"Retry-After: 7")
    assert await fetch_from(reply) == Transient("status 503", 60.0, SERVER_ERROR)


async def test_an_endless_body_is_read_no_further_than_the_limit() -> None:
    sent = 0
    cut_off = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
                await writer.drain()
                sent += 0x4000
        except OSError:
            writer.close()
            cut_off.set()

    async with await asyncio.start_server(pour, "127.0.0.1", 0) as server:
        result = await fetcher(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}").fetch()
        await cut_off.wait()
    assert isinstance(result, Transient)
    assert sent < 32 * 1024 * 1024  # what the socket buffers of both sides may hold, generously


def impatient(endpoint: TokenEndpoint, seconds: float) -> Fetcher:
    """Return what waits for a connection, and then for the response, for so long."""
    return Fetcher(
        Endpoint.parse(endpoint.url),
        "acme",
        Secret(KEY),
        FakeClock(),
        dialer=dialer(endpoint.url),
        connect_timeout=seconds,
        response_timeout=seconds,
    )


async def test_no_response_in_time_is_transient() -> None:
    async with serving(GOOD) as endpoint:
        gate = asyncio.Event()

        async def hold() -> None:
            await gate.wait()

        endpoint.on_request = hold
        assert await impatient(endpoint, 0.05).fetch() == Transient("no answer in time", failure=FailureKind.TIMEOUT)
        gate.set()


LOCKED: Final = b'{"error":"unauthorized_client"}'


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        pytest.param(b"401 Unauthorized", b"{", Refused(Refusal.CREDENTIALS, "status 401"), id="401"),
        pytest.param(b"403 Forbidden", b"", Refused(Refusal.FORBIDDEN, "status 403"), id="403 without a byte"),
        pytest.param(
            b"403 Forbidden\r\nContent-Type: text/html",
            b"<ht",
            Transient(
                "status 403 with a page of the edge before Mangopay, or of a gateway, without a CF-Ray", None, EDGE_PAGE
            ),
            id="a page",
        ),
        pytest.param(b"400 Bad Request", LOCKED, LockedOut("status 400, unauthorized_client"), id="a lockout"),
        pytest.param(
            b"200 OK",
            GOOD_BODY,
            Transient("no answer in time", failure=FailureKind.TIMEOUT),
            id="a token, not to its end",
        ),
    ],
)
async def test_a_body_that_stalls_leaves_what_the_status_says(head: bytes, body: bytes, expected: FetchResult) -> None:
    """To ask again soon with a key that was refused could lock the account."""
    async with serving(b"HTTP/1.1 " + head + b"\r\nContent-Length: 900\r\n\r\n" + body) as endpoint:
        endpoint.after_reply = asyncio.Event()
        assert await impatient(endpoint, 0.3).fetch() == expected
        endpoint.after_reply.set()


async def test_a_closed_port_is_transient() -> None:
    result = await fetcher(f"http://127.0.0.1:{free_port()}").fetch()
    assert result == Transient("no connection can be made (connection refused)", failure=FailureKind.CONNECT)


async def test_a_host_that_does_not_resolve_is_transient() -> None:
    result = await fetcher("http://no-such-host.invalid").fetch()
    assert isinstance(result, Transient)
    assert result.detail.startswith("the host name cannot be resolved (resolver error ")


async def test_proxies_and_netrc_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login eve password wrong\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving(response(b"500 No")) as proxy, serving(GOOD) as endpoint:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert isinstance(await fetcher(endpoint.url).fetch(), Fetched)
        assert proxy.connections == 0


async def test_cookies_are_not_kept_and_each_request_has_a_connection_of_its_own() -> None:
    async with serving(response(b"200 OK", GOOD_BODY, b"Set-Cookie: a=b; Path=/")) as endpoint:
        source = fetcher(endpoint.url)
        await source.fetch()
        await source.fetch()
        assert endpoint.connections == 2
    assert b"cookie" not in endpoint.requests[1].lower()


async def test_a_new_key_counts_from_the_next_request_on() -> None:
    async with serving(GOOD) as endpoint:
        source = fetcher(endpoint.url)
        await source.fetch()
        source.api_key = Secret("another")
        await source.fetch()
    assert base64.b64encode(b"acme:another") not in endpoint.requests[0]
    assert base64.b64encode(b"acme:another") in endpoint.requests[1]


async def test_a_cancelled_fetch_closes_its_connection() -> None:
    async with serving(GOOD) as endpoint:
        arrived = asyncio.Event()
        gate = asyncio.Event()

        async def hold() -> None:
            arrived.set()
            await gate.wait()

        endpoint.on_request = hold
        task = asyncio.create_task(fetcher(endpoint.url).fetch())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.any_loop
async def test_a_token_is_fetched_over_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async with serving(GOOD, tls=server_tls) as endpoint:
        assert isinstance(await fetcher(endpoint.url, tls=client_tls).fetch(), Fetched)


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", Transient("the connection was closed without an answer", failure=FailureKind.LOST)),
        (GOOD[:-1], Transient("the answer was cut short", failure=FailureKind.LOST)),
        (b"HTTP/1.0 200 OK\r\n\r\n" + GOOD.partition(b"\r\n\r\n")[2], Fetched),
    ],
)
async def test_the_end_of_a_connection_is_seen_over_tls_too(
    reply: bytes, expected: object, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Nobody waits for the timeout: calls wait for this token, and for the next try."""
    async with serving(reply, tls=server_tls) as endpoint:
        result = await fetcher(endpoint.url, tls=client_tls).fetch()
    assert expected in (result, type(result))


@pytest.mark.any_loop
async def test_an_untrusted_server_gets_no_byte_of_the_request(server_tls: ssl.SSLContext) -> None:
    async with serving(GOOD, tls=server_tls) as endpoint:
        result = await fetcher(endpoint.url).fetch()
    assert result == Transient(
        "upstream's certificate was refused: its issuer is not trusted here: if a proxy intercepts TLS, name its CA in "
        "tls.extra_ca_file",
        failure=FailureKind.TLS,
    )
    assert not endpoint.requests


def refuse_handshake(listener: socket.socket, tls: ssl.SSLContext) -> None:
    """Answer one connection as OpenSSL's own server does: with an alert, and only then the end.

    asyncio's servers drop the connection before the alert is out. Each response
    comes a moment late, as over a network: so the client has sent its request.
    """
    connection, _ = listener.accept()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(incoming, outgoing, server_side=True)
    with connection:
        connection.settimeout(5)
        while True:
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                data = connection.recv(65536)
                if not data:
                    return
                time.sleep(0.05)
                incoming.write(data)
            except ssl.SSLError:
                connection.sendall(outgoing.read())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
                return
            else:
                raise AssertionError("the handshake was expected to fail")


async def fetch_with_certificate(server: ssl.SSLContext, client: ssl.SSLContext) -> FetchResult:
    server.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(refuse_handshake, listener, server))
        result = await fetcher(f"https://127.0.0.1:{listener.getsockname()[1]}", tls=client).fetch()
        await refusing
    return result


@pytest.mark.any_loop
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_alert_about_our_certificate_is_a_refusal(
    version: ssl.TLSVersion, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    trustme.CA().issue_cert("somebody@example.org").configure_cert(client_tls)
    client_tls.maximum_version = version
    assert await fetch_with_certificate(server_tls, client_tls) == Refused(
        Refusal.CERTIFICATE, "TLS: tlsv1_alert_unknown_ca"
    )


@pytest.mark.any_loop
async def test_a_demanded_certificate_that_we_do_not_have_is_a_refusal(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    client_tls.minimum_version = ssl.TLSVersion.TLSv1_3
    assert await fetch_with_certificate(server_tls, client_tls) == Refused(
        Refusal.CERTIFICATE, "TLS: tlsv13_alert_certificate_required"
    )


@pytest.mark.any_loop
async def test_an_alert_that_comes_before_the_request_was_written_is_a_refusal_too(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a server nearby: the handshake was done, so the connection was handed out.

    aiohttp writes in a task of its own, and may find the connection closed before the event loop has told of its loss.
    """
    failed = asyncio.Event()

    class TellingLate(WatchedLayer):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.layer.get_extra_info("tls_error") is not None:
                failed.set()

        def connection_lost(self, exc: Exception | None, passes: int = 10) -> None:
            if passes:
                asyncio.get_running_loop().call_soon(self.connection_lost, exc, passes - 1)
            else:
                super().connection_lost(exc)

    class Slow(Dialer):
        async def dial(self, make: Callable[[], P], limit: float) -> tuple[P, socket.socket]:
            dialed = await super().dial(make, limit)
            await failed.wait()
            return dialed

    monkeypatch.setattr(MADE_IN, TellingLate)
    client_tls.minimum_version = ssl.TLSVersion.TLSv1_3
    server_tls.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(refuse_handshake, listener, server_tls))
        endpoint = Endpoint.parse(f"https://127.0.0.1:{listener.getsockname()[1]}")
        slow = Slow(endpoint, connect_timeout=5.0, ssl_context=client_tls)
        result = await Fetcher(endpoint, "acme", Secret(KEY), FakeClock(), dialer=slow).fetch()
        await refusing
    assert result == Refused(Refusal.CERTIFICATE, "TLS: tlsv13_alert_certificate_required")


async def test_an_alert_that_may_be_about_anything_is_transient(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """TLS 1.2 has no alert of its own for a certificate that is missing."""
    client_tls.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await fetch_with_certificate(server_tls, client_tls) == Transient(
        "TLS: sslv3_alert_handshake_failure", failure=FailureKind.TLS
    )
