"""Each case of the suite against the sidecar."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.wire.threats.play import Complaint, run_case
from tests.wire.threats.tables import ALL

if TYPE_CHECKING:
    from tests.wire.threats.case import Case
    from tests.wire.threats.stage import Harness

#: Cases that wait for a deadline, each for a second or so.
WAITING: Final = {title: case for title, case in ALL.items() if case.sidecar == "hasty"}
OTHERS: Final = {title: case for title, case in ALL.items() if title not in WAITING}


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_case(stage: Harness, case: Case) -> None:
    _passes(case, stage.run_case(case))


@pytest.fixture(scope="module")
def waited(stage: Harness) -> dict[str, list[Complaint]]:
    """What came of the cases that wait, all played at once."""

    def one(case: Case) -> list[Complaint]:
        with stage.fresh(case.sidecar) as venue:
            return run_case(case, venue)

    with ThreadPoolExecutor(len(WAITING)) as lanes:
        return dict(zip(WAITING, lanes.map(one, WAITING.values()), strict=True))


@pytest.mark.parametrize("case", WAITING.values(), ids=WAITING)
def test_case_that_waits(waited: dict[str, list[Complaint]], case: Case) -> None:
    _passes(case, waited[case.title])


def _passes(case: Case, complaints: list[Complaint]) -> None:
    assert not complaints, "\n".join([f"{case.threat}: {case.title}", *map(str, complaints)])


def test_the_suite_is_as_large_as_it_says() -> None:
    assert len(ALL) >= 1100
    assert len({case.threat for case in ALL.values()}) >= 40
