"""Each case of the suite against the sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.threats.tables import ALL

if TYPE_CHECKING:
    from tests.wire.threats.case import Case
    from tests.wire.threats.stage import Stage


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_case(stage: Stage, case: Case) -> None:
    complaints = stage.play(case)
    assert not complaints, "\n".join([f"{case.threat}: {case.title}", *map(str, complaints)])


def test_the_suite_is_as_large_as_it_says() -> None:
    assert len(ALL) >= 320
    assert len({case.threat for case in ALL.values()}) >= 15
