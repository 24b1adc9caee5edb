"""Lists: pages, order, filters, and the headers that tell how much there is."""

from __future__ import annotations

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import Platform, header


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def platform(clock: FakeClock) -> Platform:
    return Platform(clock)


# --- lists ---


@pytest.fixture
def hooks(platform: Platform) -> list[str]:
    return [platform.create("hooks", {"Url": "http://x", "EventType": f"E{number}"})["Id"] for number in range(5)]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("?page=2&per_page=2", [2, 3]),
        ("?page=3&per_page=2", [4]),
        ("?page=4&per_page=2", []),
        ("?per_page=2", [0, 1]),
        ("?page=0&per_page=0", [0]),
        ("?page=x&per_page=-1", [0, 1, 2, 3, 4]),
        ("?Sort=CreationDate:DESC&per_page=2", [4, 3]),
        ("?EventType=E1,E3", [1, 3]),
    ],
)
def test_pages_of_a_list(platform: Platform, hooks: list[str], query: str, wanted: list[int]) -> None:
    assert platform.list(f"hooks{query}") == [hooks[index] for index in wanted]


def test_a_list_tells_how_much_there_is(platform: Platform, hooks: list[str]) -> None:
    response = platform.call("GET", "hooks?page=2&per_page=2&Status=ENABLED", headers=((b"Host", b"mangopay:80"),))
    assert (header(response, "X-Number-Of-Pages"), header(response, "X-Number-Of-Items")) == (["3"], [str(len(hooks))])
    base = "<http://mangopay:80/v2.01/acme/hooks?page={}&per_page=2&status=ENABLED>"
    relations = {"first": 1, "last": 3, "prev": 1, "next": 3}
    assert header(response, "Link") == [
        ", ".join(f'{base.format(page)}; rel="{relation}"' for relation, page in relations.items())
    ]


def test_answers_that_are_no_lists_have_no_page_headers(platform: Platform) -> None:
    response = platform.call("GET", f"users/{platform.user}")
    assert not header(response, "X-Number-Of-Pages") + header(response, "X-Number-Of-Items") + header(response, "Link")


def test_collections_are_bounded(clock: FakeClock) -> None:
    from sidecar.emulator.resources.hooks import HOOK
    from sidecar.emulator.state import ClientState, Resource

    client = ClientState("acme", kept=2, told=lambda client, event: None)
    for number in range(3):
        client.collection("Hook").add(Resource(HOOK, {"Id": str(number)}))
    assert [client.find("Hook", str(number)) is not None for number in range(3)] == [False, True, True]
