"""The cap on callers' connections follows the descriptors that there are."""

from __future__ import annotations

import pytest

from sidecar.core.descriptors import Descriptors, share_out, wanted


def test_with_enough_descriptors_the_configuration_is_in_force() -> None:
    assert wanted(1000, 100) == 1356
    assert share_out(1356, 1000, 100) == Descriptors(1000, 64, 32)
    assert share_out(1_000_000, 1000, 100) == Descriptors(1000, 64, 32)


@pytest.mark.parametrize(("allowed", "connections"), [(1355, 999), (512, 284), (256, 92), (100, 8), (20, 8)])
def test_with_few_descriptors_fewer_connections_are_taken(allowed: int, connections: int) -> None:
    assert share_out(allowed, 1000, 100).connections == connections


@pytest.mark.parametrize(
    ("allowed", "shares"),
    [(550, Descriptors(313, 34, 17)), (20, Descriptors(8, 1, 1)), (3, Descriptors(8, 1, 1))],
)
def test_of_few_descriptors_a_quarter_is_spared_and_shared_out_in_whole_ones(allowed: int, shares: Descriptors) -> None:
    assert share_out(allowed, 1000, 100) == shares


@pytest.mark.parametrize("allowed", [200, 256, 512, 1024, 1300])
def test_all_together_fit(allowed: int) -> None:
    shared = share_out(allowed, 1000, 100)
    assert shared.connections + shared.refused + shared.admin + 100 + 15 <= allowed


def test_fewer_than_the_least_are_taken_if_that_is_configured() -> None:
    assert share_out(256, 2, 100).connections == 2
