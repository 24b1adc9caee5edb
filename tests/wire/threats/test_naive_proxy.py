"""The suite can fail: the same cases against a proxy that makes every mistake.

A case that only asks for a response of the sidecar's own would fail there in
any case. So what counts is the breach: upstream received what it must not, a
server was called that the request named, a response went to the wrong call or
came back though it was broken.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.wire.threats.case import About, Case, Echo, Exactly, LocalToken
from tests.wire.threats.play import PATIENCE, Complaint, run_case
from tests.wire.threats.tables import ALL

if TYPE_CHECKING:
    from tests.wire.threats.stage import Harness

#: All cases are played in the fixture, within the time of the first test.
pytestmark = pytest.mark.timeout(240)

#: Cases that are played at once: most of them are spent in waiting.
_LANES: Final = 32
#: Seconds. Long for a case that the naive proxy passes, short for one on which it hangs.
_LITTLE_PATIENCE: Final = 2.5

#: How many cases of each threat it breaches at least. What is missing to the number of cases are those that any proxy
#: passes, and those on which it hangs up or hangs: no harm, but no response either.
BREACHES: Final = {
    "two lengths": 20,
    "odd lengths": 25,
    "odd codings": 40,
    "framing fields under other names": 20,
    "a request inside a body": 10,
    "chunk sizes": 25,
    "line ends of chunks": 10,
    "chunk extensions": 10,
    "trailers": 15,
    "protocol versions": 25,
    "spaces and line ends of the request line": 20,
    "methods": 10,
    "forms of the target": 8,
    "field lines": 40,
    "one Host": 10,
    "requests that stop short": 3,
    "traversals": 40,
    "characters of the target": 18,
    "targets that pass to the byte": 10,
    "the ClientId and its aliases": 10,
    "another ClientId": 10,
    "the port itself": 3,
    "Host": 50,
    "web pages": 25,
    "fields that are not the caller's to send": 40,
    "fields that Connection names": 20,
    "policy.deny": 50,
    "policy.allow": 14,
    "policy.read_only": 10,
    "the caller key": 35,
    "spellings of the token path": 45,
    "which key is for whom": 7,
    "status lines of upstream": 20,
    "field lines of upstream": 14,
    "lengths of upstream": 20,
    "chunks of upstream": 1,
    "bytes that upstream sends unasked": 10,
    "fields of upstream that are not for the caller": 15,
    "sizes": 8,
    "pace": 1,
}

#: What it gets right though it holds no threat off: it reads a whole body before it forwards any of it.
RIGHT_BY_CHANCE: Final = {"cut-body", "cut-chunk"}

#: Ordinary traffic that it passes as it should: it is naive, not dead.
PASSES: Final = {
    "control-get",
    "control-post",
    "control-put",
    "control-delete",
    "control-head",
    "control-two-pipelined",
    "control-one-after-another",
    "control-14-mb",
    "control-repeats",
    "answer-json",
    "answer-204",
    "answer-304",
    "answer-429",
    "answer-gzip",
    "answer-5-mb",
    "kept-obs-text",
    "kept-case",
    "query",
}


def _any_proxy_passes(case: Case) -> bool:
    """Say whether a case is one of traffic that passes, with nothing of it refused."""
    return all(isinstance(response, Echo | Exactly | LocalToken | About) for response in case.outcome.responses)


@pytest.fixture(scope="module")
def played(stage: Harness) -> dict[str, list[Complaint]]:
    """Every case on a naive proxy of its own."""

    def one(case: Case) -> list[Complaint]:
        with stage.naive() as venue:
            return run_case(case, venue, PATIENCE if case.title in PASSES else _LITTLE_PATIENCE)

    with ThreadPoolExecutor(_LANES) as lanes:
        return dict(zip(ALL, lanes.map(one, ALL.values()), strict=True))


@pytest.mark.parametrize("threat", BREACHES)
def test_every_threat_comes_true_on_a_naive_proxy(played: dict[str, list[Complaint]], threat: str) -> None:
    found = [title for title, complaints in played.items() if ALL[title].threat == threat]
    breached = [title for title in found if any(complaint.breach for complaint in played[title])]
    assert len(breached) >= BREACHES[threat], f"only {len(breached)} of {len(found)}: {breached}"


def test_no_threat_is_without_its_number() -> None:
    ordinary = {"ordinary requests", "ordinary answers", "fields that pass to the byte"}
    assert {case.threat for case in ALL.values()} == BREACHES.keys() | ordinary


def test_a_naive_proxy_passes_only_what_any_proxy_would(played: dict[str, list[Complaint]]) -> None:
    passed = {title for title, complaints in played.items() if not complaints}
    undeserved = {title for title in passed if not _any_proxy_passes(ALL[title])}
    assert undeserved <= RIGHT_BY_CHANCE
    assert len(ALL) - len(passed) > 900, Counter(ALL[title].threat for title in passed)


@pytest.mark.parametrize("title", sorted(PASSES))
def test_a_naive_proxy_passes_ordinary_traffic(played: dict[str, list[Complaint]], title: str) -> None:
    assert not played[title], "\n".join(map(str, played[title]))
