"""What goes out to read a lost response back, and what the token's manager is told of what comes of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.core.endpoint import Endpoint
from sidecar.core.http.response_head import response_head
from sidecar.core.http.trace_context import SAMPLED, CallTrace
from sidecar.proxy.exchange import WaitBudget
from sidecar.proxy.readback import LostResponses, ReadBackQuery
from sidecar.proxy.upstream_response import UpstreamResponse
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.record import CallRecord
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from sidecar.core.stored_response import StoredResponse
    from sidecar.proxy.outgoing import Request

KEY: Final = "0123456789abcdef"
PATH: Final = f"/v2.01/acme/responses/{KEY}"
#: Without its end, before which a span may be named.
HEAD: Final = (
    f"GET {PATH} HTTP/1.1\r\nHost: api.example.com\r\nAccept: application/json\r\nAuthorization: Bearer token\r\n"
).encode()
#: The manager allows one resend, with a token that is newer than that of the 401.
PERMIT: Final[Any] = SimpleNamespace(generation=3)


class World:
    """An exchanger and a token's manager, which note in order what they are asked and told.

    Mangopay answers with ``statuses``; the tokens are of generation 3, then 4, and so on.
    """

    def __init__(self, *statuses: int, credential: str = "api") -> None:
        self.clock = FakeClock()
        self.credential = credential
        self.told: list[tuple[Any, ...]] = []
        self._statuses = list(statuses)
        self._generation = 2
        exchanger: Any = self
        self.lost_responses = LostResponses(
            exchanger,
            endpoint=Endpoint.parse("https://api.example.com"),
            client_id="acme",
            clock=self.clock,
            metrics=Metrics(),
        )

    async def read_back(self, record: CallRecord) -> StoredResponse | None:
        """Move the clock over all pauses."""
        tokens: Any = self
        question = ReadBackQuery(KEY, "/v2.01/acme/payins", self.clock.now())
        waiting = WaitBudget(self.clock, 12.0, self.clock)
        reading = asyncio.ensure_future(self.lost_responses.read_back(question, tokens, waiting, record))
        await self.clock.advance(2.0)
        return await reading

    # The exchanger.

    async def exchange(
        self, request: Request, _tokens: Any, waiting: WaitBudget, *, timeout: float, newer_than: int
    ) -> tuple[UpstreamResponse, int]:
        self.told.append(("sent", request.template.render("token"), timeout, newer_than))
        waiting.no_wait(self.clock.now())
        self._generation += 1
        status = self._statuses.pop(0)
        head = response_head(1, status, b"", [])
        return UpstreamResponse(status, head, b"", rest=None, has_body=True, content_length=0), self._generation

    # The manager.

    def accepted(self, generation: int, path: str) -> None:
        self.told.append(("accepted", generation, path))

    def unauthorized(self, generation: int, path: str) -> Any:
        self.told.append(("unauthorized", generation, path))
        return PERMIT

    def resend_answered(self, permit: Any, generation: int, *, unauthorized: bool) -> None:
        self.told.append(("answered", permit, generation, unauthorized))

    def resend_withdrawn(self, permit: Any) -> None:
        self.told.append(("withdrawn", permit))


def record() -> CallRecord:
    return CallRecord("id", 1000.0, "POST", "/v2.01/acme/payins")


@pytest.mark.parametrize("traced", [False, True])
async def test_after_a_401_the_same_goes_out_with_a_newer_token(traced: bool) -> None:
    """Where there are traces, each of the two names a span of its own."""
    world, call, spans = World(401, 403), record(), iter((0x98, 0x99))
    if traced:
        call.traced(CallTrace(0xABC, None, 0x1, SAMPLED, lambda bits: next(spans)))
    assert await world.read_back(call) is None
    first, second = (
        f"traceparent: 00-{0xABC:032x}-{span:016x}-01\r\n".encode() if traced else b"" for span in (0x98, 0x99)
    )
    assert world.told == [
        ("sent", HEAD + first + b"\r\n", 5.0, 0),
        ("unauthorized", 3, PATH),
        ("sent", HEAD + second + b"\r\n", 5.0, 3),
        ("answered", PERMIT, 4, False),
    ]


@pytest.mark.parametrize(("credential", "tries"), [("api", 1), ("embedded", 3)])
async def test_a_403_is_the_last_word_to_the_api_key_and_says_nothing_of_the_embedded_one(
    credential: str, tries: int
) -> None:
    """The embedded key is not meant to read."""
    world = World(403, 403, 403, credential=credential)
    assert await world.read_back(record()) is None
    assert world.lost_responses.forbidden is (credential == "api")
    accepted = [each for each in world.told if each[0] == "accepted"]
    assert accepted == [("accepted", 3 + number, PATH) for number in range(tries)]
