"""Calls hooks, one after another, as they become due."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.emulator.loopback import is_loopback_name
from sidecar.emulator.moving import first

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.emulator.hooks import Delivery, Outbox
    from sidecar.emulator.state import State

#: The longest status line that is read, in bytes.
_LONGEST_LINE: Final = 8_192


class Courier:
    """Carries out what an :class:`~sidecar.emulator.hooks.Outbox` plans."""

    def __init__(self, outbox: Outbox, state: State, clock: Clock) -> None:
        self._outbox = outbox
        self._state = state
        self._clock = clock
        self._wake = asyncio.Event()
        self._task: asyncio.Future[None] | None = None
        outbox.changed = self._wake.set

    def start(self) -> None:
        """Begin to call hooks, on the running event loop."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Call no more, and break off a call that runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            delivery = self._outbox.take()
            if delivery is None:
                await self._rest()
            else:
                self._outbox.finish(delivery, await self._deliver(delivery))

    async def _rest(self) -> None:
        """Wait until something is due, or there is one more."""
        self._wake.clear()
        due = self._outbox.next_due()
        if due is None:
            await self._wake.wait()
        else:
            await first(self._clock.sleep_until(due), self._wake.wait())

    async def _deliver(self, delivery: Delivery) -> str | None:
        """Call a hook; return what was wrong, or None."""
        seconds = self._state.settings.hook_timeout
        call = asyncio.ensure_future(_call(delivery))
        try:
            if await first(_ended(call), self._clock.sleep_until(self._clock.now() + seconds)):
                return f"no response within {seconds:g} s"
            status = call.result()
        except (OSError, ValueError) as error:
            return str(error) or type(error).__name__
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        return None if status == 200 else f"status {status}"


async def _ended(call: asyncio.Future[int]) -> None:
    await asyncio.wait([call])


async def _call(delivery: Delivery) -> int:
    """Return the status of the response to a hook's GET; raises OSError or ValueError if there is none."""
    target = delivery.target
    host, port = target.hostname or "", target.port or 80
    # A name that stands for this machine is not looked up.
    address = "127.0.0.1" if is_loopback_name(host) and not _is_address(host) else host
    reader, writer = await asyncio.open_connection(address, port, limit=_LONGEST_LINE)
    try:
        path = f"{target.path or '/'}?{target.query}"
        head = f"GET {path} HTTP/1.1\r\nHost: {target.netloc.rpartition('@')[2]}\r\nAccept: */*\r\n"
        writer.write(f"{head}User-Agent: Mangopay-emulator\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return _status(await reader.readline())
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdecimal()


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(code) != 3 or not code.isdigit():
        raise ValueError("no HTTP response")
    return int(code)
