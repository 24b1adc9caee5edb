"""What most processes never need is imported when it is asked for: it would cost each of them time and memory."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("started", "on_demand"),
    [
        ("sidecar.app", "sidecar.admin.page"),
        ("sidecar.app", "sidecar.admin.findings"),
        ("sidecar.app", "sidecar.proxy.batch_lane"),
        ("sidecar.app", "sidecar.core.steward"),
        ("sidecar.app", "sidecar.proxy.hook_watch"),
        ("sidecar.app", "sidecar.tokens.stores"),
        ("sidecar.app", "sidecar.emulator"),
        ("sidecar.app", "opentelemetry"),
        ("sidecar.app", "prometheus_client"),
        ("sidecar.app", "redis"),
        ("sidecar.emulator.server", "sidecar.emulator.resources."),
    ],
)
def test_it_is_not_there_before(started: str, on_demand: str) -> None:
    code = f"import sys, {started}; print([name for name in sys.modules if name.startswith({on_demand!r})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
