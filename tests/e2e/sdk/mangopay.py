"""The emulated Mangopay of the SDK tests, on an event loop and a thread of its own, and what it has seen."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sidecar.emulator.sca import authenticate
from sidecar.emulator.settings import Credentials
from tests.support import canary
from tests.support.emulator import new_emulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.emulator.server import Received

T = TypeVar("T")
#: The ClientId that has an account; its only key is the canary.
CLIENT_ID: Final = "acme"
#: Another one, for tests that count every token request from the start of a sidecar.
FRESH_CLIENT_ID: Final = "acme-two"


class Mangopay:
    """An emulator that the SDKs, which block, can be tested against from synchronous code."""

    def __init__(self, *client_ids: str, **settings: Any) -> None:
        """Start; without ``client_ids`` there are the two above, and ``settings`` are the emulator's."""
        keys = {client_id: [canary.CANARY_API_KEY] for client_id in client_ids or (CLIENT_ID, FRESH_CLIENT_ID)}
        credentials = Credentials(keys, [canary.CANARY_EMBEDDED_KEY], any_client=False)
        self._emulator: Final = new_emulator(credentials=credentials, **settings)
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="emulated Mangopay")
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._emulator.start(), self._loop).result()
        self.url: Final = f"http://127.0.0.1:{port}"

    def close(self) -> None:
        """Stop listening and end the thread."""
        asyncio.run_coroutine_threadsafe(self._emulator.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, action: Callable[[], T]) -> T:
        """Run ``action`` where the emulator runs."""

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    # --- what a test sets --------------------------------------------------------------------------------------------

    def configure(self, **settings: Any) -> None:
        """Change settings of the emulator until the end of the test."""
        self._do(lambda: self._emulator.state.configure(**settings))

    def fault(self, rule: str) -> None:
        """Put a fault into force until the end of the test."""
        self._do(lambda: self._emulator.faults.add(rule))

    def revoke(self) -> None:
        """Revoke every token."""
        assert self._do(self._emulator.state.tokens.revoke) > 0

    def authenticate(self, user: str) -> None:
        """Let a user have authenticated: an owner's wallets can then be viewed."""
        self._do(lambda: authenticate(self._emulator.state.client(CLIENT_ID), user, self._emulator.state.clock.wall()))

    def fund(self, wallet: str, amount: int) -> None:
        """Let there be money in a wallet; ``amount`` in cents."""

        def fund() -> None:
            found = self._emulator.state.client(CLIENT_ID).find("Wallet", wallet)
            assert found is not None
            found["Balance"]["Amount"] += amount

        self._do(fund)

    def forget_what_came_in(self) -> None:
        """Begin a test: the emulator behaves again, the record is empty, the customers' data stays."""

        def forget() -> None:
            state = self._emulator.state
            state.settings = state._initial_settings
            self._emulator.faults.clear()
            self._emulator.received.clear()
            state.ledger.clear()
            state.stats.token_requests = 0

        self._do(forget)

    # --- what a test sees --------------------------------------------------------------------------------------------

    @property
    def received(self) -> list[Received]:
        """The requests that came in, in order, bodies and all."""
        return self._do(lambda: list(self._emulator.received))

    @property
    def calls(self) -> list[Received]:
        """Those of them that were not for a token, nor from a person's browser or the test itself."""
        return [
            request
            for request in self.received
            if not request.target.lower().endswith("/oauth/token")
            and not request.target.startswith(("/pages/", "/__emulator__/"))
        ]

    @property
    def token_requests(self) -> int:
        """How often a token was asked for."""
        return self._do(lambda: self._emulator.stats.token_requests)

    @property
    def executed(self) -> int:
        """How many writes had an effect."""
        return self._do(lambda: self._emulator.ledger.executions)


def header(request: Received, name: str) -> list[str]:
    """Return the values of a request's header."""
    wanted = name.lower().encode()
    return [value.decode("latin-1") for field, value in request.headers if field.lower() == wanted]
