"""The hook watch: when it looks, what it tells, and what it keeps when a look fails. No socket; time by hand."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.core.endpoint import Endpoint
from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.hooks import MOST_HOOKS, MOST_PAGES, HookState
from sidecar.core.resend import FailureKind
from sidecar.proxy.exchange import Exchanger
from sidecar.proxy.hook_watch import FIRST, INTERVAL, JITTER, HookWatch
from sidecar.runtime import Tasks
from tests.support.in_memory import CLIENT_ID, Fate, MemoryProxy, in_memory, respond
from tests.support.tokens import LOCKED_OUT, REFUSED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.core.tokens.oauth import FetchResult

PATH: Final = f"/v2.01/{CLIENT_ID}/hooks"


def hook(event: str, status: str = "ENABLED", validity: str = "VALID") -> dict[str, str]:
    return {"Id": "hook_m_1", "Url": "https://x", "EventType": event, "Status": status, "Validity": validity}


def listed(*hooks: dict[str, str], pages: int | None = 1) -> Fate:
    """Answer with a page of hooks; each connection serves one."""
    headers = [] if pages is None else [f"X-Number-Of-Pages: {pages}"]
    return Fate(response=respond(200, json.dumps(hooks).encode(), *headers, "Connection: close"))


GOOD: Final = listed(hook("PAYIN_NORMAL_SUCCEEDED"), hook("KYC_FAILED"))
BAD: Final = listed(hook("PAYIN_NORMAL_SUCCEEDED"), hook("KYC_FAILED", validity="INVALID"))


class Watched:
    """A watch over a Mangopay that follows a script."""

    def __init__(self, proxy: MemoryProxy, lane: Lane | None = None) -> None:
        self.proxy = proxy
        #: What it gets for every random number.
        self.roll = 0.5
        self.watch = HookWatch(
            Exchanger(proxy.pool, proxy.clock),
            proxy.tokens,
            endpoint=Endpoint.parse("https://api.example.com"),
            client_id=CLIENT_ID,
            clock=proxy.clock,
            chance=lambda: self.roll,
            metrics=proxy.metrics,
            turn=lane,
        )

    async def look(self, *fates: Fate) -> None:
        """Have it look, which meets ``fates``; move the clock until that is over."""
        self.proxy.mangopay.script.extend(fates)
        tasks = Tasks()
        task = tasks.spawn(self.watch.look(), name="look")
        await self.proxy.clock.settle()
        for _ in range(200):
            if task.done():
                break
            await self.proxy.clock.advance(0.25)
        assert task.done(), "the look does not end"
        await tasks.close()
        assert not self.proxy.mangopay.script

    @property
    def asked(self) -> list[str]:
        return [each.head.split(b" ")[1].decode() for each in self.proxy.mangopay.deliveries]

    def logged(self, event: str) -> list[Any]:
        return [each for each in self.proxy.logs if each["event"] == event]

    def metric(self) -> dict[str, float]:
        return {labels[0]: value for labels, value in self.proxy.metrics.hooks.read()}


@asynccontextmanager
async def watched(*, token: bool = True) -> AsyncIterator[Watched]:
    async with in_memory(token=token) as proxy:
        yield Watched(proxy)


async def test_hooks_that_are_called_are_nothing_to_tell() -> None:
    async with watched() as watched_:
        assert (watched_.watch.status.looked_at, watched_.metric()) == (None, {})
        await watched_.look(GOOD)
        assert watched_.asked == [f"{PATH}?page=1&per_page=100"]
        assert watched_.metric() == {"valid": 2, "invalid": 0, "disabled": 0, "other": 0}
        assert watched_.watch.status.failing == ()
        assert watched_.watch.status.looked_at == watched_.proxy.clock.wall()
        assert [each["event"] for each in watched_.proxy.logs if each["event"].startswith("hooks.")] == []


async def test_a_hook_that_is_not_called_is_told_once_and_so_is_its_recovery() -> None:
    async with watched() as watched_:
        for fate in (BAD, BAD, GOOD, GOOD):
            await watched_.look(fate)
        (failing,) = watched_.logged("hooks.failing")
        assert failing["hooks"] == ["KYC_FAILED invalid"]
        assert "disable the hook and enable it again" in failing["mend"]
        assert len(watched_.logged("hooks.recovered")) == 1
        await watched_.look(BAD)
        await watched_.look(listed(hook("KYC_FAILED", status="DISABLED")))
        assert [each["hooks"] for each in watched_.logged("hooks.failing")][1:] == [
            ["KYC_FAILED invalid"],
            ["KYC_FAILED disabled"],
        ]


async def test_all_pages_are_read() -> None:
    async with watched() as watched_:
        await watched_.look(listed(hook("A"), pages=3), listed(hook("B"), pages=3), listed(hook("C"), pages=3))
        assert watched_.asked == [f"{PATH}?page={number}&per_page=100" for number in (1, 2, 3)]
        assert watched_.metric()["valid"] == 3


async def test_pages_without_end_that_are_longer_than_asked_for_take_no_memory() -> None:
    async with watched() as watched_:
        page = listed(*[{}] * (MOST_HOOKS - 1), pages=999)
        await watched_.look(*[page] * MOST_PAGES)
        assert watched_.metric() == {"valid": 0, "invalid": 0, "disabled": 0, "other": MOST_HOOKS}


async def test_without_a_number_of_pages_a_full_one_is_followed_by_another() -> None:
    async with watched() as watched_:
        await watched_.look(listed(*[hook("A")] * 100, pages=None), listed(pages=None))
        assert watched_.metric()["valid"] == 100


# --- looks that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fates", "detail"),
    [
        ([Fate(fails=FailureKind.CONNECT)], "connect: as the script says"),
        ([Fate(breaks=True)], "lost"),
        ([Fate()], "timeout"),
        ([Fate(response=respond(200, b"[{", length=100))], "timeout"),
        ([Fate(response=respond(500, b"{}"))], "500"),
        ([Fate(response=respond(429, b"{}"))], "429"),
        ([Fate(response=respond(200, b'{"a": 1}'))], "200, and no list of hooks"),
        ([Fate(response=respond(403, b'{"Type": "x"}'))], "Client.Developers (READ)"),
        ([Fate(response=respond(403, b"<html>", "Content-Type: text/html"))], "403, a web page"),
        ([Fate(response=respond(401, b"{}")), Fate(response=respond(401, b"{}"))], "401"),
        ([listed(hook("A"), pages=2), Fate(response=respond(502, b"{}"))], "502"),
    ],
)
async def test_a_look_that_fails_is_said_and_says_nothing_of_the_hooks(fates: list[Fate], detail: str) -> None:
    async with watched() as watched_:
        await watched_.look(BAD)
        seen = watched_.metric()
        await watched_.look(*fates)
        (unseen,) = watched_.logged("hooks.unseen")
        assert detail in unseen["detail"]
        status = watched_.watch.status
        assert status.last_error == unseen["detail"]
        assert (watched_.metric(), [each.state for each in status.failing]) == (seen, [HookState.INVALID])
        assert len(watched_.logged("hooks.failing")) == 1
        await watched_.look(GOOD)
        assert watched_.watch.status.last_error == ""


async def test_a_first_look_that_fails_exposes_nothing() -> None:
    async with watched() as watched_:
        await watched_.look(Fate(response=respond(500, b"{}")))
        assert (watched_.metric(), watched_.watch.status.looked_at) == ({}, None)


async def test_a_token_that_was_revoked_is_renewed_once() -> None:
    async with watched() as watched_:
        await watched_.look(Fate(response=respond(401, b"{}")), GOOD)
        assert watched_.metric()["valid"] == 2
        assert watched_.proxy.source.requests == 2
        assert watched_.proxy.unauthorized() == {"token": 1}


async def test_a_refresh_that_fails_ends_the_look() -> None:
    async with watched() as watched_:
        watched_.proxy.source.then(LOCKED_OUT)
        await watched_.look(Fate(response=respond(401, b"{}")))
        assert watched_.watch.status.last_error == "token_locked_out"


@pytest.mark.parametrize("refusal", [LOCKED_OUT, REFUSED])
async def test_while_the_credential_is_latched_there_is_no_look_and_no_token_request(refusal: FetchResult) -> None:
    """Not even when the latch is open to the next call: the watch never is the probe."""
    async with watched(token=False) as watched_:
        clock, source = watched_.proxy.clock, watched_.proxy.source
        source.then(refusal)
        with pytest.raises(SidecarError):
            await watched_.proxy.tokens.take(clock.now() + 1)
        source.gated = True
        for _ in range(4):
            await watched_.look()
            await clock.advance(5)
        assert (source.requests, watched_.asked, watched_.logged("hooks.unseen")) == (1, [], [])
        assert watched_.watch.status.last_error == ""
        await clock.advance(60)  # a call has waited, so there is a probe
        source.gated = False
        source.let_go()
        await clock.settle()
        await watched_.look(GOOD)
        assert watched_.metric()["valid"] == 2


# --- calls that can wait ---------------------------------------------------------------------------------------------


class Lane:
    """Lets so many calls through; the next one is refused."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.under_way = self.ended = 0

    async def __call__(self) -> Lane:
        if not self.room:
            raise SidecarError(ErrorCode.OVERLOADED, "no room", retry_after=1.0)
        self.room -= 1
        self.under_way += 1
        return self

    def end(self) -> None:
        self.under_way -= 1
        self.ended += 1


async def test_each_page_takes_a_turn_and_gives_it_back_however_it_ends() -> None:
    async with in_memory() as proxy:
        lane = Lane(room=4)
        watched_ = Watched(proxy, lane)
        await watched_.look(listed(hook("A"), pages=2), listed(hook("B"), pages=2))
        await watched_.look(Fate(breaks=True))
        await watched_.look(Fate(response=respond(401, b"{}")), GOOD)
        assert (lane.under_way, lane.ended, watched_.metric()["valid"]) == (0, 4, 2)
        await watched_.look()
        assert watched_.watch.status.last_error == "overloaded"
        assert len(watched_.asked) == 5  # nothing was sent without a turn


# --- when it looks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("roll", [0.0, 0.5, 1.0])
async def test_it_looks_within_a_minute_and_then_every_fifteen_jittered(roll: float) -> None:
    async with watched() as watched_:
        watched_.roll = roll
        clock, tasks = watched_.proxy.clock, Tasks()
        watched_.proxy.mangopay.script.extend([GOOD] * 3)
        tasks.spawn(watched_.watch.run(), name="watch")
        await clock.settle()
        pause = INTERVAL * (1 - JITTER + 2 * JITTER * roll)
        for number, wait in enumerate((FIRST * roll, pause, pause), 1):
            if wait:
                await clock.advance(wait - 1)
                assert len(watched_.asked) == number - 1
                await clock.advance(1)
            await clock.settle()
            assert len(watched_.asked) == number
        await tasks.close()
