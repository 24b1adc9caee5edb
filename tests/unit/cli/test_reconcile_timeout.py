"""For how long ``reconcile`` waits for the sidecar: longer than that may wait itself."""

from __future__ import annotations

import pytest

from sidecar.cli.reconcile import _longest_response
from sidecar.config import load
from sidecar.reconcile.lookup import MAX_WAIT
from sidecar.reconcile.proxy import TIMEOUT
from tests.support.canary import CANARY_API_KEY

ACCOUNT = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY}


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"SIDECAR_UPSTREAM_RESPONSE_TIMEOUT": "5s"}, TIMEOUT),
        ({}, 2 * (10.0 + 60.0)),
        ({"SIDECAR_LIMITS_WAIT": "5m"}, 300.0 + 2 * (10.0 + 60.0)),
        ({"SIDECAR_LIMITS_WAIT": "24h"}, MAX_WAIT),
    ],
)
def test_it_waits_for_what_the_configuration_lets_a_batch_call_wait(variables: dict[str, str], seconds: float) -> None:
    assert _longest_response(load(None, {**ACCOUNT, **variables})) == seconds
