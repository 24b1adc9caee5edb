"""Which connection and which token an exchange takes, what it waits for, and what it gives back if that fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.core.http.messages import ResponseFraming
from sidecar.core.secret import Secret
from sidecar.core.tokens.state import Token
from sidecar.proxy.exchange import Exchanger, WaitBudget
from sidecar.proxy.outgoing import Request
from sidecar.telemetry.attempt import Attempt
from sidecar.telemetry.record import CallRecord
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Native code takes no doubles of the pool, its connections and the manager, which are native, too.
pytestmark = pytest.mark.interpreted

#: When the waits of a call have to end that began at 100.0 and may last for 12 s, if all of its time is waited.
END: Final = 112.0
TOKEN: Final = Token(Secret("token"), 7, 0.0, 1.0, 2.0, 3.0)
#: One that is about to expire: the manager gives it only to who has waited for long enough.
LAST: Final = Token(Secret("last"), 8, 0.0, 1.0, 2.0, 3.0)
SENT: Final = ("exchange", b"Bearer token", b"body", True, 4.0)
RESPONSE: Final = SimpleNamespace(
    head=SimpleNamespace(status=201),
    framing=ResponseFraming(2, 2, persistent=True, keep_alive=None),
    take_whole=lambda: b"{}",
)


class BrokenError(Exception):
    pass


class World:
    """A pool, its one connection, a token's manager, a template and a call: they note in order what they are asked."""

    def __init__(
        self,
        at_hand: Sequence[Token | Exception | None] = (TOKEN,),
        waited: Sequence[tuple[float, Token | Exception]] = (),
        *,
        idle: bool = True,
        reused: bool = True,
    ) -> None:
        """``at_hand``: what the manager has each time it is asked; ``waited``: what comes of each wait, and when."""
        self.clock = FakeClock(now=100.0)
        self.waiting = WaitBudget(self.clock, 12.0, self.clock)
        self.told: list[tuple[Any, ...]] = []
        self.renders = True
        self.reused = reused
        self._at_hand = list(at_hand)
        self._waited = list(waited)
        self._idle = idle

    async def run(self, **asked: Any) -> tuple[Any, int]:
        """Make the exchange."""
        world: Any = self
        request = Request(world, b"body", head_only=True)
        return await Exchanger(world, self.clock).exchange(request, world, self.waiting, timeout=4.0, **asked)

    # The pool.

    def take_idle(self, _now: float) -> World | None:
        return self if self._idle else None

    async def acquire(self, deadline: float, fresh: bool = False) -> World:
        self.told.append(("acquire", deadline, fresh))
        await self.clock.advance(1.0)
        return self

    # The manager.

    def take_nowait(self, _now: float, *, newer_than: int) -> Any:
        self.told.append(("at hand", newer_than))
        return _given(self._at_hand.pop(0))

    def take_again(self, _taken: Any, now: float, *, newer_than: int) -> Any:
        return self.take_nowait(now, newer_than=newer_than)

    async def take(self, deadline: float, *, newer_than: int) -> Any:
        self.told.append(("wait", deadline, newer_than))
        seconds, token = self._waited.pop(0)
        await self.clock.advance(seconds)
        return _given(token)

    # The template.

    def render(self, token: str) -> bytes:
        if not self.renders:
            raise BrokenError
        return b"Bearer " + token.encode()

    # The call.

    def begins(self, connection: Any, _now: float) -> None:
        self.told.append(("begins", connection))

    def head_arrived(self) -> None:
        self.told.append(("head arrived",))

    # The connection.

    async def exchange(self, head: bytes, body: bytes, *, head_only: bool, timeout: float) -> Any:
        self.told.append(("exchange", head, body, head_only, timeout))
        return RESPONSE

    def release(self, *, fresh: bool = False) -> None:
        self.told.append(("release", fresh))


def _given(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result


async def test_an_idle_connection_and_a_token_at_hand_are_taken_without_a_wait() -> None:
    world = World()
    response, generation = await world.run(sending=world)
    assert (response.status, generation, world.waiting.generation) == (201, 7, 7)
    assert world.told == [("at hand", 0), ("begins", world), SENT, ("head arrived",)]


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_connection_is_waited_for_where_none_is_idle_or_a_new_one_is_wanted(fresh: bool) -> None:
    world = World(idle=fresh)
    await world.run(fresh=fresh)
    assert world.told == [("acquire", END, fresh), ("at hand", 0), SENT]


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("reused", [False, True])
async def test_a_token_is_waited_for_without_a_connection(rounds: int, fresh: bool, reused: bool) -> None:
    """A new connection is given back as one, since nothing was written to it.

    If the token that came is lost while the call waits for a connection again, all of that begins anew.
    """
    world = World([*[None] * rounds, TOKEN], [(2.0, TOKEN)] * rounds, idle=not fresh, reused=reused)
    await world.run(fresh=fresh, newer_than=6)
    anew = [("release", not reused), ("wait", END, 6), ("acquire", END, fresh), ("at hand", 6)]
    assert world.told == [*[("acquire", END, True)] * fresh, ("at hand", 6), *anew * rounds, SENT]
    record = CallRecord("id", 100.0, "GET", "/")
    world.waiting.record_attempt(record, 201)
    assert record.timeline == (Attempt(0.0, 1.0 * (rounds + fresh), 2.0 * rounds, 0.0, 201, "call", 7),)


async def test_a_call_whose_time_is_over_gets_what_token_there_is_and_waits_no_more() -> None:
    """With its connection: it would have no time to get another."""
    world = World([None, None], [(12.5, TOKEN), (0.0, LAST)])
    _, generation = await world.run(newer_than=6)
    assert generation == 8
    assert world.told == [
        ("at hand", 6),
        ("release", False),
        ("wait", END, 6),
        ("acquire", END, False),
        ("at hand", 6),
        ("wait", END, 6),
        ("exchange", b"Bearer last", b"body", True, 4.0),
    ]


@pytest.mark.parametrize("reused", [False, True])
async def test_a_manager_that_breaks_costs_no_connection(reused: bool) -> None:
    world = World([BrokenError()], reused=reused)
    with pytest.raises(BrokenError):
        await world.run()
    assert world.told == [("at hand", 0), ("release", not reused)]


@pytest.mark.parametrize(
    ("at_hand", "waited"),
    [
        pytest.param([None, BrokenError()], [(2.0, TOKEN)], id="a manager that breaks"),
        pytest.param([None, None], [(12.5, TOKEN), (0.0, BrokenError())], id="no token, and no time to wait for one"),
    ],
)
async def test_a_connection_that_a_call_got_after_its_wait_is_given_back_without_a_token(
    at_hand: list[Token | Exception | None], waited: list[tuple[float, Token | Exception]]
) -> None:
    world = World(at_hand, waited)
    with pytest.raises(BrokenError):
        await world.run()
    assert world.told[-1] == ("release", False)


async def test_a_token_that_cannot_be_written_costs_no_connection() -> None:
    world = World()
    world.renders = False
    with pytest.raises(BrokenError):
        await world.run()
    assert world.told == [("at hand", 0), ("release", False)]


async def test_what_a_call_waits_is_counted_by_the_clock_that_stands_still_with_the_process() -> None:
    clock, attended = FakeClock(now=100.0), FakeClock(now=7.0)
    no_pool: Any = None
    waiting = Exchanger(no_pool, clock, attended).wait_budget(12.0)
    assert waiting.start() == 112.0
    await clock.advance(60.0)
    await attended.advance(2.0)
    assert waiting.stop() == 60.0
    assert waiting.start() == 170.0
