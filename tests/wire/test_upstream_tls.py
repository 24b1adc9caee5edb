"""TLS to upstream: who cannot prove its name and issuer receives not one byte of a request."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from msgspec.structs import replace

from sidecar.config import Tls
from sidecar.core.resend import AttemptFailure, FailureKind, Sent
from sidecar.network.resolver import look_up
from sidecar.upstream.errors import UpstreamError
from sidecar.upstream.trust import client_context, load_trust
from tests.support.tls import MADE_IN, WatchedLayer
from tests.support.upstreams import OK, Client, Peer, Upstream, answering, client_of, read_all, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sidecar.network.resolver import Addresses

pytestmark = pytest.mark.any_loop

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = client_context()
    authority.configure_trust(context)
    return context


def proving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.mark.parametrize("key", ["ca_file", "extra_ca_file"])
@pytest.mark.parametrize("named", ["issuing CA", "root", "server's own"])
async def test_a_certificate_that_a_file_names_is_trusted_whoever_signed_it(
    key: str, named: str, tmp_path: Path
) -> None:
    """A company hands out its issuing CA, not the root (X509_V_FLAG_PARTIAL_CHAIN)."""
    root = trustme.CA()
    issuing = root.create_child_ca()
    certificate = issuing.issue_cert("localhost")
    pem = {"issuing CA": issuing.cert_pem, "root": root.cert_pem, "server's own": certificate.cert_chain_pems[0]}
    pem[named].write_to_path(tmp_path / "ca.pem")
    trust = load_trust(replace(Tls(), **{key: tmp_path / "ca.pem"}), NOW.timestamp())
    async with serve(answering(OK), ssl_context=proving(certificate)) as upstream:
        async with client_of(upstream, ssl_context=trust.context) as client:
            await client.call()
    async with serve(answering(OK), ssl_context=proving(trustme.CA().issue_cert("localhost"))) as stranger:
        async with client_of(stranger, ssl_context=trust.context) as client:
            with pytest.raises(UpstreamError):
                await client.call()
        assert stranger.requests == []


async def test_an_absolute_name_is_resolved_with_its_dot_and_verified_without(authority: trustme.CA) -> None:
    server, asked = proving(authority.issue_cert("api.mangopay.test")), list[str | None]()
    server.sni_callback = lambda _, name, __: asked.append(name)

    async def resolve(host: str, port: int) -> Addresses:
        asked.append(host)
        return look_up("127.0.0.1", port, socket.AI_NUMERICHOST)

    async with serve(answering(OK), ssl_context=server) as upstream:
        upstream.address = "api.mangopay.test."
        async with client_of(upstream, ssl_context=trusting(authority), resolve=resolve) as client:
            await client.call()
    assert asked == ["api.mangopay.test.", "api.mangopay.test"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_calls_go_over_verified_tls(authority: trustme.CA, version: ssl.TLSVersion) -> None:
    server = proving(authority.issue_cert("localhost"))
    server.minimum_version = server.maximum_version = version
    async with serve(answering(OK), ssl_context=server) as upstream:
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            for _ in range(5):
                assert await client.call("POST", body=b"x" * 100_000) == OK[-12:]
            assert len(upstream.peers) == 1
            assert {len(request.body) for request in upstream.requests} == {100_000}


async def test_many_new_connections_at_once_are_all_usable(authority: trustme.CA) -> None:
    """A TLS 1.3 server sends session tickets after the handshake: they must not pass for a response, nor for an end."""
    async with serve(answering(OK), ssl_context=proving(authority.issue_cert("localhost"))) as upstream:
        async with client_of(upstream, ssl_context=trusting(authority), size=30) as client:
            await asyncio.gather(*(client.call("POST") for _ in range(30)))
            assert len(upstream.requests) == 30


async def test_only_http_1_1_is_offered(authority: trustme.CA) -> None:
    chosen: list[str | None] = []

    async def script(peer: Peer) -> None:
        assert peer._transport is not None
        chosen.append(peer._transport.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(OK)(peer)

    async with serve(script, ssl_context=proving(authority.issue_cert("localhost"))) as upstream:
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            await client.call()
    assert chosen == ["http/1.1"]


def other_name(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("api.mangopay.test")


def unknown_issuer(authority: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost")


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", not_before=NOW - 2 * DAY, not_after=NOW - DAY)


def not_yet_valid(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", not_before=NOW + 20_000 * DAY, not_after=NOW + 20_001 * DAY)


@pytest.mark.parametrize(
    ("issue", "words"),
    [
        (other_name, "another host name"),
        (unknown_issuer, "issuer is not trusted"),
        (expired, "has expired"),
        (not_yet_valid, "not valid yet"),
    ],
)
async def test_who_is_not_trusted_receives_not_one_byte(
    authority: trustme.CA, issue: Callable[[trustme.CA], trustme.LeafCert], words: str
) -> None:
    async with serve(answering(OK), ssl_context=proving(issue(authority))) as upstream:
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            with pytest.raises(UpstreamError) as caught:
                await client.ask("POST", body=b"{}")
            assert caught.value.failure == AttemptFailure(
                FailureKind.TLS, Sent.NOTHING, reused=False, response_started=False
            )
            assert words in caught.value.detail
            assert client.pool.open == 0
        assert upstream.requests == []
        assert b"".join(bytes(peer.received) for peer in upstream.peers) == b""


async def test_an_address_is_verified_too(authority: trustme.CA) -> None:
    async with serve(answering(OK), ssl_context=proving(authority.issue_cert("127.0.0.2"))) as upstream:
        upstream.address = "127.0.0.1"
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            with pytest.raises(UpstreamError) as caught:
                await client.call()
            assert "another IP address" in caught.value.detail


async def test_an_upstream_that_speaks_no_tls_receives_no_request(authority: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with serve(script) as upstream:
        upstream.scheme = "https"
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            with pytest.raises(UpstreamError) as caught:
                await client.ask("POST", body=b"canary")
            assert caught.value.failure.kind is FailureKind.TLS
            assert caught.value.detail == "TLS failed: wrong version number"
        assert b"canary" not in upstream.peers[0].received


async def test_a_connection_that_breaks_during_the_handshake_sends_nothing(authority: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        await peer.take(1)
        peer.reset()

    async with serve(script) as upstream:
        upstream.scheme = "https"
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            with pytest.raises(UpstreamError) as caught:
                await client.ask("POST")
            assert caught.value.failure == AttemptFailure(
                FailureKind.TLS, Sent.NOTHING, reused=False, response_started=False
            )
            assert client.pool.open == 0


async def test_a_handshake_that_hangs_ends_with_the_connect_timeout(authority: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async with serve(script) as upstream:
        upstream.scheme = "https"
        async with client_of(upstream, ssl_context=trusting(authority), connect_timeout=0.1) as client:
            with pytest.raises(UpstreamError) as caught:
                await client.ask("POST")
            assert caught.value.failure.kind is FailureKind.TLS
            assert caught.value.detail == "not done within 0.1 s"
            assert client.pool.open == 0
        await upstream.peers[0].ended.wait()


async def test_an_alert_about_our_certificate_is_named(authority: trustme.CA) -> None:
    """In TLS 1.3 it comes after the handshake, and so after the request: what was executed is not known."""
    server = proving(authority.issue_cert("localhost"))
    server.verify_mode = ssl.CERT_REQUIRED

    async def script(peer: Peer) -> None:
        """Shake hands by hand: asyncio's own server drops its last alert."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await peer.send(outgoing.read())
                incoming.write(await peer.take_some())
            except ssl.SSLError:
                await peer.send(outgoing.read())
                await peer.gone()
                return

    async with serve(script) as upstream:
        upstream.scheme, upstream.address = "https", "localhost"
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            connection = await client.acquire()
            with pytest.raises(UpstreamError) as caught:
                await client.ask("POST", connection=connection)
            assert caught.value.failure == AttemptFailure(
                FailureKind.LOST, Sent.ALL, reused=False, response_started=False
            )
            assert caught.value.detail == "TLS failed: tlsv13 alert certificate required"


async def test_a_body_that_tls_cuts_short_is_cut_short_here(authority: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-2])

    async with serve(script, ssl_context=proving(authority.issue_cert("localhost"))) as upstream:
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            response = await client.ask()
            assert await response.read() == OK[-12:-2]
            with pytest.raises(UpstreamError):
                await response.read()
            response.release()


async def test_what_a_slow_reader_leaves_does_not_pile_up_between_socket_and_reader(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that the reader takes something, no more may come off the socket than it takes."""
    most = 0

    class Spied(WatchedLayer):
        def data_received(self, data: bytes) -> None:
            nonlocal most
            super().data_received(data)
            most = max(most, self.layer._incoming.pending)

    monkeypatch.setattr(MADE_IN, Spied)
    size = 16_000_000

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 64_000):
            await peer.send(bytes(64_000))
        await peer.gone()

    async with serve(script, ssl_context=proving(authority.issue_cert("localhost"))) as upstream:
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            response = await client.ask()
            count = 0
            while piece := await response.read():
                count += len(piece)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            response.release()
            assert client.pool.idle == 1
    assert count == size
    assert most <= 262_144  # one look at the socket


async def test_an_idle_connection_that_upstream_closes_is_noticed(authority: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serve(script, ssl_context=proving(authority.issue_cert("localhost"))) as upstream:
        async with client_of(upstream, ssl_context=trusting(authority)) as client:
            for number in range(3):
                await client.call("POST")
                await upstream.peers[number].lost.wait()
            assert [request.connection for request in upstream.requests] == [0, 1, 2]


def test_the_context_takes_nothing_older_than_tls_1_2_and_verifies() -> None:
    context = client_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_session_keys_are_written_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Python's own default context honours this variable: whoever sets it could read every token."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert client_context().keylog_filename is None


class Cutting(asyncio.Protocol):
    """A TLS server on memory BIOs, so that a record of it can be sent in parts."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.requests: list[bytes] = []
        #: The records of each response.
        self.response: tuple[bytes, ...] = (OK,)
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if self._object.version() is None:
                self._object.do_handshake()
            self.requests.append(self._object.read(1 << 16))
            for record in self.response:
                self._object.write(record)
        except ssl.SSLWantReadError:
            pass
        self.transport.write(self._outgoing.read())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def say_unasked(self, size: int) -> None:
        """Send the first ``size`` bytes of a response's record."""
        self._object.write(OK)
        self.transport.write(self._outgoing.read()[:size])


@asynccontextmanager
async def cutting(authority: trustme.CA) -> AsyncIterator[tuple[Client, list[Cutting]]]:
    """Give a client of such a server, and the server's connections."""
    loop, made = asyncio.get_running_loop(), list[Cutting]()
    context = proving(authority.issue_cert("localhost"))

    def make() -> Cutting:
        made.append(Cutting(context))
        return made[-1]

    async with await loop.create_server(make, "127.0.0.1", 0) as server:
        there = Upstream(answering(OK))
        there.scheme, there.address, there.port = "https", "localhost", server.sockets[0].getsockname()[1]
        async with client_of(there, ssl_context=trusting(authority)) as client:
            yield client, made


async def test_a_record_behind_a_response_of_many_pieces_is_not_the_response_to_the_next_request(
    authority: trustme.CA,
) -> None:
    """Such a response is worked through in turns; TLS keeps what came behind it, and the loop hands that on later."""
    many = b"1\r\na\r\n" * 400 + b"0\r\n\r\n"
    async with cutting(authority) as (client, made):
        await client.call()
        made[0].response = (b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n", many, OK)
        response = await client.ask()
        assert await read_all(response) == b"a" * 400
        response.release()
        # Without a turn of the loop in between, as a call does that is resent after a 401.
        assert client.pool.take_idle(client.clock.now()) is None
        await made[0].lost.wait()


@pytest.mark.parametrize("size", [1, 4, 5, 6, 40])
async def test_a_part_of_a_record_that_nobody_asked_for_ends_a_connection_before_its_next_request(
    authority: trustme.CA, size: int
) -> None:
    """OpenSSL keeps such a part to itself: the rest of it would be the response to the next request."""
    async with cutting(authority) as (client, made):
        assert await client.call("POST", body=b"one") == OK[-12:]
        first = made[0]
        assert client.pool.idle == 1
        first.say_unasked(size)
        (connection,) = client.pool._idle
        while not connection.has_undelivered():
            await asyncio.sleep(0)
        assert await client.call("POST", body=b"two") == OK[-12:]
        assert len(made) == 2
        await first.lost.wait()
        assert len(first.requests) == 1


# --- what only OpenSSL's own server can be made to do ----------------------------------------------------------------


class Openssl:
    """``openssl s_server``, which takes commands on its standard input and shows what it gets on its output."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port
        self._seen = b""

    async def tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()

    async def shows(self, text: bytes) -> None:
        assert self._process.stdout is not None
        while text not in self._seen:
            more = await self._process.stdout.read(4096)
            assert more, f"{text!r} is not in {self._seen!r}"
            self._seen += more


@asynccontextmanager
async def openssl_server(authority: trustme.CA, folder: Path, version: str) -> AsyncIterator[Openssl]:
    if shutil.which("openssl") is None:
        assert "CI" not in os.environ
        pytest.skip("openssl is not installed")
    pem = folder / "server.pem"
    certificate = authority.issue_cert("localhost")
    pem.write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(pem), "-num_tickets", "0", version),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        server = Openssl(process, 0)
        await server.shows(b"ACCEPT 127.0.0.1:")
        await server.shows(b"\n")
        server.port = int(server._seen.partition(b"ACCEPT 127.0.0.1:")[2].split()[0])
        yield server
    finally:
        process.terminate()
        await process.communicate()


class Watched(WatchedLayer):
    """Tells of each read from the socket, also of one that holds nothing for the protocol above."""

    def __init__(self, above: asyncio.Protocol, context: ssl.SSLContext) -> None:
        super().__init__(above, context, "localhost")
        self.came = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.came.set()


class Heard(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = asyncio.Queue[bytes]()
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@asynccontextmanager
async def layer_over(authority: trustme.CA, port: int) -> AsyncIterator[tuple[Watched, Heard]]:
    above = Heard()
    layer = Watched(above, trusting(authority))
    await asyncio.get_running_loop().create_connection(lambda: layer, "127.0.0.1", port)
    await layer.opened()
    try:
        yield layer, above
    finally:
        layer.layer.abort()
        await above.lost


async def test_new_keys_are_agreed_on_in_the_middle(authority: trustme.CA, tmp_path: Path) -> None:
    async with openssl_server(authority, tmp_path, "-tls1_3") as server:
        async with layer_over(authority, server.port) as (layer, above):
            layer.came.clear()
            await server.tell(b"K")  # a key update, and one of ours is asked for
            await layer.came.wait()
            assert above.data.empty()
            await server.tell(b"under new keys")
            assert await above.data.get() == b"under new keys\n"
            layer.layer.write(b"so are we\n")
            await server.shows(b"so are we")


async def test_renegotiation_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    async with openssl_server(authority, tmp_path, "-tls1_2") as server:
        async with layer_over(authority, server.port) as (layer, above):
            layer.layer.write(b"hello\n")
            await server.shows(b"hello")
            await server.tell(b"r")
            await above.lost
            await server.shows(b"ERROR")
