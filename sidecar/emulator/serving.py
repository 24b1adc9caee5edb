"""An emulator that serves until it is told to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.emulator.server import Emulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sidecar.core.clock import Clock
    from sidecar.emulator.fault_rules import Rule


async def serve(
    host: str,
    port: int,
    faults: Iterable[Rule | str] = (),
    *,
    clock: Clock,
    ready: Callable[[int], None] = lambda port: None,
    until: Awaitable[object] | None = None,
    prepare: Callable[[Emulator], None] = lambda emulator: None,
) -> None:
    """Run an emulator until ``until`` is done or the caller is cancelled.

    ``prepare`` is given the emulator before it listens, ``ready`` is told the port.
    Raises OSError if the port cannot be had, ValueError if a fault's text is no rule.
    """
    emulator = Emulator(clock)
    for fault in faults:
        emulator.faults.add(fault)
    prepare(emulator)
    end = asyncio.get_running_loop().create_future() if until is None else asyncio.ensure_future(until)
    try:
        ready(await emulator.start(host, port))
        await end
    finally:
        end.cancel()
        await emulator.stop()
