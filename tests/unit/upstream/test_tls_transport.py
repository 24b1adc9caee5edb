"""The TLS layer between a plain transport and a connection: nothing in clear, nothing before its turn, nothing lost."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.upstream.tls_transport import TlsLayer
from sidecar.upstream.trust import client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AUTHORITY = trustme.CA()
_LEAF = AUTHORITY.issue_cert("localhost")


class Above(asyncio.Protocol):
    """The protocol above; writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.data = b""
        self.lost: Exception | None = None
        self.on_data: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.heard.append("made")

    def data_received(self, data: bytes) -> None:
        if self.heard[-1] != "data":
            self.heard.append("data")
        self.data += data
        self.on_data()

    def eof_received(self) -> None:
        self.heard.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append("lost")
        self.lost = exc


class Wire(asyncio.Transport):
    """A plain transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closing = False
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closing
        self.sent += data

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Upstream:
    """The other side, and the layer under test, without a socket in between."""

    def __init__(
        self,
        *,
        trusted: trustme.CA = AUTHORITY,
        name: str = "localhost",
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _LEAF.configure_cert(server)
        server.minimum_version = server.maximum_version = version
        context = client_context(system_store=False)
        trusted.configure_trust(context)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = server.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.above = Above()
        self.wire = Wire()
        self.layer = TlsLayer(self.above, context, name)
        self.layer.connection_made(self.wire)

    def shake_hands(self, cut: Callable[[bytes], Iterable[bytes]] = lambda data: (data,)) -> None:
        """Let both sides speak until neither has more to say."""
        done = False
        while self.wire.sent or self._outgoing.pending:
            self._incoming.write(self.wire.take())
            if not done:
                try:
                    self.object.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
            for piece in cut(self._outgoing.read()):
                self.layer.data_received(piece)

    def records(self, *pieces: bytes) -> bytes:
        """Return what the other side sends for these pieces: at least a record for each."""
        for piece in pieces:
            self.object.write(piece)
        return self._outgoing.read()

    def received(self) -> bytes:
        """Return what the other side has got since it was last asked."""
        self._incoming.write(self.wire.take())
        data = b""
        try:
            while piece := self.object.read(1 << 20):
                data += piece
        except ssl.SSLWantReadError:
            pass
        return data

    def say_goodbye(self) -> bytes:
        """Return a close_notify."""
        with pytest.raises(ssl.SSLWantReadError):
            self.object.unwrap()
        return self._outgoing.read()


def ends_of_records(data: bytes) -> set[int]:
    """Return where a record ends in ``data``, and 0."""
    ends = {end := 0}
    while end < len(data):
        end += 5 + int.from_bytes(data[end + 3 : end + 5])
        ends.add(end)
    return ends


@pytest.fixture
async def upstream() -> Upstream:
    here = Upstream()
    here.shake_hands()
    return here


async def test_a_verified_connection_is_made_once_and_carries_both_ways(upstream: Upstream) -> None:
    await upstream.layer.opened()
    assert upstream.above.heard == ["made"]
    upstream.layer.write(b"request")
    assert b"request" not in upstream.wire.sent
    assert upstream.received() == b"request"
    upstream.layer.data_received(upstream.records(b"answer"))
    assert upstream.above.data == b"answer"


@settings(max_examples=30)
@given(st.lists(st.integers(1, 900), min_size=1), st.lists(st.binary(min_size=1, max_size=20_000), max_size=4))
def test_it_does_not_matter_how_the_bytes_are_cut(sizes: list[int], pieces: list[bytes]) -> None:
    def cut(data: bytes) -> Iterable[bytes]:
        number = 0
        while data:
            size = sizes[number % len(sizes)]
            yield data[:size]
            data, number = data[size:], number + 1

    async def run() -> None:
        here = Upstream()
        here.shake_hands(cut)
        await here.layer.opened()
        sent, position = here.records(*pieces), 0
        ends = ends_of_records(sent)
        for piece in cut(sent):
            here.layer.data_received(piece)
            position += len(piece)
            assert here.layer.has_undelivered == (position not in ends)
        assert here.above.data == b"".join(pieces)

    asyncio.run(run())


@pytest.mark.parametrize("end", [False, True])
async def test_what_was_kept_while_the_protocol_paused_is_undelivered_until_the_loop_has_delivered_it(
    upstream: Upstream, end: bool
) -> None:
    undelivered = []
    upstream.layer.pause_reading()
    undelivered.append(upstream.layer.has_undelivered)
    upstream.layer.data_received(upstream.say_goodbye() if end else upstream.records(b"kept"))
    undelivered.append(upstream.layer.has_undelivered)
    upstream.layer.resume_reading()
    undelivered.append(upstream.layer.has_undelivered)
    await asyncio.sleep(0)
    undelivered.append(upstream.layer.has_undelivered and not upstream.wire.closing)
    assert undelivered == [False, True, True, False]
    assert (upstream.above.data, upstream.wire.closing) == (b"" if end else b"kept", end)


async def test_an_end_that_came_while_the_protocol_paused_is_undelivered_too(upstream: Upstream) -> None:
    upstream.layer.pause_reading()
    upstream.layer.eof_received()
    assert upstream.layer.has_undelivered


async def test_a_large_write_goes_out_whole_and_a_memoryview_too(upstream: Upstream) -> None:
    body = bytes(range(256)) * 8192
    upstream.layer.write(memoryview(body))
    upstream.layer.writelines([b"a", b"b"])
    assert upstream.received() == body + b"ab"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("wrong", ["issuer", "name"])
async def test_who_is_not_trusted_is_told_so_and_nobody_above_hears_of_it(version: ssl.TLSVersion, wrong: str) -> None:
    if wrong == "issuer":
        here = Upstream(trusted=trustme.CA(), version=version)
    else:
        here = Upstream(name="api.mangopay.test", version=version)
    with pytest.raises(ssl.SSLError, match="ALERT"):
        here.shake_hands()
    with pytest.raises(ssl.SSLCertVerificationError):
        await here.layer.opened()
    assert here.wire.closing
    here.layer.connection_lost(None)
    assert here.above.heard == []


async def test_the_end_comes_behind_what_was_sent_before_it(upstream: Upstream) -> None:
    upstream.layer.data_received(upstream.records(b"last", b"words") + upstream.say_goodbye())
    assert (upstream.above.heard, upstream.above.data) == (["made", "data", "eof"], b"lastwords")
    assert upstream.wire.closing


async def test_an_end_without_a_goodbye_is_an_end(upstream: Upstream) -> None:
    upstream.layer.data_received(upstream.records(b"words")[:-1])
    assert upstream.above.data == b""
    assert upstream.layer.eof_received()
    assert upstream.above.heard == ["made", "eof"]
    assert upstream.wire.closing
    upstream.layer.connection_lost(None)
    assert (upstream.above.heard, upstream.above.lost) == (["made", "eof", "lost"], None)


@pytest.mark.parametrize("goodbye", [True, False])
async def test_nothing_is_delivered_while_paused_and_nothing_is_lost_by_it(upstream: Upstream, goodbye: bool) -> None:
    above, layer = upstream.above, upstream.layer
    above.on_data = layer.pause_reading
    layer.data_received(upstream.records(b"a", b"b", b"c") + (upstream.say_goodbye() if goodbye else b""))
    assert (above.data, upstream.wire.reading) == (b"a", False)
    if not goodbye:
        layer.eof_received()
    assert "eof" not in above.heard
    for expected in (b"ab", b"abc"):
        layer.resume_reading()
        await asyncio.sleep(0)
        assert (above.data, upstream.wire.reading) == (expected, False)
    above.on_data = lambda: None
    layer.resume_reading()
    await asyncio.sleep(0)
    assert above.heard == ["made", "data", "eof"]


async def test_the_socket_is_read_again_when_nothing_is_kept_any_more(upstream: Upstream) -> None:
    """Else each pause would add a read of the socket to what is kept, and take one piece off it."""
    layer = upstream.layer
    upstream.above.on_data = layer.pause_reading
    layer.data_received(upstream.records(b"a", b"b"))
    upstream.above.on_data = lambda: None
    layer.resume_reading()
    assert not upstream.wire.reading
    await asyncio.sleep(0)
    assert (upstream.above.data, upstream.wire.reading) == (b"ab", True)


async def test_nothing_is_delivered_once_the_protocol_above_has_closed(upstream: Upstream) -> None:
    upstream.above.on_data = upstream.layer.abort
    upstream.layer.data_received(upstream.records(b"a", b"b"))
    assert upstream.above.data == b"a"
    upstream.layer.connection_lost(None)
    assert upstream.above.heard == ["made", "data", "lost"]
    upstream.layer.write(b"into the void")
    upstream.layer.resume_reading()
    assert upstream.layer.is_closing()


async def test_a_record_that_was_tampered_with_ends_the_connection(upstream: Upstream) -> None:
    record = bytearray(upstream.records(b"answer"))
    record[-1] ^= 1
    upstream.layer.data_received(bytes(record))
    assert upstream.wire.closing
    upstream.layer.connection_lost(None)
    assert upstream.above.heard == ["made", "lost"]
    assert isinstance(upstream.above.lost, ssl.SSLError)
    with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
        upstream.received()


async def test_bytes_that_are_no_tls_end_the_connection(upstream: Upstream) -> None:
    upstream.layer.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    upstream.layer.connection_lost(None)
    assert (upstream.above.data, upstream.above.heard) == (b"", ["made", "lost"])


async def test_a_server_that_closes_within_the_handshake_is_a_failure() -> None:
    here = Upstream()
    assert here.layer.eof_received()
    with pytest.raises(ConnectionResetError):
        await here.layer.opened()
    assert here.wire.closing


async def test_whoever_gives_up_waiting_for_the_handshake_leaves_no_connection() -> None:
    here = Upstream()
    waiting = asyncio.ensure_future(here.layer.opened())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert here.wire.closing
    here.layer.connection_lost(None)
    assert here.above.heard == []


@pytest.mark.parametrize("end", [False, True])
async def test_a_handshake_that_nobody_waits_for_any_more_does_not_go_on(end: bool) -> None:
    """Its bytes may be read in the very moment in which whoever dialed gives up."""
    here = Upstream()
    waiting = asyncio.ensure_future(here.layer.opened())
    await asyncio.sleep(0)
    waiting.cancel()
    here.shake_hands()
    if end:
        here.layer.eof_received()
    assert here.above.heard == []
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert here.wire.closing
    here.layer.connection_lost(None)
    assert here.above.heard == []
