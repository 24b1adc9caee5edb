"""Hooks: whom an event calls, when again, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import pytest

from sidecar.emulator.fault_rules import parse
from sidecar.emulator.loopback import Trusted
from tests.support.clock import FakeClock
from tests.support.emulator import Platform, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.emulator.hooks import Delivery

EVENT: Final = "PAYIN_NORMAL_SUCCEEDED"
URL: Final = "http://127.0.0.1:9/hook?a=1"


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def register(platform: Platform, url: str = URL, event: str = EVENT) -> str:
    identifier: str = platform.create("hooks", {"Url": url, "EventType": event})["Id"]
    return identifier


def due(platform: Platform) -> Iterator[Delivery]:
    """Take all that is due now."""
    while (delivery := platform.emulator.outbox.take()) is not None:
        yield delivery


def called(platform: Platform) -> list[str]:
    """Deliver all that is due now, and return what it was about."""
    seen = []
    for delivery in due(platform):
        platform.emulator.outbox.finish(delivery, None)
        seen.append(delivery.resource_id)
    return seen


def trigger(platform: Platform, identifier: str = "1", event: str = EVENT) -> None:
    response = platform.control("POST", "trigger", {"client_id": "acme", "event": event, "id": identifier})
    assert response.status == 200, response.body


def outcomes(platform: Platform) -> list[str]:
    return [each["outcome"] for each in read(platform.control("GET", "hooks"))]


def test_a_trigger_says_how_many_hooks_it_calls(platform: Platform) -> None:
    """A typo in the event's name calls none."""
    register(platform)
    for event, called in ((EVENT, 1), (f"{EVENT}X", 0)):
        body = {"client_id": "acme", "event": event, "id": "1"}
        assert read(platform.control("POST", "trigger", body)) == {"event": event, "id": "1", "hooks": called}


def test_a_hook_is_called_with_what_happened(platform: Platform) -> None:
    register(platform)
    paid = platform.pay_in("direct")["Id"]
    (delivery,) = due(platform)
    assert delivery.target._replace(query="").geturl() == "http://127.0.0.1:9/hook"
    told = {"a": ["1"], "RessourceId": [paid], "EventType": [EVENT], "Date": ["1700000000"]}
    assert parse_qs(delivery.target.query) == told


@pytest.mark.parametrize("change", [{"Status": "DISABLED"}, {"Url": "http://10.0.0.1/"}])
def test_a_hook_that_is_disabled_or_elsewhere_is_not_called(platform: Platform, change: dict[str, str]) -> None:
    hook = register(platform)
    assert platform.call("PUT", f"hooks/{hook}", change).status == 200
    trigger(platform)
    trigger(platform, event="KYC_CREATED")
    assert called(platform) == []
    assert outcomes(platform) == (["refused"] if "Url" in change else [])
    assert read(platform.call("GET", f"hooks/{hook}"))["Validity"] == "VALID"


def test_what_fails_is_tried_again_until_the_hook_is_invalid(platform: Platform) -> None:
    hook = register(platform)
    trigger(platform)
    tries = []
    for pause in (0, 1, 5, 30, 1000):
        platform.control("POST", "time", {"advance": pause})
        for delivery in due(platform):
            tries.append((pause, delivery.attempt))
            platform.emulator.outbox.finish(delivery, "status 500")
    assert tries == [(0, 1), (1, 2), (5, 3), (30, 4)]
    assert outcomes(platform) == ["retried", "retried", "retried", "failed"]
    assert read(platform.call("GET", f"hooks/{hook}"))["Validity"] == "INVALID"
    trigger(platform)
    assert called(platform) == []


@pytest.mark.parametrize("ended_by", ["Mangopay", "the app"])
def test_what_waits_for_another_try_is_not_made_once_the_hook_is_called_no_more(
    platform: Platform, ended_by: str
) -> None:
    platform.state.configure(hook_retries=(1, 5))
    hook = register(platform)
    trigger(platform, "1")
    trigger(platform, "2")
    first, second = due(platform)
    platform.emulator.outbox.finish(first, "status 500")
    if ended_by == "Mangopay":
        platform.state.configure(hook_retries=())
        platform.emulator.outbox.finish(second, "status 500")
    else:
        platform.call("PUT", f"hooks/{hook}", {"Status": "DISABLED"})
        platform.emulator.outbox.finish(second, "status 500")
    platform.control("POST", "time", {"advance": 1000})
    assert called(platform) == []
    assert outcomes(platform)[-1] == "failed"


def test_a_call_that_is_under_way_is_not_over(platform: Platform) -> None:
    """A test may wait until none waits."""
    register(platform)
    trigger(platform)
    (delivery,) = due(platform)
    assert outcomes(platform) == ["waiting"]
    platform.emulator.outbox.finish(delivery, None)
    assert outcomes(platform) == ["delivered"]


def test_an_invalid_hook_is_called_again_once_it_was_disabled_and_enabled(platform: Platform) -> None:
    platform.state.configure(hook_retries=())
    hook = register(platform)
    trigger(platform)
    for delivery in due(platform):
        platform.emulator.outbox.finish(delivery, "gone")
    seen = []
    for status in ("ENABLED", "DISABLED", "ENABLED"):
        platform.call("PUT", f"hooks/{hook}", {"Status": status})
        trigger(platform, status)
        seen.append(called(platform))
    assert seen == [[], [], ["ENABLED"]]


def test_a_try_comes_no_sooner_than_its_pause(platform: Platform) -> None:
    register(platform)
    trigger(platform)
    for delivery in due(platform):
        platform.emulator.outbox.finish(delivery, "gone")
    platform.control("POST", "time", {"advance": 0.9})
    assert called(platform) == []
    platform.control("POST", "time", {"advance": 0.2})
    assert called(platform) == ["1"]


@pytest.mark.parametrize(
    ("fault", "now", "later"),
    [
        ("hook-lost times=1", ["2", "3"], []),
        ("hook-twice times=1", ["1", "1", "2", "3"], []),
        ("hook-late times=1", ["2", "3"], ["1"]),
        ("hook-late=60 times=1", ["2", "3"], []),
        ("hook-swap times=1", ["2", "1", "3"], []),
        ("hook-swap times=2", ["3", "1", "2"], []),
        ("hook-swap", [], ["1", "2", "3"]),
        (f"hook-lost event={EVENT}", [], []),
        ("hook-lost event=KYC_CREATED", ["1", "2", "3"], []),
    ],
)
def test_calls_go_wrong_by_a_fault(platform: Platform, fault: str, now: list[str], later: list[str]) -> None:
    register(platform)
    platform.emulator.faults.add(fault)
    for identifier in ("1", "2", "3"):
        trigger(platform, identifier)
    assert called(platform) == now
    platform.control("POST", "time", {"advance": 10})
    assert called(platform) == later


def test_a_hook_s_fault_is_none_of_a_request(platform: Platform) -> None:
    platform.emulator.faults.add("hook-lost")
    assert platform.emulator.faults.pick("GET", ("v2.01", "acme", "users")) is None


@pytest.mark.parametrize(
    "text", ["hook-lost POST", "hook-lost /v2.01", "hook-late=soon", "status=500 event=X", "hook-lost stage=after"]
)
def test_what_is_no_fault_of_a_hook_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="bad fault"):
        parse(text)


@pytest.mark.parametrize("target", [{"client_id": "acme"}, {}])
def test_a_reset_forgets_calls_that_wait(platform: Platform, target: dict[str, str]) -> None:
    register(platform)
    trigger(platform)
    platform.control("POST", "reset", target)
    assert called(platform) == []


def test_another_client_s_calls_outlive_a_reset(platform: Platform) -> None:
    register(platform)
    platform.emulator.faults.add("hook-swap")
    trigger(platform)
    platform.control("POST", "reset", {"client_id": "other"})
    assert outcomes(platform) == ["waiting"]


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("http://localhost/a", True),
        ("http://LOCALHOST.:8080", True),
        ("http://app.localhost:8080/a", True),
        ("http://127.1.2.3/", True),
        ("http://[::1]:80/", True),
        ("http://[::ffff:127.0.0.1]/", True),
        ("https://localhost/", False),
        ("http://localhost.example/", False),
        ("http://169.254.169.254/", False),
        ("http://2130706433/", False),
        ("http://0.0.0.0/", False),
        ("http://localhost:0/", False),
        ("http://localhost:99999/", False),
        ("http://localhost\r\nX: y/", False),
        ("http://localhost/a b", False),
        ("http://[::1", False),
        ("http:///x", False),
        ("ftp://localhost/", False),
        ("", False),
    ],
)
def test_only_this_machine_is_called(url: str, is_one: bool, platform: Platform) -> None:
    assert calls(platform, url) is is_one


def calls(platform: Platform, url: str) -> bool:
    """Tell whether a hook with this URL is called."""
    hook = {"Url": url, "EventType": EVENT, "Status": "ENABLED", "Validity": "VALID"}
    placed = {"client_id": "acme", "collection": "Hook", "id": "hook_1", "fields": hook}
    assert platform.control("POST", "place", placed).status == 200
    trigger(platform, "1")
    return outcomes(platform) == ["waiting"]


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("http://172.18.0.1:8000/hooks", True),
        ("http://[::ffff:172.18.0.1]/", True),
        ("http://Build:8000/hooks", True),
        ("http://build./", True),
        ("http://173.18.0.1/", False),
        ("http://builder/", False),
        ("https://build/", False),
        ("http://build:0/", False),
        ("http://127.0.0.1/", False),
    ],
)
def test_a_container_calls_whom_it_trusts_and_nobody_beside_it(url: str, is_one: bool) -> None:
    platform = Platform(FakeClock(), trusted=Trusted(["172.16.0.0/12", "build"]))
    platform.emulator.outbox.calling = False  # it listens on an address that others reach
    assert calls(platform, url) is is_one


@pytest.mark.parametrize("text", ["", "172.16.0.1/12", "1.2.3", "300.1.1.1", "a b", "http://build", "-build", "*"])
def test_what_is_neither_a_network_nor_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither a network such as 172\.16\.0\.0/12 nor a host name"):
        Trusted([text])


# --- time ------------------------------------------------------------------------------------------------------------


def test_time_that_is_put_forward_ends_tokens_and_authentications(platform: Platform) -> None:
    told = read(platform.control("POST", "time", {"advance": 3600}))
    assert told == {"now": 1_700_003_600.0, "ahead": 3600.0}
    assert read(platform.control("GET", "time")) == told
    assert platform.call("GET", "users").status == 401


@pytest.mark.parametrize("advance", [-1, 1e12, "soon", None])
def test_time_does_not_go_back(platform: Platform, advance: Any) -> None:
    assert platform.control("POST", "time", {"advance": advance}).status == 400
    assert read(platform.control("GET", "time"))["ahead"] == 0


async def test_a_reset_puts_the_clock_back_and_wakes_who_slept_by_it(platform: Platform) -> None:
    clock = platform.emulator.clock
    clock.advance(3600)
    sleeper = asyncio.ensure_future(clock.sleep_until(clock.now() + 5))
    await asyncio.sleep(0)
    assert not sleeper.done()
    platform.control("POST", "reset", {"client_id": "other"})
    assert clock.ahead == 3600
    platform.control("POST", "reset", {})
    await asyncio.wait_for(sleeper, 5)
    assert read(platform.control("GET", "time")) == {"now": 1_700_000_000.0, "ahead": 0}


@pytest.mark.parametrize(
    ("reset", "outcome"), [({}, []), ({"client_id": "acme"}, []), ({"client_id": "other"}, ["retried", "waiting"])]
)
def test_a_call_that_was_under_way_at_a_reset_counts_no_more(
    platform: Platform, reset: dict[str, str], outcome: list[str]
) -> None:
    register(platform)
    trigger(platform, "1")
    (delivery,) = due(platform)
    platform.control("POST", "reset", reset)
    platform.emulator.outbox.finish(delivery, "status 500")
    assert outcomes(platform) == outcome
