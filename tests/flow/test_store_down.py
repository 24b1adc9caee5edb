"""A store that is down, slow or full costs no call: each sidecar goes on by itself, says so, and comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.core.errors import ErrorCode
from sidecar.core.tokens.shared_document import SharedDocument
from sidecar.tokens.stores.store import StoreDownError
from tests.support.stores import NAME, Fleet, MemoryBackend
from tests.support.tokens import LOCKED_OUT, REFUSED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, MutableMapping
    from typing import Any

WHY = "cannot be reached: connection refused"


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    for node in fleet.nodes:
        await node.close()


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as logs:
        yield logs


def events(logs: list[MutableMapping[str, Any]], prefix: str = "store.") -> list[str]:
    return [entry["event"] for entry in logs if entry["event"].startswith(prefix)]


def down(fleet: Fleet) -> MemoryBackend:
    backend = MemoryBackend(fleet.shelf)
    backend.down = WHY
    return backend


# --- going on alone --------------------------------------------------------------------------------------------------


async def test_without_its_store_a_sidecar_gets_its_own_tokens_and_says_so_once(
    fleet: Fleet, logs: list[MutableMapping[str, Any]]
) -> None:
    node = fleet.node(down(fleet), prefetch=True)
    assert await fleet.tokens(node) == ["-1"]
    node.manager.unauthorized(1, "/a")
    assert await fleet.tokens(node, newer_than=1) == ["-2"]
    await fleet.clock.advance(300)
    assert events(logs) == ["store.down"]
    (told,) = [entry for entry in logs if entry["event"] == "store.down"]
    assert told["log_level"] == "warning"
    assert told["detail"] == f"the store {WHY}"
    status = node.store.status()
    assert (status.up, status.last_error) == (False, WHY)
    assert status.since is not None
    assert fleet.clock.wall() - status.since == pytest.approx(300, abs=5)


async def test_a_store_that_hangs_is_given_up_after_its_time(
    fleet: Fleet, logs: list[MutableMapping[str, Any]]
) -> None:
    backend = MemoryBackend(fleet.shelf)
    backend.thawed.clear()
    node = fleet.node(backend, timeout=0.05)
    call = asyncio.ensure_future(node.token())
    while not fleet.mangopay.requests:
        await asyncio.sleep(0.01)
    await fleet.clock.advance(1)
    assert await call == "-1"
    assert [entry["detail"] for entry in logs if entry["event"] == "store.down"] == [
        "the store does not answer within 0.05 s"
    ]


async def test_a_store_that_is_full_still_gives_what_it_has(fleet: Fleet, logs: list[MutableMapping[str, Any]]) -> None:
    await fleet.tokens(*fleet.start())
    backend = MemoryBackend(fleet.shelf)
    backend.full = "is full"
    node = fleet.node(backend)
    assert await fleet.tokens(node) == ["-1"]
    node.manager.unauthorized(1, "/a")
    assert await fleet.tokens(node, newer_than=1) == ["-2"]
    await fleet.clock.advance(100)
    assert events(logs) == ["store.down"], "that it can be read does not make it come up again and again"
    assert await fleet.tokens(*fleet.start()) == ["-1"], "nobody could be told that it was burnt"
    backend.full = None
    await fleet.clock.advance(60)
    assert events(logs) == ["store.down", "store.up"]
    assert await fleet.tokens(*fleet.start()) == ["-3"], "now everybody has been"


async def test_a_bug_around_the_store_costs_no_call_either(
    fleet: Fleet, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (node,) = fleet.start()

    async def read(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(MemoryBackend, "read", read)
    assert await fleet.tokens(node) == ["-1"]
    assert [entry["detail"] for entry in logs if entry["event"] == "store.down"] == [
        "the store failed: ZeroDivisionError"
    ]


async def test_a_store_that_forgets_everything_makes_no_storm(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    backend.forgets = True
    node = fleet.node(backend)
    assert await fleet.tokens(node) == ["-2"]
    assert fleet.mangopay.requests == 2
    node.manager.unauthorized(1, "/a")
    assert await fleet.tokens(node, newer_than=1) == ["-4"]
    assert fleet.mangopay.requests == 4


@pytest.mark.parametrize(
    ("result", "said"), [(LOCKED_OUT, ErrorCode.TOKEN_LOCKED_OUT), (REFUSED, ErrorCode.CREDENTIALS_REFUSED)]
)
async def test_a_refusal_that_the_store_forgets_is_not_asked_for_again(
    fleet: Fleet, result: Any, said: ErrorCode
) -> None:
    fleet.mangopay.then(result)
    backend = MemoryBackend(fleet.shelf)
    backend.forgets = True
    node = fleet.node(backend)
    assert [response.code for response in await fleet.tokens(node)] == [said]
    await fleet.clock.advance(20)
    assert fleet.mangopay.requests == 1


@pytest.mark.parametrize(
    ("result", "said"), [(LOCKED_OUT, ErrorCode.TOKEN_LOCKED_OUT), (REFUSED, ErrorCode.CREDENTIALS_REFUSED)]
)
@pytest.mark.parametrize("gone", [False, True], ids=["the store is there", "the store is gone"])
async def test_a_refusal_whose_lease_was_lost_is_kept_and_told_with_the_next_one(
    fleet: Fleet, result: Any, said: ErrorCode, gone: bool
) -> None:
    fleet.mangopay.then(result)
    fleet.mangopay.gated = True
    backend = MemoryBackend(fleet.shelf)
    node = fleet.node(backend, prefetch=True)
    await fleet.clock.advance(1)
    fleet.shelf.contents.clear()  # a failover to a copy that has not heard of the lease

    def after_the_conclusion() -> None:
        backend.down = WHY if gone else None

    backend.after_next_read = after_the_conclusion
    fleet.mangopay.let_go()
    assert [response.code for response in await fleet.tokens(node)] == [said]
    assert fleet.mangopay.requests == 1
    fleet.mangopay.gated = False
    backend.down = None
    other = await fleet.tokens(*fleet.start())
    if gone:
        assert other == ["-2"], "nobody could be told"
    else:
        assert [response.code for response in other] == [said]
        assert fleet.mangopay.requests == 1


async def test_a_token_whose_lease_was_lost_is_used_alone_if_the_store_is_gone(fleet: Fleet) -> None:
    fleet.mangopay.gated = True
    backend = MemoryBackend(fleet.shelf)
    node = fleet.node(backend, prefetch=True)
    await fleet.clock.advance(1)
    fleet.shelf.contents.clear()

    def goes() -> None:
        backend.down = WHY

    backend.after_next_read = goes
    fleet.mangopay.let_go()
    assert await fleet.tokens(node) == ["-1"]
    assert fleet.mangopay.requests == 1


async def test_a_token_that_the_store_has_after_all_is_not_taken_for_a_newer_one(fleet: Fleet) -> None:
    """The store was told, and only its reply was lost: Redis stood still for a second, or a disk did."""
    backend = MemoryBackend(fleet.shelf)
    backend.loses_reply_to = 2  # the first is the claim
    node = fleet.node(backend)
    assert await fleet.tokens(node) == ["-1"]
    assert fleet.shelf.document.parts, "it is there"
    await fleet.clock.advance(3)
    assert node.store.status().up
    node.manager.unauthorized(1, "/a")
    assert await fleet.tokens(node, newer_than=1) == ["-2"]
    await fleet.clock.advance(1)
    assert await fleet.tokens(*fleet.start()) == ["-2"], "and nobody else gets the burnt one"


async def test_a_burnt_token_that_the_store_has_after_all_is_known_whatever_came_after_it(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    backend.loses_reply_to = 2
    node = fleet.node(backend)
    assert await fleet.tokens(node) == ["-1"]
    backend.down = WHY
    node.manager.unauthorized(1, "/a")
    assert await fleet.tokens(node, newer_than=1) == ["-2"]
    backend.down = None
    while not node.store.status().up:
        await fleet.clock.advance(1)
    await fleet.clock.advance(11)
    node.manager.unauthorized(2, "/b")
    assert await fleet.tokens(node, newer_than=2) == ["-3"]


async def test_a_token_that_the_store_has_after_all_is_refreshed_ahead_by_another_one(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    backend.loses_reply_to = 2
    node = fleet.node(backend)
    assert await fleet.tokens(node) == ["-1"]
    await fleet.clock.advance(1150)
    await fleet.tokens(node)
    await fleet.clock.advance(5)
    assert await fleet.tokens(node) == ["-2"]
    assert fleet.mangopay.requests == 2


async def test_a_refresh_that_failed_without_the_store_leaves_the_token_one_of_the_store(fleet: Fleet) -> None:
    """So that the others are told once it is burnt."""
    backend = MemoryBackend(fleet.shelf)
    node = fleet.node(backend)
    assert await fleet.tokens(node) == ["-1"]
    backend.down = WHY
    fleet.mangopay.then(LOCKED_OUT)
    while fleet.mangopay.requests < 2:
        await fleet.tokens(node)
        await fleet.clock.advance(5)
    backend.down = None
    while not node.store.status().up:
        await fleet.clock.advance(1)
    node.manager.unauthorized(1, "/a")
    await fleet.clock.advance(1)
    assert await fleet.tokens(*fleet.start()) != ["-1"]


async def test_a_refusal_of_the_old_certificate_whose_lease_was_lost_is_not_held_against_the_new_one(
    fleet: Fleet,
) -> None:
    fleet.mangopay.then(REFUSED)
    fleet.mangopay.gated = True
    node = fleet.node(MemoryBackend(fleet.shelf), prefetch=True)
    await fleet.clock.advance(1)
    fleet.shelf.contents.clear()
    node.asker.certificate = b"another"
    node.manager.key_changed()
    fleet.mangopay.gated = False
    fleet.mangopay.let_go()
    assert await fleet.tokens(node) == ["-2"]
    assert await fleet.tokens(*fleet.start()) == ["-2"]


async def test_a_refusal_of_the_old_key_whose_lease_was_lost_is_not_held_against_the_new_one(fleet: Fleet) -> None:
    fleet.mangopay.then(REFUSED)
    fleet.mangopay.gated = True
    node = fleet.node(MemoryBackend(fleet.shelf), prefetch=True)
    await fleet.clock.advance(1)
    fleet.shelf.contents.clear()
    node.replace_key("another-api-key")
    fleet.mangopay.gated = False
    fleet.mangopay.let_go()
    assert await fleet.tokens(node) == ["-2"]
    assert node.asker.keys[1:] == ["another-api-key"]


async def test_a_store_whose_every_response_is_slow_is_given_up_in_time(
    fleet: Fleet, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each operation alone is within its time; but others are always faster."""
    swap = MemoryBackend.swap
    count = iter(range(1000))

    async def slowly(self: MemoryBackend, *arguments: Any) -> Any:
        await asyncio.sleep(0.03)
        fleet.shelf.contents[NAME] = b'{"fence":%d}' % next(count)
        return await swap(self, *arguments)

    monkeypatch.setattr(MemoryBackend, "swap", slowly)
    node = fleet.node(MemoryBackend(fleet.shelf), timeout=0.05)
    call = asyncio.ensure_future(node.token())
    while not fleet.mangopay.requests:
        await asyncio.sleep(0.01)
    await fleet.clock.advance(1)
    assert await call == "-1"
    assert [entry["detail"] for entry in logs if entry["event"] == "store.down"] == [
        "the store is too slow: a change takes over 0.1 s"
    ]


async def test_what_cannot_even_be_counted_with_costs_no_call(
    fleet: Fleet, logs: list[MutableMapping[str, Any]]
) -> None:
    fleet.shelf.contents[NAME] = b'{"fence":%s}' % (b"9" * 4300)
    node = fleet.node(MemoryBackend(fleet.shelf))
    assert await fleet.tokens(node) == ["-1"]
    assert events(logs)[0] in ("store.down", "store.document_unreadable")


async def test_a_document_that_changes_all_the_time_counts_as_down(
    fleet: Fleet, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (node,) = fleet.start()
    read = MemoryBackend.swap
    count = iter(range(1000))

    async def swap(self: MemoryBackend, *arguments: Any) -> Any:
        fleet.shelf.contents[NAME] = b'{"fence":%d}' % next(count)
        return await read(self, *arguments)

    monkeypatch.setattr(MemoryBackend, "swap", swap)
    assert await fleet.tokens(node) == ["-1"]
    assert "changed by others" in node.store.status().last_error  # type: ignore[operator]
    assert events(logs) == ["store.down"]


async def test_a_request_whose_result_cannot_be_told_is_used_alone(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    node = fleet.node(backend, prefetch=True)
    await fleet.clock.advance(0.1)
    backend.down = WHY
    assert await fleet.tokens(node) == ["-1"]
    assert fleet.mangopay.requests == 1
    backend.down = None
    assert await fleet.tokens(*fleet.start()) == ["-2"], "the lease is over some seconds later"


async def test_who_waits_for_another_s_token_when_the_store_goes_asks_itself(fleet: Fleet) -> None:
    fleet.mangopay.delay = 4.0
    backend = MemoryBackend(fleet.shelf)
    first, second = fleet.start()[0], fleet.node(backend)
    call = asyncio.ensure_future(fleet.tokens(first, second))
    await fleet.clock.advance(1)
    backend.down = WHY
    assert await call == ["-1", "-2"]


async def test_latches_are_each_sidecar_s_own_meanwhile(fleet: Fleet) -> None:
    fleet.mangopay.then(LOCKED_OUT)
    node = fleet.node(down(fleet))
    (response,) = await fleet.tokens(node)
    assert response.code is ErrorCode.TOKEN_LOCKED_OUT
    await fleet.clock.advance(20)
    assert fleet.mangopay.requests == 1


# --- patience --------------------------------------------------------------------------------------------------------


async def used_up(fleet: Fleet, backend: MemoryBackend) -> None:
    """Start a fleet and let its token come near its end, with the store down before anybody has renewed it."""
    nodes = [fleet.node(backend) for _ in range(20)]
    await fleet.tokens(*nodes)
    await fleet.clock.advance(1070)
    backend.down = WHY
    assert fleet.mangopay.requests == 1


async def test_while_the_token_is_good_a_short_outage_costs_no_request(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    await used_up(fleet, backend)
    await fleet.clock.advance(12)
    backend.down = None
    for _ in range(80):
        assert set(await fleet.tokens()) <= {"-1", "-2", "-3"}
        await fleet.clock.advance(1)
    assert set(await fleet.tokens()) != {"-1"}
    assert fleet.mangopay.requests <= 3


async def test_in_a_long_outage_they_ask_for_themselves_one_after_the_other_and_no_call_fails(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    await used_up(fleet, backend)
    for _ in range(150):
        for response in await fleet.tokens():
            assert isinstance(response, str)
        await fleet.clock.advance(1)
    assert fleet.mangopay.requests == 21
    asked = fleet.mangopay.sent_at[1:]
    assert max(sum(1 for other in asked if moment <= other < moment + 5) for moment in asked) <= 8
    assert max(asked) < fleet.mangopay.sent_at[0] + 1200 - 30


async def test_a_burnt_token_is_no_reason_to_be_patient(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    node = fleet.node(backend)
    await fleet.tokens(node)
    await fleet.clock.advance(1070)
    backend.down = WHY
    while node.manager.status().state != "refreshing":
        await fleet.tokens(node)
        await fleet.clock.advance(0.1)
    node.manager.unauthorized(1, "/a")
    before = fleet.clock.now()
    assert await fleet.tokens(node, newer_than=1) == ["-2"]
    assert fleet.mangopay.sent_at[1] - before < 0.1


# --- coming back -----------------------------------------------------------------------------------------------------


async def test_a_store_that_is_back_is_noticed_and_used(fleet: Fleet, logs: list[MutableMapping[str, Any]]) -> None:
    backend = down(fleet)
    first = fleet.node(backend)
    await fleet.tokens(first)
    await fleet.clock.advance(100)
    backend.down = None
    await fleet.clock.advance(50)
    assert events(logs) == ["store.down", "store.up"]
    assert first.store.status().up is True
    first.manager.unauthorized(1, "/a")
    assert await fleet.tokens(first, newer_than=1) == ["-2"]
    assert await fleet.tokens(*fleet.start()) == ["-2"]


async def test_a_store_that_is_down_is_left_alone_but_for_a_try_now_and_then(fleet: Fleet) -> None:
    backend = down(fleet)
    tries = 0
    operate = backend._operate

    async def counted(*, writes: bool = False) -> None:
        nonlocal tries
        tries += 1
        await operate(writes=writes)

    backend._operate = counted  # type: ignore[method-assign]
    await fleet.tokens(fleet.node(backend))
    await fleet.clock.advance(600)
    assert 15 <= tries <= 60


async def test_while_it_is_down_nobody_is_asked(fleet: Fleet) -> None:
    node = fleet.node(down(fleet))
    await fleet.tokens(node)
    with pytest.raises(StoreDownError):
        await node.store.change(lambda _, __: (SharedDocument(), None))


async def test_closing_leaves_nothing_of_a_store_that_is_down(fleet: Fleet) -> None:
    node = fleet.node(down(fleet))
    await fleet.tokens(node)
    node.manager.unauthorized(1, "/a")
    await node.close()
    assert len(node.store.tasks) == 0


async def test_closing_waits_for_no_store_that_hangs(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    node = fleet.node(backend, timeout=0.05)
    await fleet.tokens(node)
    backend.thawed.clear()
    await node.close()
    assert backend.closed == 0


async def test_closing_ends_also_what_answers_a_cancellation_with_an_error(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a client library does that fails while it cleans up: the keeper went on, and closing waited for it."""
    node = fleet.node(MemoryBackend(fleet.shelf), prefetch=True)
    reading = asyncio.Event()

    async def read(*_: object) -> None:
        reading.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    monkeypatch.setattr(MemoryBackend, "read", read)
    await reading.wait()
    await asyncio.wait_for(node.manager.close(), 20)
    assert fleet.mangopay.requests == 0, "it did not go on alone either"
