"""The sidecar around a running command: what ``wrap`` does once its child is forked."""

from __future__ import annotations

import asyncio
import signal
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from sidecar.app import Sidecar
from sidecar.cli.command import CommandError
from sidecar.cli.emulated import running_emulator
from sidecar.cli.process import leave_soon, run_loop
from sidecar.lifecycle import Lifecycle, StartError
from sidecar.patience import AttendedClock
from sidecar.runtime import SystemClock
from sidecar.telemetry.log import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from sidecar.cli.child import Child
    from sidecar.config import Config
    from sidecar.telemetry.log_output import LogOutput

T = TypeVar("T")

#: Seconds between two looks at the readiness, which cost some microseconds each.
_LOOK: Final = 0.02
#: Seconds to drain in front of an emulator: calls that it was told to leave hanging move no money.
_DRAIN_OF_EMULATED: Final = 0.5


class Wrapping(NamedTuple):
    """What is served around the command."""

    #: Read once: it may have come through a pipe.
    config: Config
    #: Reads it anew, leading to the emulator at this URL (if ``emulated``).
    load: Callable[[str], Config]
    #: There is an emulator, which lives as long as the sidecar.
    emulated: bool
    #: Where one of these ports is in use, a free one is taken.
    unset_ports: AbstractSet[str]
    log_level: str
    log_format: str


def run(wrapping: Wrapping, child: Child, timeout: float) -> int:
    """Serve until ``child`` has ended, and drain; return its exit status.

    Raises CommandError if the sidecar could not start, or was not ready within ``timeout`` seconds.
    """
    child.hold_signals()
    output = configure_logging(wrapping.log_level, wrapping.log_format, SystemClock())
    try:
        return run_loop(_run(wrapping, child, timeout, output))
    except StartError as error:
        raise CommandError(str(error)) from None
    finally:
        output.close()


async def _run(wrapping: Wrapping, child: Child, timeout: float, output: LogOutput) -> int:
    output.attach(asyncio.get_running_loop())
    async with running_emulator() if wrapping.emulated else nullcontext("") as upstream:
        return await _serve(wrapping, child, timeout, output, upstream)


async def _serve(wrapping: Wrapping, child: Child, timeout: float, output: LogOutput, upstream: str) -> int:
    loop, clock = asyncio.get_running_loop(), SystemClock()
    config = wrapping.load(upstream) if wrapping.emulated else wrapping.config
    ended: asyncio.Future[int] = loop.create_future()

    def leave(_: int) -> None:
        if ended.done():  # its status is ours
            leave_soon(ended.result())

    drain = min(config.shutdown.drain, _DRAIN_OF_EMULATED) if wrapping.emulated else config.shutdown.drain
    # No delay: when the command has ended there is nobody to be served meanwhile.
    lifecycle = Lifecycle(clock, delay=0.0, drain=drain, leave=leave)

    def on_end(status: int) -> None:
        ended.set_result(status)
        # This signal begins the shutdown, as SIGTERM does for ``run``; one that follows ends it at once.
        lifecycle.receive(signal.SIGCHLD)

    child.watch(_on_loop(loop, on_end), _on_loop(loop, lifecycle.receive))
    sidecar = Sidecar(
        config,
        log=output,
        lifecycle=lifecycle,
        clock=clock,
        read_config=partial(wrapping.load, upstream),
        unset_ports=wrapping.unset_ports,
        own_emulator=wrapping.emulated,
    )
    try:
        base_url = (await sidecar.start()).local_proxy
        lifecycle.started()
        attended = AttendedClock(clock)
        deadline = attended.now() + timeout
        while not (state := sidecar.readiness()).ready and not ended.done():
            if attended.now() >= deadline:
                message = f"the sidecar was not ready within {timeout:g} s ({state.message}): the log tells more"
                raise CommandError(message)
            await clock.sleep_until(clock.now() + _LOOK)
        child.start(base_url, upstream)
        status = await ended
        await lifecycle.run(sidecar)
        return status
    finally:
        await sidecar.close()


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[T], None]) -> Callable[[T], None]:
    """Return a function for other threads that has ``function`` called on the loop."""

    def call(argument: T) -> None:
        with suppress(RuntimeError):  # the loop is closed: this process is about to end anyway
            loop.call_soon_threadsafe(function, argument)

    return call
