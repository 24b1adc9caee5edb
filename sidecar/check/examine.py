"""All steps, in order; none is taken whose result an earlier failure has already decided."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.advice.classify import judged_together
from sidecar.check.calls import Calls
from sidecar.check.connecting import ConnectionProbe
from sidecar.check.local import LocalSteps
from sidecar.check.report import Report, StepName
from sidecar.check.running import latch_finding
from sidecar.check.store import LATCHED, is_shared, store_finding
from sidecar.core.causes import Cause, StepStatus
from sidecar.runtime import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path
    from typing import Any

    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.upstream.trust import Trust

#: The steps that need a token call.
_WITH_TOKEN: Final = (StepName.TOKEN, StepName.CLOCK, StepName.CALL, StepName.READ_BACK)
#: The steps that need a network, but those that are taken in some configurations only.
_ONLINE: Final = (StepName.SIDECAR, StepName.DNS, StepName.TCP, StepName.TLS, *_WITH_TOKEN)


class Options(msgspec.Struct, frozen=True):
    """What the user asked for."""

    path: Path | None
    environ: Mapping[str, str]
    #: Configuration, files and certificate only.
    offline: bool = False
    #: Make a token call even while a running sidecar is latched.
    force: bool = False
    #: A sentence about a configuration file that is not read; None: there is none.
    unread: str | None = None


def examine(options: Options, report: Report, clock: Clock, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """Take the steps and note them in ``report``. ``run`` runs a coroutine to its end."""
    local = LocalSteps(options.path, options.environ, clock, report, unread=options.unread, run=run)
    startable = local.take()
    config = local.config
    if config is None or not (startable or options.offline):
        report.skip("the configuration cannot be used", *([] if options.offline else _ONLINE))
        return
    if options.offline and not is_shared(config):
        return
    latched = not options.offline and not report.take(StepName.SIDECAR, lambda: latch_finding(config))

    async def examine_the_rest() -> None:
        may_ask = not latched
        if is_shared(config):
            started = clock.now()
            finding = await store_finding(config, local.trust, report, clock, offline=options.offline)
            report.add(StepName.STORE, finding, clock.now() - started)
            may_ask &= finding.cause not in LATCHED
        if not options.offline:
            await _examine_network(config, local.trust, report, clock, may_ask=options.force or may_ask)

    run(examine_the_rest())


async def _examine_network(config: Config, trust: Trust | None, report: Report, clock: Clock, *, may_ask: bool) -> None:
    probe = ConnectionProbe(config, trust, clock)
    connect = StepName.TCP if probe.egress is None else StepName.EGRESS
    try:
        if not await report.take_async(StepName.DNS, probe.resolve()):
            report.skip("there is no address", connect, StepName.TLS, *_WITH_TOKEN)
        elif not await report.take_async(connect, probe.connect()):
            report.skip("there is no connection", StepName.TLS, *_WITH_TOKEN)
        elif not await report.take_async(StepName.TLS, probe.shake_hands()):
            report.skip("TLS failed, and nothing is sent without it", *_WITH_TOKEN)
        elif not may_ask:
            report.skip("no token call while sidecars are latched: --force makes one", *_WITH_TOKEN)
        else:
            await _examine_calls(config, trust, probe.source_address, report, clock)
    finally:
        probe.close()


async def _examine_calls(
    config: Config, trust: Trust | None, source_address: str, report: Report, clock: Clock
) -> None:
    async with AsyncExitStack() as stack:
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        calls = Calls(config, trust, source_address, clock=clock, tasks=tasks)
        stack.push_async_callback(calls.close)
        await report.take_async(StepName.TOKEN, calls.fetch_token())
        await report.take_async(StepName.CLOCK, calls.compare_clocks())
        began = clock.now()
        call = await calls.view_client()
        took = clock.now() - began
        if call.cause is Cause.CALL_FORBIDDEN:
            # A key with few scopes may read nothing of the platform's, and still read back: both tell what a 403 means.
            began = clock.now()
            call, read_back = judged_together(call, await calls.read_back())
            report.add(StepName.CALL, call, took)
            report.add(StepName.READ_BACK, read_back, clock.now() - began)
        elif report.add(StepName.CALL, call, took).status is StepStatus.FAILED:
            report.skip("the call before it failed", StepName.READ_BACK)
        else:
            await report.take_async(StepName.READ_BACK, calls.read_back())
