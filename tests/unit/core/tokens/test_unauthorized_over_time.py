"""What 401s cost over half a minute, over many seeds: resources that always say 401, and healthy callers.

A path may always say 401 and take 10 ms for one response and seconds for the next; an API may take longer over a
request than the next revocation takes to come. At the beginning the two look alike.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.token_world import World

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = range(12)
BAD = "/v2.01/acme/clients"
GOOD = ("/v2.01/acme/users", "/v2.01/acme/hooks", "/v2.01/acme/events")
#: How a latency is drawn from the shortest and the longest.
JUMPS: dict[str, Callable[[random.Random, float, float], float]] = {
    "evenly": lambda rng, low, high: rng.uniform(low, high),
    "one or the other": lambda rng, low, high: rng.choice((low, high)),
    "mostly short": lambda rng, low, high: high if rng.random() < 0.1 else low,
    "mostly long": lambda rng, low, high: low if rng.random() < 0.1 else high,
    "by magnitude": lambda rng, low, high: low * (high / low) ** rng.random(),
}


def a_world(seed: int, jump: str, slowest: float) -> tuple[World, random.Random]:
    """A world in which the latency of :data:`BAD` jumps."""
    rng = random.Random(seed)

    def latency(path: str, _status: int) -> float:
        return JUMPS[jump](rng, 0.01, slowest) if path == BAD else rng.uniform(0.02, 0.08)

    return World(latency, token_delay=rng.uniform(0.05, 0.3)), rng


def poll(world: World, rng: random.Random, path: str, begin: float) -> None:
    """Call ``path`` five times a second for twenty seconds, whether or not the calls before are over."""
    for number in range(100):
        world.at(begin + number * 0.2 + rng.uniform(0, 0.1), partial(world.call, path))


def again_and_again(world: World, path: str, until: float, pause: float) -> None:
    """Call ``path`` one call after another."""
    if world.now < until:
        later = partial(again_and_again, world, path, until, pause)
        world.call(path, lambda: world.at(world.now + pause, later))


# --- resources that always say 401 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("slowest", [0.01, 1.0, 5.0])
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_resource_that_always_says_401_costs_three_token_requests_however_its_latency_jumps(
    others: int, jump: str, slowest: float
) -> None:
    """In 100 calls within 20 s, the first token included; and other paths get 200."""
    for seed in SEEDS:
        world, rng = a_world(seed, jump, slowest)
        world.forbidden.add(BAD)
        for path in (BAD, *GOOD[:others]):
            poll(world, rng, path, begin=1.0)
        world.run(until=21.0)
        assert len(world.token_requests) <= 3, seed
        world.run(until=60.0)
        assert sum(world.told.values()) + world.passed_in_pause == 100 * (1 + others)
        assert {(path == BAD, status) for path, status, _ in world.told} <= {(True, 401), (False, 200)}, seed
        assert max(deliveries for _, _, deliveries in world.told) == 2


@pytest.mark.parametrize("slowest", [1.0, 5.0])
@pytest.mark.parametrize("jump", JUMPS)
def test_twenty_callers_of_a_resource_that_always_says_401_cost_three_too(jump: str, slowest: float) -> None:
    for seed in SEEDS:
        world, rng = a_world(seed, jump, slowest)
        world.forbidden.add(BAD)
        for _ in range(20):
            world.at(rng.uniform(1.0, 1.2), partial(again_and_again, world, BAD, 21.0, 0.05))
        world.run(until=21.0)
        assert len(world.token_requests) <= 3, seed


@pytest.mark.parametrize(("slowest", "most"), [(0.01, 4), (1.0, 8), (5.0, 14)])
@pytest.mark.parametrize("jump", JUMPS)
def test_a_resource_that_says_401_from_some_moment_on_costs_little_more(jump: str, slowest: float, most: int) -> None:
    """It has said something else before, so the first 401s may well be a revocation. The first token counts, too."""
    for seed in SEEDS:
        world, rng = a_world(seed, jump, slowest)
        poll(world, rng, BAD, begin=1.0)
        world.at(30.0, partial(world.forbidden.add, BAD))
        poll(world, rng, BAD, begin=30.0)
        poll(world, rng, GOOD[0], begin=30.0)
        world.run(until=50.0)
        assert len(world.token_requests) <= most, seed
        world.run(until=60.0)
        assert {status for path, status, _ in world.told if path != BAD} == {200}


@pytest.mark.parametrize("slowest", [0.01, 1.0, 5.0])
@pytest.mark.parametrize("jump", ["evenly", "one or the other"])
def test_a_revocation_while_a_path_pauses_is_mended_at_once_for_who_polls_a_single_other_path(
    jump: str, slowest: float
) -> None:
    for seed in SEEDS:
        world, rng = a_world(seed, jump, slowest)
        world.forbidden.add(BAD)
        for path in (BAD, GOOD[0]):
            poll(world, rng, path, begin=1.0)
        world.at(rng.uniform(9.0, 10.0), world.revoke)
        world.run(until=9.0)
        assert world.pausing(), seed
        world.run(until=60.0)
        assert {status for path, status, _ in world.told if path != BAD} == {200}, seed


# --- healthy callers while tokens are revoked again and again --------------------------------------------------------


def a_stormy_world(seed: int, work: float, jitter: float, begin: float = 10.0) -> tuple[World, random.Random]:
    """A world in which tokens are revoked every 0.5 s for 30 s from ``begin`` on; a request takes ``work`` seconds."""
    rng = random.Random(seed)
    world = World(lambda _path, status: 0.045 + (work if status == 200 else 0.0), token_delay=0.1)
    moment = begin + rng.uniform(0.0, 0.5)
    while moment < begin + 30.0:
        world.at(moment, world.revoke)
        moment += 0.5 * rng.uniform(1 - jitter, 1 + jitter)
    return world, rng


def callers(world: World, begin: float, until: float) -> None:
    """Have twenty callers call one path from ``begin`` on."""
    for number in range(20):
        world.at(begin + number * 0.003, partial(again_and_again, world, GOOD[0], until, 0.15))


#: Seconds that the API takes to carry a request out.
WORK = [0.0, 0.3, 0.6, 1.2, 3.0, 5.0]


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_twenty_healthy_callers_on_one_path_get_no_401_after_one_delivery(jitter: float, work: float) -> None:
    """Whenever the revocations come, and whether or not the first refresh has met the next one."""
    for seed in range(40):
        world, _ = a_stormy_world(seed, work, jitter)
        callers(world, 2.0, until=20.0)
        world.run(until=60.0)
        assert {each[1:] for each in world.told} <= {(200, 1), (200, 2), (401, 2)}, seed
        assert not world.passed_in_pause, seed
        assert len(world.token_requests) <= 50


@pytest.mark.parametrize("work", WORK)
def test_revocations_that_come_closer_cost_healthy_callers_one_pause_at_most(work: float) -> None:
    """Every 0.25 to 0.75 s: two refreshes in a row may meet the next revocation, in one world of twelve at most."""
    after_one_delivery = 0
    for seed in SEEDS:
        world, _ = a_stormy_world(seed, work, jitter=0.5)
        callers(world, 2.0, until=40.0)
        world.run(until=60.0)
        assert {each[1:] for each in world.told} <= {(200, 1), (200, 2), (401, 2), (401, 1)}, seed
        assert len(world.token_requests) <= 130
        after_one_delivery += world.told[GOOD[0], 401, 1] + world.passed_in_pause
    assert after_one_delivery <= 1000


def test_a_stray_401_of_a_resource_takes_nothing_from_healthy_callers_a_minute_later() -> None:
    """The resource has worked before, and is fine again when a storm begins whose first refresh may be futile."""
    for seed in range(20):
        world, _ = a_stormy_world(seed, work=3.0, jitter=0.0, begin=70.0)
        world.at(1.0, partial(world.call, BAD))
        world.at(8.0, partial(world.forbidden.add, BAD))
        world.at(8.1, partial(world.call, BAD))
        world.at(9.0, partial(world.forbidden.discard, BAD))
        callers(world, 10.0, until=80.0)
        world.run(until=120.0)
        assert world.told[BAD, 401, 2] == 1
        assert {each[1:] for each in world.told} <= {(200, 1), (200, 2), (401, 2)}, seed
        assert not world.passed_in_pause, seed


@pytest.mark.parametrize("work", WORK)
def test_callers_that_have_had_no_response_before_get_none_either(work: float) -> None:
    """Their path is not proven: it would pause if its very first refresh met the next revocation."""
    for seed in SEEDS:
        world, _ = a_stormy_world(seed, work, jitter=0.0)
        callers(world, 9.9, until=40.0)
        world.run(until=60.0)
        assert not world.passed_in_pause, seed
        assert {each[1:] for each in world.told} <= {(200, 1), (200, 2), (401, 2)}, seed
        assert len(world.token_requests) <= 130


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_once_a_refresh_has_helped_no_caller_ever_gets_a_401_after_one_delivery(jitter: float, work: float) -> None:
    for seed in SEEDS:
        world, _ = a_stormy_world(seed, work, jitter)
        world.at(7.0 - work / 2, world.revoke)
        callers(world, 0.0, until=40.0)
        world.run(until=60.0)
        assert {each[1:] for each in world.told} <= {(200, 1), (200, 2), (401, 2)}, seed
        assert not world.passed_in_pause, seed


@pytest.mark.parametrize("work", [0.0, 0.6, 3.0, 5.0])
def test_calls_that_do_not_wait_for_each_other_get_no_401_after_one_delivery_either(work: float) -> None:
    """As above, with a call every 50 ms: ten tokens are revoked before the first resend is answered."""
    for seed in SEEDS:
        world, rng = a_stormy_world(seed, work, jitter=0.0)
        world.at(7.0 - work / 2, world.revoke)
        moment = 0.0
        while moment < 40.0:
            world.at(moment, partial(world.call, GOOD[0]))
            moment += rng.uniform(0.025, 0.075)
        world.run(until=60.0)
        assert {each[1:] for each in world.told} <= {(200, 1), (200, 2), (401, 2)}, seed
        assert not world.passed_in_pause, seed
