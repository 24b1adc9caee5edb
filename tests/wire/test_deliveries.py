"""The random test of deliveries (``python -m benchmarks.deliveries``): its short form, and that it can fail."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.deliveries.storm import Plan, run
from sidecar.core import resend, stored_response
from sidecar.proxy import relay
from sidecar.upstream import connection
from tests.wire.threats.mutation import rewritten

if TYPE_CHECKING:
    from benchmarks.deliveries.storm import Report

#: Calls within which a planted fault must be found: so many of each of these seeds.
_CALLS = 200
_SEEDS = range(7, 13)


def kinds(report: Report) -> set[str]:
    """Return the promises that were broken, without the calls that broke them."""
    return {sentence.rpartition("): ")[2] for sentence in report.wrong}


@pytest.mark.any_loop
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_every_caller_gets_its_own_response_one_delivery_and_the_right_outcome(tls: bool) -> None:
    report = await run(Plan(calls=200, seed=5, tls=tls))
    print(*report.lines(), sep="\n")
    assert not report.wrong
    assert report.calls >= 200
    # It was a storm, and some calls came through it.
    seen = report.counts
    assert seen["deliveries: leave"] > 10
    assert seen["deliveries: token 401"] > 3
    assert seen["callers: upstream_unreachable, unknown"] > 10
    assert seen["callers: left, told nothing"] > 3
    assert seen["callers: 2xx of upstream"] > 50


#: Faults that somebody might make: where, what stands there, what would stand there; and what the oracle says to it.
PLANTED: list[Any] = [
    pytest.param(
        [(resend, "decide", "row.safe if method in SAFE_METHODS else row.write", "Resend.ONCE")],
        "a POST was delivered twice, though the first was not answered with a complete token 401",
        id="a write is sent again",
    ),
    pytest.param(
        [
            (
                connection,
                "Connection._feed",
                "if surplus:\n                self._close()",
                'if surplus:\n                self._death = data[data.rfind(b"HTTP/1.1") :]',
            ),
            (
                connection,
                "Connection.exchange",
                "self._head_only = head_only",
                (
                    "self._head_only = head_only\n        if isinstance(self._death, bytes):\n"
                    "            self.loop.call_soon(self.data_received, self._death)"
                ),
            ),
        ],
        "got the response to call 0",
        id="what is left of a response is kept for the next one",
    ),
    pytest.param(
        [(stored_response, "read_stored_response", "comparable(stored.path) != comparable(path)", "False")],
        "got another stored response than the one to this call",
        id="another path's stored response is taken",
    ),
    pytest.param(
        [
            (
                resend,
                "decide",
                "return Verdict(resend, row.code, row.outcome)",
                "return Verdict(resend, row.code, Outcome.NOT_SENT)",
            )
        ],
        "said not-sent, but bytes of it reached upstream",
        id="what was sent is told as not sent",
    ),
    pytest.param(
        [
            (
                relay,
                "_stream",
                "except UpstreamError as error:\n",
                "except UpstreamError as error:\n        stream.finish()\n",
            )
        ],
        "a response that was not complete or broke HTTP was passed on as complete",
        id="a response that was cut ends cleanly",
    ),
]


@pytest.mark.interpreted
@pytest.mark.parametrize(("faults", "found"), PLANTED)
async def test_a_planted_fault_is_found(faults: list[tuple[Any, str, str, str]], found: str) -> None:
    seen: set[str] = set()
    with ExitStack() as planted:
        for fault in faults:
            planted.enter_context(rewritten(*fault))
        for seed in _SEEDS:
            seen |= kinds(await run(Plan(calls=_CALLS, seed=seed)))
            if any(kind.startswith(found) for kind in seen):
                return
    pytest.fail(f"not found in {len(_SEEDS) * _CALLS} calls; seen: {seen}")
