"""Calls in threads: what becomes of one whose caller is gone."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from sidecar.threads import DaemonThreads


async def test_a_failure_that_nobody_waits_for_is_no_event() -> None:
    """asyncio would log it as never retrieved, long after it was given up."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    go_on = threading.Event()

    def fails() -> None:
        go_on.wait(20)
        raise OSError("a name server is gone")

    outcome = DaemonThreads("test", 1).start(fails)
    go_on.set()
    while not outcome.done():
        await asyncio.sleep(0.001)
    del outcome
    gc.collect()
    assert told == []


async def test_who_waits_gets_the_failure() -> None:
    def fails() -> None:
        raise OSError("a name server is gone")

    with pytest.raises(OSError, match="name server"):
        await DaemonThreads("test", 1).run(fails)
