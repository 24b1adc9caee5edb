"""What a step found, and the causes of what is wrong with files."""

from __future__ import annotations

from sidecar.core.causes import OF_DEFECT, Cause, StepFinding, StepStatus
from sidecar.core.certificate import Defect


def test_a_finding_has_a_cause_where_something_is_wrong() -> None:
    assert StepFinding.ok("all is well") == StepFinding(StepStatus.OK, "all is well", None)
    assert StepFinding.skipped("off") == StepFinding(StepStatus.SKIPPED, "off", None)
    assert StepFinding.warning(Cause.CLOCK_SKEW, "2 s") == StepFinding(StepStatus.WARNING, "2 s", Cause.CLOCK_SKEW)
    assert StepFinding.failed(Cause.WRONG_KEY, "401") == StepFinding(StepStatus.FAILED, "401", Cause.WRONG_KEY)


def test_every_defect_of_a_file_has_a_cause_of_its_own() -> None:
    assert set(OF_DEFECT) == set(Defect)
    assert len(set(OF_DEFECT.values())) == len(Defect)
