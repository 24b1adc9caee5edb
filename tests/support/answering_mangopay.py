"""A Mangopay of two responses, one to token requests and one to all others, which counts what reaches it."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from tests.support.canary import CANARY_TOKEN

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

TOKEN: Final = f'{{"access_token": "{CANARY_TOKEN}-1", "token_type": "bearer", "expires_in": 1200}}'


def response(status: int, body: str = "{}", *lines: str, clock: int = 0) -> bytes:
    """Write a response; its ``Date`` will be ``clock`` seconds from the moment at which it is sent."""
    fields = (f"HTTP/1.1 {status} Words", f"Date: now {clock:+}", f"Content-Length: {len(body)}", *lines)
    return "\r\n".join((*fields, "", body)).encode()


def _dated(template: bytes) -> bytes:
    def date(found: re.Match[bytes]) -> bytes:
        moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=int(found[1]))
        return b"Date: " + format_datetime(moment, usegmt=True).encode()

    return re.sub(rb"Date: now ([+-][0-9]+)", date, template, count=1)


@dataclass
class AnsweringMangopay:
    """Answers; an empty response is a connection closed without one."""

    token: bytes = field(default_factory=lambda: response(200, TOKEN))
    api: bytes = field(default_factory=lambda: response(200))
    #: To reading back, by whatever key.
    stored: bytes = field(default_factory=lambda: response(400, '{"Type": "correlationid_not_found"}'))
    #: Accept connections, and then say nothing.
    silent: bool = False
    #: Token requests are answered once this is set; None: at once.
    gate: asyncio.Event | None = None
    port: int = 0
    #: The head of every request.
    heads: list[bytes] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def tokens_asked(self) -> int:
        return sum(b"/oauth/token " in head for head in self.heads)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.silent:
                await reader.read()
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if head.startswith(b"POST "):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        is_for_token = b"/oauth/token " in head
        if is_for_token and self.gate is not None:
            await self.gate.wait()
        said = self.token if is_for_token else self.stored if b"/responses/" in head else self.api
        if not said:
            raise ConnectionAbortedError
        writer.write(_dated(said))
        await writer.drain()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def answering(mangopay: AnsweringMangopay, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on loopback; give the base URL."""
    server = await asyncio.start_server(mangopay.serve, "127.0.0.1", 0, ssl=context)
    mangopay.port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{mangopay.port}"
    finally:
        server.close()
        await mangopay.stop()
        await server.wait_closed()
