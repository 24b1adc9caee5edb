"""The relay that makes loopback as slow as a network."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from benchmarks.children import free_port
from benchmarks.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back, and the end after the end."""
    while piece := await reader.read(10_000):
        writer.write(piece)
        await writer.drain()
    writer.close()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as soon as somebody listens."""
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0)


@asynccontextmanager
async def relayed(round_trip: float) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = free_port()
    relay = asyncio.ensure_future(Relay(server.sockets[0].getsockname()[1], round_trip).serve(port))
    reader, writer = await connected(port)
    try:
        yield reader, writer
    finally:
        writer.close()
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def test_bytes_arrive_whole_and_in_order_and_the_end_after_them() -> None:
    sent = os.urandom(1_000_000)
    async with relayed(0.01) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        assert await reader.read(-1) == sent


async def test_the_first_response_takes_two_round_trips_and_each_further_one_takes_one() -> None:
    loop = asyncio.get_running_loop()
    async with relayed(0.05) as (reader, writer):
        took = []
        for _ in range(2):
            begun = loop.time()
            writer.write(b"x")
            await reader.readexactly(1)
            took.append(loop.time() - begun)
    # What a relay must not do is be faster; how much slower it is depends on the machine.
    assert took[0] >= 0.09, "the handshake that no relay can delay, and the call"
    assert took[1] >= 0.05
