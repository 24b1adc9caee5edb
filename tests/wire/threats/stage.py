"""Sidecars of several configurations in front of one recording upstream, on an event loop in a thread of its own.

The sockets of the suite block, and the sidecars are shared by all of its
cases: that is what makes hundreds of them take seconds.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvloop

from sidecar.app import Sidecar
from sidecar.config import load
from sidecar.lifecycle import Lifecycle
from sidecar.runtime import SystemClock
from tests.support.app import CollectedLog
from tests.support.canary import CANARY_API_KEY, CANARY_CALLER_KEY, CANARY_EMBEDDED_KEY
from tests.support.clock import FastClock
from tests.support.naive_proxy import NaiveProxy
from tests.support.recording_upstream import API_TOKEN, RecordingUpstream
from tests.wire.threats.play import PROBE_FIELDS, Complaint, Target, run_case

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.wire.threats.case import Case

T = TypeVar("T")

#: The sidecars by name, as cases choose them: settings beside the usual ones, and how many times faster time goes.
SETTINGS: Final[dict[str, dict[str, str]]] = {
    "plain": {},
    "prefixed": {},
    "named": {"listen_allowed_hosts": "sidecar.internal,fd00::7,Shop.Example"},
    "keyed": {"listen_caller_key": CANARY_CALLER_KEY},
    "embedded": {"mangopay_embedded_api_key": CANARY_EMBEDDED_KEY},
    "denying": {"policy_deny": "* /v2.01/*/payouts/**,DELETE /v2.01/*/users/*"},
    "allowing": {"policy_allow": "GET /v2.01/*/users/**,* /v2.01/acme/probe/*"},
    "reading": {"policy_read_only": "true"},
    "small": {"listen_max_body": "64KiB", "replay_max_body": "16KiB"},
    "tiny": {"listen_max_body": "8KiB"},
    "hasty": {"listen_body_timeout": "10s", "listen_keepalive_timeout": "10s"},
}
#: Time on this sidecar goes ten times faster, so that ten seconds of patience take one.
_SPEED: Final = {"hasty": 10.0}
_PREFIX: Final = {"prefixed": "/mango/pay"}

PROBE_FIELDS["keyed"] = (b"Authorization: Basic " + base64.b64encode(b"probe:" + CANARY_CALLER_KEY.encode()),)


class Harness:
    """The thread, its upstreams, and the sidecars that were needed so far."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)
        self._thread.start()
        self._exits = AsyncExitStack()
        self._venues: dict[str, Target] = {}
        self.upstream = self.run(_recording_upstream(self._exits))
        self.elsewhere = self.run(_recording_upstream(self._exits))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine over there and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def close(self) -> None:
        """End everything."""
        self.run(self._exits.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run_case(self, case: Case) -> list[Complaint]:
        """Play a case on its sidecar; return what went wrong."""
        return run_case(case, self.venue(case.sidecar))

    def venue(self, name: str) -> Target:
        """Return the shared sidecar of this name."""
        if name not in self._venues:
            self._venues[name] = self.run(self._open(name, self._exits, self.upstream, self.elsewhere))
        return self._venues[name]

    @contextmanager
    def fresh(self, name: str) -> Iterator[Target]:
        """Run a sidecar that nobody else uses, with an upstream of its own."""

        async def opened() -> Target:
            return await self._open(name, exits, await _recording_upstream(exits), await _recording_upstream(exits))

        exits = AsyncExitStack()
        try:
            yield self.run(opened())
        finally:
            self.run(exits.aclose())

    @contextmanager
    def naive(self) -> Iterator[Target]:
        """Run the naive proxy, with an upstream of its own."""
        exits = AsyncExitStack()
        try:
            yield self.run(self._open_naive(exits))
        finally:
            self.run(exits.aclose())

    async def _open(
        self, name: str, exits: AsyncExitStack, upstream: RecordingUpstream, elsewhere: RecordingUpstream
    ) -> Target:
        environ = {
            "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
            "SIDECAR_MANGOPAY_BASE_URL": f"http://127.0.0.1:{upstream.port}{_PREFIX.get(name, '')}",
            "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
            "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
            "SIDECAR_LISTEN_HOST": "127.0.0.1",
            "SIDECAR_LISTEN_PORT": "0",
            "SIDECAR_ADMIN_PORT": "off",
            **{f"SIDECAR_{key.upper()}": value for key, value in SETTINGS[name].items()},
        }
        config = load(None, environ)
        clock = FastClock(_SPEED[name]) if name in _SPEED else SystemClock()
        log = CollectedLog(clock)
        lifecycle = Lifecycle(clock, delay=0, drain=0)
        sidecar = Sidecar(config, log=log.output, lifecycle=lifecycle, clock=clock)
        exits.push_async_callback(sidecar.close)
        ready = await sidecar.start()
        lifecycle.started()

        def failures() -> list[str]:
            return [str(entry) for entry in log.entries if entry.get("level") in {"error", "critical"}]

        port = int(ready.proxy.rpartition(":")[2])
        return Target(port, upstream, elsewhere, self._injection(upstream), failures)

    async def _open_naive(self, exits: AsyncExitStack) -> Target:
        upstream, elsewhere = await _recording_upstream(exits), await _recording_upstream(exits)
        proxy = NaiveProxy(f"http://127.0.0.1:{upstream.port}", API_TOKEN)
        await proxy.start()
        exits.push_async_callback(proxy.stop)
        return Target(proxy.port, upstream, elsewhere, self._injection(upstream), keeps_secrets=False)

    def _injection(self, upstream: RecordingUpstream) -> Callable[[bytes], None]:
        async def inject(data: bytes) -> None:
            upstream.inject(data)

        return lambda data: self.run(inject(data))


async def _recording_upstream(exits: AsyncExitStack) -> RecordingUpstream:
    upstream = RecordingUpstream()
    await upstream.start()
    exits.push_async_callback(upstream.stop)
    return upstream
