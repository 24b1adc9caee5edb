"""What one operation of the Redis store costs a server and a sidecar: CPU, bytes on the wire, memory of a connection.

``python -m benchmarks.store_costs``. A real server, without TLS and with it, and the least user that the store needs.
The server's CPU is its own count (INFO cpu: user and system), so what its network costs is part of it; the sidecar's
is this process's, which does nothing else. docs/scale.md makes an estimate for a fleet from these figures.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import Fetched
from sidecar.core.tokens.shared_document import SharedDocument, document_name, entry_name, write_document
from sidecar.core.tokens.shared_token import LEASE, ClaimRequest, Grant, claim, conclude
from sidecar.tokens.stores.redis import RedisBackend
from sidecar.tokens.stores.sealing import Encrypted, token_context
from tests.support.canary import CANARY_API_KEY
from tests.support.redis_server import RedisServer, Tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NAME: Final = document_name("acme", "https://api.mangopay.com")
#: Characters of an access token, as the emulator gives it.
TOKEN: Final = 64
OPERATIONS: Final = 3000
CONNECTIONS: Final = 500
#: Connections opened at the same time: this measures what each costs, not how many fit.
AT_ONCE: Final = 10


@dataclass(frozen=True)
class Totals:
    """What was used up to some moment: seconds of CPU, bytes on the wire, bytes of memory."""

    server: float
    sidecar: float
    received: int
    sent: int
    used: int
    resident: int


def totals(server: RedisServer) -> Totals:
    """Ask the server what it has used so far."""
    with server.admin() as admin:
        info: dict[str, Any] = admin.info()
    return Totals(
        info["used_cpu_sys"] + info["used_cpu_user"],
        time.process_time(),
        info["total_net_input_bytes"],
        info["total_net_output_bytes"],
        info["used_memory"],
        info["used_memory_rss"],
    )


def document() -> bytes:
    """Return a document with one token, as a store holds it while nobody fetches."""
    key, sealing = Secret(CANARY_API_KEY), Encrypted()
    part = entry_name(NAME, "api", key)
    granted, grant = claim(
        SharedDocument(), ClaimRequest(part, "", "0123456789abcdef"), 1.8e9, LEASE, "0123456789abcdef"
    )
    assert isinstance(grant, Grant)

    def seal(value: Secret, generation: int, sent_at: float, expires_at: float) -> Secret:
        return sealing.seal(key, token_context(NAME, "api", generation, sent_at, expires_at), value)

    fetched = Fetched(Secret("t" * TOKEN), 3600.0, 1.8e9)
    return write_document(conclude(granted, grant, fetched, 1.8e9 + 0.2, 0.5, seal)[0])


async def measured(name: str, server: RedisServer, count: int, work: Callable[[], Awaitable[object]]) -> None:
    """Print what one of ``count`` operations cost, all of which ``work`` does."""
    before = totals(server)
    await work()
    after = totals(server)
    micro = 1e6 / count
    # Asking for the totals is one connection and one INFO; it shows only where there are few operations.
    print(
        f"{name:<44}{(after.server - before.server) * micro:>8.0f}{(after.sidecar - before.sidecar) * micro:>9.0f}"
        f"{(after.received - before.received) / count:>8.0f}{(after.sent - before.sent) / count:>8.0f}",
        flush=True,
    )


async def measure(title: str, server: RedisServer) -> None:
    """Measure each operation against ``server``."""
    content = document()
    print(f"\n{title}; a document of {len(content)} bytes\n{'':<44}{'server':>8}{'sidecar':>9}{'in':>8}{'out':>8}")
    async with AsyncExitStack() as stack:
        backend = RedisBackend(server.secret_url)
        stack.push_async_callback(backend.close)
        found = (await backend.read(NAME)).content
        await backend.swap(NAME, found, content, 3600)

        async def look() -> None:
            for _ in range(OPERATIONS):
                await backend.read(NAME)

        async def swap() -> None:
            for _ in range(OPERATIONS):
                await backend.swap(NAME, content, content, 3600)

        await measured("look (GETRANGE, TIME)", server, OPERATIONS, look)
        await measured("change (EVALSHA)", server, OPERATIONS, swap)

        room = asyncio.Semaphore(AT_ONCE)

        async def start() -> None:
            async with room:
                one = RedisBackend(server.secret_url)
                stack.push_async_callback(one.close)
                await one.read(NAME)

        async def start_all() -> None:
            await asyncio.gather(*(start() for _ in range(CONNECTIONS)))

        before = totals(server)
        await measured("connect, AUTH, look", server, CONNECTIONS, start_all)
        after = totals(server)
        used, resident = (after.used - before.used) / CONNECTIONS, (after.resident - before.resident) / CONNECTIONS
        print(f"an open connection: {used / 1000:.1f} kB of the server's data, {resident / 1000:.1f} kB resident")


async def run() -> None:
    """Measure without TLS and with it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        user = ("mangopay-sidecar", "a-password")
        with RedisServer(directory / "plain", user=user) as server:
            with server.admin() as admin:
                print(f"Redis {admin.info()['redis_version']}; µs of CPU and bytes on the wire, for each")
            await measure("plain TCP", server)
        with RedisServer(directory / "secure", tls=Tls.issue(directory), user=user) as server:
            await measure("TLS", server)


if __name__ == "__main__":
    uvloop.run(run())
    sys.exit(0)
