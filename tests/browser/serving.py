"""A sidecar in front of an emulator, driven as its users and its operator drive it: by HTTP."""

from __future__ import annotations

import http.client
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sidecar.runtime import SystemClock
from tests.support import canary
from tests.support.app import App, Pair, running_app
from tests.support.emulator import NATURAL_USER, running_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.emulator.server import Emulator
    from tests.support.background import Background

USER = json.dumps({**NATURAL_USER, "TermsAndConditionsAccepted": True}).encode()


class MovedClock(SystemClock):
    """The machine's clock, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def wall(self) -> float:
        return super().wall() + self.ahead


class Serving:
    """See the module."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.clock = MovedClock()
        self._pair: Pair | None = None

    @property
    def app(self) -> App:
        assert self._pair is not None
        return self._pair.app

    @property
    def emulator(self) -> Emulator:
        assert self._pair is not None
        return self._pair.emulator

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.app.admin_port}/"

    def start(self, *, emulator_settings: dict[str, Any] | None = None, **settings: str) -> str:
        """Start both, and return where the page is."""
        self._pair = self.background.enter(self._running(emulator_settings or {}, settings))
        return self.url

    @asynccontextmanager
    async def _running(self, emulator_settings: dict[str, Any], settings: dict[str, str]) -> AsyncIterator[Pair]:
        async with (
            running_emulator(**emulator_settings) as emulator,
            running_app(emulator.url, self.clock, **settings) as app,
        ):
            yield Pair(app, emulator)

    def call(
        self, method: str = "GET", target: str = "/v2.01/_/users", body: bytes | None = None, **headers: str
    ) -> int:
        """Make a call of the proxy port, as an app does; return the status."""
        return _ask(f"http://127.0.0.1:{self.app.port}", method, target, body, headers)

    def control(self, route: str, **body: Any) -> None:
        """Use one of the emulator's control routes."""
        status = _ask(self.emulator.url, "POST", f"/__emulator__/{route}", json.dumps(body).encode(), {})
        assert status == 200, route

    def fault(self, rule: str) -> None:
        self.control("faults", rule=rule)

    def some_calls(self, number: int = 3) -> None:
        """Make calls of several kinds."""
        for _ in range(number):
            assert self.call("POST", "/v2.01/_/sca/users/natural", USER) == 200
            assert self.call() == 200
            assert self.call("GET", "/v2.01/_/wallets/4711") == 404

    def stop_mangopay(self) -> None:
        self.background.run(self.emulator.stop())


def _ask(base: str, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        canary.record("answer", response.read()[:100_000])
        return response.status
    finally:
        connection.close()
