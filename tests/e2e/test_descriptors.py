"""The limit of open files is raised to what the configuration may need, or its shortage told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import COMMAND

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process are read from /proc")

#: listen.max_connections, upstream.pool_size and what is spared, by default.
WANTED = 1000 + 100 + 256


@pytest.fixture
def environ() -> dict[str, str]:
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": "http://127.0.0.1:9",
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "0",
        "SIDECAR_LOG_FORMAT": "json",
    }


def limits_and_log(environ: dict[str, str], soft: int, hard: int) -> tuple[tuple[int, int], str]:
    """Run the command under these limits; return those that it has once it is ready, and its log."""
    process = subprocess.Popen(
        ["sh", "-c", f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec '{COMMAND}' run"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        found = re.search(
            r"^Max open files +(\d+) +(\d+)", Path(f"/proc/{process.pid}/limits").read_text(), re.MULTILINE
        )
        assert found is not None
    finally:
        process.terminate()
        _, log = process.communicate(timeout=30)
    return (int(found[1]), int(found[2])), log


@pytest.mark.parametrize(
    ("given", "then", "scarce"),
    [
        ((256, 4096), (WANTED, 4096), False),
        ((3000, 4096), (3000, 4096), False),
        ((256, 512), (512, 512), True),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(
    environ: dict[str, str], given: tuple[int, int], then: tuple[int, int], scarce: bool
) -> None:
    limits, log = limits_and_log(environ, *given)
    assert limits == then
    assert ("descriptors.scarce" in log) is scarce
    if scarce:
        assert "ulimit -n" in log
