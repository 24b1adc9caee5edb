"""A Mangopay that answers token calls, and to all others does what the path says; over TLS, as the real one."""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TOKEN: Final = b'{"access_token": "memory", "token_type": "Bearer", "expires_in": 3600}'
#: Bytes of a response head that is just below the limit.
_LARGE_HEAD: Final = b"".join(b"X-%02d: %b\r\n" % (number, b"a" * 1000) for number in range(60))
_PIECE: Final = b"y" * 65_536


def _whole(body: bytes, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (
        head,
        len(body),
        body,
    )


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            what = head.split(b" ", 2)[1].split(b"?")[0].rpartition(b"/")[2]
            if what == b"deaf":  # the rest of the request is never read
                await asyncio.sleep(3600)
            lowered = head.lower()
            if b"content-length: " in lowered:
                length = int(lowered.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while length:
                    length -= len(await reader.read(min(length, 65_536)))
            if what == b"token":
                writer.write(_whole(_TOKEN))
            elif what == b"silent":
                await asyncio.sleep(3600)
            elif what.startswith(b"body"):
                writer.write(_whole(b"x" * int(what[4:])))
            elif what == b"head":
                writer.write(_whole(b"x" * 1000, _LARGE_HEAD))
            elif what == b"half-a-head":
                writer.write(b"HTTP/1.1 200 OK\r\n" + _LARGE_HEAD)
                await asyncio.sleep(3600)
            elif what == b"half-a-body":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64000\r\n\r\n" + b"x" * 63_000)
                await asyncio.sleep(3600)
            elif what == b"endless":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
                while not reader.at_eof():
                    writer.write(_PIECE)
                    await writer.drain()
                    await asyncio.sleep(0)  # else nobody is told that the connection is lost
            else:
                writer.write(_whole(b"{}"))
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


@contextmanager
def serving(directory: Path) -> Iterator[tuple[str, Path]]:
    """Serve in a thread; give the base URL and the file of the CA that signed its certificate."""
    authority = trustme.CA()
    file = directory / "ca.pem"
    authority.cert_pem.write_to_path(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    started: queue.Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        served: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            served[task] = writer
            try:
                await _answer(reader, writer)
            finally:
                del served[task]

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context, limit=1 << 20, backlog=1024)
        enough = asyncio.Event()
        started.put((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), enough))
        await enough.wait()
        server.close()
        tasks = list(served)
        for writer in served.values():
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.2)  # until the aborted connections are closed

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="upstream", daemon=True)
    thread.start()
    port, loop, enough = started.get(timeout=10)
    try:
        yield f"https://127.0.0.1:{port}", file
    finally:
        loop.call_soon_threadsafe(enough.set)
        thread.join(10)
