"""What the gate on instructions drives, without callgrind: the command behind TLS, and callers that look at answers."""

from __future__ import annotations

import sys

import pytest

from benchmarks.counting.workloads import WORKLOADS, Caller, CallFailedError, Workload
from benchmarks.page_cost_processes import NotStartedError, in_front_of_upstream

COMMAND = [sys.executable, "-m", "sidecar", "run"]


def test_both_workloads_are_answered_over_tls() -> None:
    with in_front_of_upstream(COMMAND, tls=True) as sidecar, Caller(sidecar.port) as caller:
        for each in WORKLOADS:
            caller.make(each, 9)
        with pytest.raises(CallFailedError, match=r"a wrong call was answered with b'HTTP/1\.1 400"):
            caller.make(Workload("wrong", "a wrong call", "GET", "/elsewhere/../x"), 1)


def test_a_sidecar_that_does_not_start_says_why() -> None:
    wrong = {"SIDECAR_MANGOPAY_BASE_URL": "ftp://127.0.0.1"}
    with (
        pytest.raises(NotStartedError, match=r"the sidecar did not start: .*BASE_URL"),
        in_front_of_upstream(COMMAND, environ=wrong),
    ):
        pass
