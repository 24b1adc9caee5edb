"""The proxy that one writes in an afternoon: what the threat suite is measured against. Never use it for anything.

It reads lines up to an empty one, splits them at the colon, reads lengths as
C's strtol does, joins the target to the base URL, and copies what comes back. Each of
these is a mistake that a published attack lives on.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Final

from yarl import URL

Header = tuple[str, str]
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NaiveProxy:
    """Forwards everything to ``base_url`` with a token."""

    def __init__(self, base_url: str, token: bytes) -> None:
        self._base_url: Final = base_url
        self._token: Final = token.decode()
        self._idle: dict[tuple[str | None, int | None], list[_Streams]] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free loopback port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=32 * 1024 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Whatever goes wrong: hang up, as a proxy of an afternoon does.
            with suppress(
                OSError, ValueError, EOFError, LookupError, TypeError, RuntimeError, asyncio.LimitOverrunError
            ):
                while request_line := await reader.readline():
                    if request_line.strip():
                        await self._forward(request_line.decode("latin-1").split(), reader, writer)
        finally:
            writer.close()

    async def _forward(self, words: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target = words[0], words[1]
        headers = await _headers(reader)
        body = await _body(headers, reader)
        url = URL(target) if "://" in target else URL(self._base_url + target)
        lines = [f"{method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.host}:{url.port}"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() not in {"host", "authorization"}]
        lines += [f"Authorization: Bearer {self._token}", "", ""]
        upstream = await self._connection(url)
        upstream[1].write("\r\n".join(lines).encode("latin-1") + body)
        status_line = (await upstream[0].readline()).decode("latin-1")
        response = await _headers(upstream[0])
        content = b""
        if method != "HEAD" and status_line.split()[1] not in {"204", "304"}:
            content = await _body(response, upstream[0], to_the_end=True)
        head = [status_line.strip(), *(f"{name}: {value}" for name, value in response), "", ""]
        writer.write("\r\n".join(head).encode("latin-1") + content)
        await writer.drain()
        self._idle.setdefault((url.host, url.port), []).append(upstream)

    async def _connection(self, url: URL) -> _Streams:
        idle = self._idle.get((url.host, url.port))
        if idle:
            return idle.pop()
        if url.host != "127.0.0.1":
            raise OSError("it would connect anywhere, but tests stay on this machine")
        streams = await asyncio.open_connection(url.host, url.port)
        self._writers.append(streams[1])
        return streams


async def _headers(reader: asyncio.StreamReader) -> list[Header]:
    headers: list[Header] = []
    while line := (await reader.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers.append((name.strip(), value.strip()))
    return headers


async def _body(headers: list[Header], reader: asyncio.StreamReader, *, to_the_end: bool = False) -> bytes:
    """Read a body; return it with its framing, ready to be copied."""
    fields = {name.lower(): value for name, value in headers}
    if "chunked" in fields.get("transfer-encoding", ""):
        body = b""
        while True:
            line = await reader.readline()
            chunk = await reader.readexactly(_number(line.decode("latin-1"), 16))
            body += line + chunk + await reader.readline()
            if not chunk:
                return body
    if "content-length" in fields:
        return await reader.readexactly(_number(fields["content-length"], 10))
    return await reader.read() if to_the_end else b""


def _number(text: str, base: int) -> int:
    """Read the longest prefix that is a number, as strtol(3) does."""
    match = re.match(r"\s*[+-]?(?:0[xX])?([0-9a-fA-F]*)" if base == 16 else r"\s*[+-]?([0-9]*)", text)
    return int(match[1] or "0", base) if match else 0
