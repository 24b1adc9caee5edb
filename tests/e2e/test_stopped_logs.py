"""The short form of ``python -m benchmarks.stopped_logs``, and that it can fail."""

from __future__ import annotations

import pytest

from benchmarks.stopped_logs import FrozenFile, Plan, Result, measure

PLAN = Plan(seconds=1, rate=100, callers=5)
LONG = Plan(seconds=60, rate=100)
GOOD = Result("pipe", 9, 0, [0.001] * 100, [0.002] * 100, 4, 5)


@pytest.mark.parametrize(
    ("kind", "loop"),
    [("pipe", "asyncio"), ("socket", "uvloop"), ("terminal", "asyncio"), ("file", "uvloop"), ("file", "asyncio")],
)
async def test_calls_are_served_while_the_log_stands_still_and_every_line_is_there_or_counted(
    kind: str, loop: str
) -> None:
    if kind == "file" and not FrozenFile.possible():
        pytest.skip("only root can freeze a file system")
    result = await measure(kind, PLAN, loop)
    assert result.failed == 0
    assert result.calls > 100
    assert len(result.stopped) > 20
    assert result.lines + result.dropped >= result.calls


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Result("pipe", 9, 1, [0.001], [0.001], 4, 5), "1 calls failed"),
        (Result("pipe", 9, 0, [0.001] * 100, [0.022] * 100, 4, 5), "is 22.0 ms, usual are 1.0 ms"),
        (Result("pipe", 9, 0, [0.001], [0.001], 3, 5), "1 lines are neither there nor counted"),
        (Result("pipe", 9, 0, [0.001], [0.001], 9, 0), "did not stand still"),
    ],
)
def test_a_broken_promise_is_told(result: Result, words: str) -> None:
    [sentence] = result.wrong(LONG)
    assert words in sentence
    assert not list(GOOD.wrong(LONG))
