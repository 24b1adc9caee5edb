"""Where the port listens: TCP on several addresses, and a Unix socket for some."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from sidecar.downstream import peer
from sidecar.downstream.addresses import ListenError
from sidecar.downstream.listener import Listeners
from tests.support.port_holder import held_by, in_use
from tests.support.ports import free_port
from tests.support.proxy_port import GET, chunked, serve, until
from tests.support.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse

pytestmark = pytest.mark.any_loop


class Goodbye(asyncio.Protocol):
    """Closes every connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _served(address: tuple[str, int] | Path) -> bool:
    with await RawClient.connect(address) as client:
        return await client.ending() == "end"


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    opened = Listeners("LISTEN")
    yield opened
    opened.close()


def _taken(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0))


def _has_ipv6() -> bool:
    try:
        _taken_v6().close()
    except OSError:
        return False
    return True


def _taken_v6() -> socket.socket:
    return socket.create_server(("::1", 0), family=socket.AF_INET6)


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1")


async def test_a_free_port_is_found_and_told(listeners: Listeners) -> None:
    await listeners.open_tcp(["127.0.0.1"], 0, Goodbye)
    (bound,) = listeners.bound
    assert bound.port
    assert bound.url == f"http://127.0.0.1:{bound.port}"
    assert bound.is_loopback
    assert await _served(("127.0.0.1", bound.port))


@needs_ipv6
async def test_both_families_share_one_free_port(listeners: Listeners) -> None:
    await listeners.open_tcp(["127.0.0.1", "::1"], 0, Goodbye)
    first, second = listeners.bound
    assert first.port is not None
    assert first.port == second.port
    assert second.url == f"http://[::1]:{first.port}"
    for host in ("127.0.0.1", "::1"):
        assert await _served((host, first.port))


@needs_ipv6
async def test_a_free_port_is_free_on_every_address(listeners: Listeners, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first number that the kernel offers is taken on the other address: another one is tried."""
    bind = socket.socket.bind
    with _taken_v6() as other:
        taken = other.getsockname()[1]
        offered = [taken]

        def offer(sock: socket.socket, address: tuple[str, int]) -> None:
            host, port = address
            bind(sock, (host, offered.pop() if port == 0 and offered else port))

        monkeypatch.setattr(socket.socket, "bind", offer)
        await listeners.open_tcp(["127.0.0.1", "::1"], 0, Goodbye)
    assert not offered
    assert {bound.port for bound in listeners.bound} != {taken}
    assert len({bound.port for bound in listeners.bound}) == 1


async def test_a_port_in_use_is_told_with_the_variable(listeners: Listeners) -> None:
    with _taken() as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            await listeners.open_tcp(["127.0.0.1"], port, Goodbye)
    assert str(caught.value) == f"{in_use(port)}: set SIDECAR_LISTEN_PORT"
    assert listeners.bound == []


async def test_the_variable_is_that_of_the_section() -> None:
    with _taken() as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match="set SIDECAR_ADMIN_PORT"):
            await Listeners("ADMIN").open_tcp(["127.0.0.1"], port, Goodbye)


async def test_an_address_of_another_machine_is_told(listeners: Listeners) -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1 is not one of this machine's: set SIDECAR_LISTEN_HOST"):
        await listeners.open_tcp(["127.0.0.1", "192.0.2.1"], 0, Goodbye)


async def test_a_name_that_cannot_be_resolved_is_told(listeners: Listeners, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ListenError, match=r"host no-such-host\.invalid cannot be resolved: set SIDECAR_LISTEN_HOST"):
        await listeners.open_tcp(["no-such-host.invalid"], 0, Goodbye)


@pytest.mark.parametrize(
    ("hosts", "served"),
    [
        (["0.0.0.0"], ["IPv4 only: name :: besides for IPv6"]),
        (["::"], ["IPv6 only: name 0.0.0.0 besides for IPv4"]),
        (["0.0.0.0", "::"], []),
        (["127.0.0.1"], []),
    ],
)
async def test_every_address_is_every_address_of_one_family(
    listeners: Listeners, hosts: list[str], served: list[str]
) -> None:
    port = free_port()  # of both families: nobody else answers in the one that is not listened on
    await listeners.open_tcp(hosts, port, Goodbye)
    assert [bound.one_family for bound in listeners.of_one_family] == served
    for here, family in (("127.0.0.1", "0.0.0.0"), ("::1", "::")):
        try:
            reached = await _served((here, port))
        except ConnectionRefusedError:
            reached = False
        assert reached == (family in hosts or here in hosts)


async def test_a_name_that_means_both_families_is_listened_on_in_both(listeners: Listeners) -> None:
    await listeners.open_tcp(["localhost", "127.0.0.1"], 0, Goodbye)
    hosts = [bound.url.rpartition(":")[0] for bound in listeners.bound]
    assert len(set(hosts)) == len(hosts)
    assert "http://127.0.0.1" in hosts


@pytest.mark.parametrize("missing", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_a_loopback_family_that_the_machine_lacks_is_passed_over(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    _without_ipv6(monkeypatch, missing)
    await listeners.open_tcp(["127.0.0.1", "::1"], 0, Goodbye)
    assert [bound.is_loopback for bound in listeners.bound] == [True]


async def test_a_machine_without_the_only_loopback_family_is_told(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_ipv6(monkeypatch, errno.EADDRNOTAVAIL)
    with pytest.raises(ListenError, match="address ::1 is not one of this machine's"):
        await listeners.open_tcp(["::1"], 0, Goodbye)


def _without_ipv6(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    bind = socket.socket.bind

    def refuse(sock: socket.socket, address: tuple[str, int]) -> None:
        if sock.family == socket.AF_INET6:
            raise OSError(code, os.strerror(code))
        bind(sock, address)

    monkeypatch.setattr(socket.socket, "bind", refuse)


async def test_every_address_is_told_apart_from_loopback(listeners: Listeners) -> None:
    await listeners.open_tcp(["0.0.0.0"], 0, Goodbye)
    assert [bound.is_loopback for bound in listeners.bound] == [False]


@needs_ipv6
async def test_every_address_of_both_families_can_be_listened_on_together(listeners: Listeners) -> None:
    await listeners.open_tcp(["::", "0.0.0.0"], 0, Goodbye)
    port = listeners.bound[0].port
    assert port is not None
    assert [bound.url for bound in listeners.bound] == [f"http://[::]:{port}", f"http://0.0.0.0:{port}"]
    for host in ("127.0.0.1", "::1"):
        assert await _served((host, port))


async def test_a_port_can_be_taken_again_at_once() -> None:
    port = free_port()
    first = Listeners("LISTEN")
    await first.open_tcp(["127.0.0.1"], port, Goodbye)
    assert await _served(("127.0.0.1", port))
    first.close()
    second = Listeners("LISTEN")
    await second.open_tcp(["127.0.0.1"], port, Goodbye)
    second.close()


# --- the Unix socket -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_the_socket_has_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "s"
    async with serve(unix_socket=path, unix_socket_mode=mode) as port:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert port.listeners.bound[0].url == f"unix:{path}"
        with await RawClient.connect(path) as client:
            await client.send(GET)
            assert (await client.response()).status == 200
    assert not path.exists()


async def test_nobody_else_gets_in_before_the_mode_is_set(
    tmp_path: Path, listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    modes: list[int] = []
    chmod = type(path).chmod

    def look(self: Path, mode: int) -> None:
        modes.append(stat.S_IMODE(self.stat().st_mode))
        chmod(self, mode)

    monkeypatch.setattr(type(path), "chmod", look)
    before = os.umask(0)
    try:
        await listeners.open_unix(path, 0o666, Goodbye)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert modes == [0o600]


async def test_a_stale_socket_is_replaced(tmp_path: Path, listeners: Listeners) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    await listeners.open_unix(path, 0o600, Goodbye)
    assert await _served(path)


async def test_a_live_socket_is_refused_and_left_alone(tmp_path: Path, listeners: Listeners) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        with pytest.raises(ListenError) as caught:
            await listeners.open_unix(path, 0o600, Goodbye)
        who = held_by() or "by a running process"
        assert str(caught.value) == f"{path} is served {who}: stop that, or set SIDECAR_LISTEN_UNIX_SOCKET"
        assert path.is_socket()


def _queued(path: Path, caller: socket.socket) -> bool:
    """Connect without waiting; return whether there was room for it."""
    caller.setblocking(False)
    try:
        caller.connect(str(path))
    except BlockingIOError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse a connection where the queue is full")
async def test_a_live_socket_whose_queue_is_full_is_left_alone_too(tmp_path: Path, listeners: Listeners) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as live, ExitStack() as waiting:
        live.bind(str(path))
        live.listen(0)
        while _queued(path, waiting.enter_context(socket.socket(socket.AF_UNIX))):
            pass
        with pytest.raises(ListenError, match="is served by a running process: stop that, or set SIDECAR_LISTEN_UNIX"):
            await listeners.open_unix(path, 0o600, Goodbye)
        assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
async def test_what_is_no_socket_is_refused_and_left_alone(tmp_path: Path, listeners: Listeners, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ListenError, match="is there and is not a socket"):
        await listeners.open_unix(path, 0o600, Goodbye)
    assert path.exists() or path.is_symlink()


@pytest.mark.parametrize(("name", "reason"), [("missing/s", "No such file"), ("x" * 120, "is longer than")])
async def test_a_path_that_cannot_be_used_is_told(tmp_path: Path, listeners: Listeners, name: str, reason: str) -> None:
    with pytest.raises(
        ListenError, match=rf"SIDECAR_LISTEN_UNIX_SOCKET.*{reason}|{reason}.*set SIDECAR_LISTEN_UNIX_SOCKET"
    ):
        await listeners.open_unix(tmp_path / name, 0o600, Goodbye)


async def test_a_socket_that_another_process_replaced_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listeners = Listeners("LISTEN")
    await listeners.open_unix(path, 0o600, Goodbye)
    path.rename(tmp_path / "old")  # keeps the inode from being used again
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listeners.close()
        assert path.is_socket()


async def test_the_handler_can_tell_the_unix_socket(tmp_path: Path) -> None:
    told: list[bool] = []

    async with serve(unix_socket=tmp_path / "s") as port:
        echo = port.server.handler

        async def handler(request: CallerRequest) -> CallerResponse:
            told.append(request.connection.writer.on_unix_socket)
            return await echo(request)

        port.server.handler = handler
        with await RawClient.connect(tmp_path / "s") as client:
            await client.send(GET)
            await client.response()
    assert told == [True]


async def test_a_user_on_the_list_is_served(tmp_path: Path) -> None:
    async with serve(unix_socket=tmp_path / "s", allowed_uids=frozenset({os.getuid(), 4321})):
        with await RawClient.connect(tmp_path / "s") as client:
            await client.send(GET)
            assert (await client.response()).status == 200


async def test_a_user_who_is_not_on_the_list_gets_403(tmp_path: Path) -> None:
    async with serve(unix_socket=tmp_path / "s", allowed_uids=frozenset({os.getuid() + 1})) as port:
        with await RawClient.connect(tmp_path / "s") as client:
            await client.send(GET)
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Error")) == (403, b"caller_not_allowed")
            assert await client.ending() == "end"
        assert port.seen == []


async def test_the_overflow_uid_is_refused_though_it_is_on_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "overflow_uid", os.getuid)
    async with serve(unix_socket=tmp_path / "s", allowed_uids=frozenset({os.getuid()})):
        with await RawClient.connect(tmp_path / "s") as client:
            await client.send(GET)
            assert (await client.response()).status == 403


async def test_a_peer_that_cannot_be_told_is_refused() -> None:
    assert not peer.uid_allowed(None, frozenset({0, os.getuid()}))
    with socket.socket() as unconnected:
        unconnected.close()
        assert peer.peer_uid(unconnected) is None


async def test_a_caller_that_leaves_the_unix_socket_is_noticed(tmp_path: Path) -> None:
    async with serve(unix_socket=tmp_path / "s") as port:
        with await RawClient.connect(tmp_path / "s") as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n")
            await until(lambda: len(port.server.busy) == 1)
        await until(lambda: not port.server.busy)


async def test_a_cut_response_on_the_unix_socket_ends_without_its_last_chunk(tmp_path: Path) -> None:
    from sidecar.downstream.response import AlreadySent, ResponseStream

    async with serve(unix_socket=tmp_path / "s") as port:

        async def handler(request: CallerRequest) -> CallerResponse:
            ResponseStream(request.connection.writer, chunked=True).start(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"part"
            )
            return AlreadySent(keep_alive=True)

        port.server.handler = handler
        with await RawClient.connect(tmp_path / "s") as client:
            await client.send(GET)
            with pytest.raises((EOFError, ConnectionResetError)):
                await client.response()
