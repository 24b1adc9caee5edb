"""The sidecar around a running command: what ``wrap`` does once its child is forked."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from sidecar.app import Sidecar
from sidecar.cli.command import CommandError
from sidecar.cli.process import leave_soon, run_loop
from sidecar.lifecycle import Lifecycle, StartError
from sidecar.runtime import SystemClock
from sidecar.telemetry.log import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from sidecar.cli.child import Child
    from sidecar.config import Config
    from sidecar.telemetry.log import LogOutput

T = TypeVar("T")

#: Seconds between two looks at the readiness, which cost some microseconds each.
_LOOK: Final = 0.02


def run(
    config: Config, child: Child, timeout: float, read_config: Callable[[], Config], unset_ports: AbstractSet[str]
) -> int:
    """Serve until ``child`` has ended, and drain; return its exit status.

    ``read_config`` reads the configuration anew, when a file of a key or certificate changes. Where one of
    ``unset_ports`` is in use, a free one is taken. Raises CommandError if the sidecar could not start, or was not ready
    within ``timeout`` seconds.
    """
    output = configure_logging(config.log.level, config.log.format, SystemClock())
    try:
        return run_loop(_run(config, child, timeout, read_config, unset_ports, output))
    except StartError as error:
        raise CommandError(str(error)) from None
    finally:
        output.close()


async def _run(
    config: Config,
    child: Child,
    timeout: float,
    read_config: Callable[[], Config],
    unset_ports: AbstractSet[str],
    output: LogOutput,
) -> int:
    loop, clock = asyncio.get_running_loop(), SystemClock()
    output.attach(loop)
    # No delay: when the command has ended there is nobody to be served meanwhile.
    ended: asyncio.Future[int] = loop.create_future()

    def leave(_: int) -> None:
        if ended.done():  # its status is ours
            leave_soon(ended.result())

    lifecycle = Lifecycle(clock, delay=0.0, drain=config.shutdown.drain, leave=leave)

    def on_end(status: int) -> None:
        ended.set_result(status)
        # This signal begins the shutdown, as SIGTERM does for ``run``; one that follows ends it at once.
        lifecycle.receive(signal.SIGCHLD)

    child.watch(_on_loop(loop, on_end), _on_loop(loop, lifecycle.receive))
    sidecar = Sidecar(
        config, log=output, lifecycle=lifecycle, clock=clock, read_config=read_config, unset_ports=unset_ports
    )
    try:
        base_url = (await sidecar.start()).local_proxy
        lifecycle.started()
        deadline = clock.now() + timeout
        while not (state := sidecar.readiness()).ready and not ended.done():
            if clock.now() >= deadline:
                message = f"the sidecar was not ready within {timeout:g} s ({state.message}): the log tells more"
                raise CommandError(message)
            await clock.sleep_until(clock.now() + _LOOK)
        child.start(base_url)
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
