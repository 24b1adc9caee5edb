"""A peer may pause, and may be slow for a while; on average it must keep up a rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.pace import GRACE, LEAST_RATE, patience


@pytest.mark.parametrize(
    ("pause", "waited", "moved", "expected"),
    [
        (30.0, 0.0, 0, 30.0),  # nothing yet: one whole pause
        (30.0, 29.0, 1, 1.0 + 1 / 1024),  # the grace is nearly over
        (30.0, 30.0, 0, 0.0),
        (30.0, 300.0, 300, 0.0),  # a byte a second: too slow
        (30.0, 300.0, 300 * 1024, 30.0),  # 1 KiB a second: it may pause again
        (30.0, 300.0, 280 * 1024, 10.0),
        (30.0, 300.0, 10**9, 30.0),  # however fast it was, a pause is a pause
        (2.0, 2.0, 0, 0.0),  # a shorter pause shortens the grace
        (2.0, 2.0, 1024, 1.0),
        (300.0, 0.0, 0, 30.0),  # a longer one does not lengthen it
        (300.0, 0.0, 10**9, 300.0),
    ],
)
def test_how_long_a_peer_is_waited_for(pause: float, waited: float, moved: int, expected: float) -> None:
    assert patience(pause, waited, moved) == pytest.approx(expected)


@given(
    pause=st.floats(0.1, 600),
    steps=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4096)), max_size=200),
)
def test_nobody_is_waited_for_longer_than_the_rate_allows(pause: float, steps: list[tuple[float, int]]) -> None:
    """Whatever share of its patience a peer uses before it moves some bytes."""
    waited, moved = 0.0, 0
    for share, size in steps:
        waited += share * patience(pause, waited, moved)
        assert waited <= GRACE + moved / LEAST_RATE + 1e-6
        moved += size
