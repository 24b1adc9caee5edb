"""What SIGHUP means: read keys again, or the terminal is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from sidecar import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.any_loop


class World:
    """Whether there is a controlling terminal, and what was called."""

    def __init__(self) -> None:
        self.terminal = True
        self.calls: list[str] = []
        self.called = asyncio.Event()

    def note(self, what: str) -> None:
        self.calls.append(what)
        self.called.set()

    async def reload_now(self) -> None:
        self.called.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        await self.called.wait()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr(terminal, "has_terminal", lambda: world.terminal)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield world
    signal.signal(signal.SIGHUP, before)


async def test_while_the_terminal_is_there_keys_are_read_again(world: World) -> None:
    with terminal.on_sighup(lambda: world.note("reload"), lambda: world.note("end")):
        await world.reload_now()
        await world.reload_now()
    assert world.calls == ["reload", "reload"]


async def test_a_terminal_that_is_gone_is_the_end_once(world: World) -> None:
    """A shell and the kernel each tell: a second signal would end the drain."""
    with terminal.on_sighup(lambda: world.note("reload"), lambda: world.note("end")):
        world.terminal = False
        await world.reload_now()
        os.kill(os.getpid(), signal.SIGHUP)
        received = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, received.set)
        os.kill(os.getpid(), signal.SIGUSR2)
        await received.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR2)
    assert world.calls == ["end"]


async def test_a_terminal_that_goes_just_after_the_signal_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_SECOND_LOOK", 0.0)
    with terminal.on_sighup(lambda: world.note("reload"), lambda: world.note("end")):
        await world.reload_now()
        world.called.clear()
        world.terminal = False
        await world.called.wait()
    assert world.calls == ["reload", "end"]


async def test_without_a_terminal_at_the_start_sighup_never_ends(world: World) -> None:
    world.terminal = False
    with terminal.on_sighup(lambda: world.note("reload"), lambda: world.note("end")):
        await world.reload_now()
    assert world.calls == ["reload"]


async def test_under_nohup_a_closed_terminal_is_no_end(world: World) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with terminal.on_sighup(lambda: world.note("reload"), lambda: world.note("end")):
        world.terminal = False
        await world.reload_now()
    assert world.calls == ["reload"]
