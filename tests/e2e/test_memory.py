"""The real command with its defaults under the worst attacks on its memory; ``benchmarks.memory`` tries all of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.memory.__main__ import LIMIT, attacked
from benchmarks.memory.attacks import ATTACKS
from benchmarks.memory.upstream import serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak")


@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("heads without an end", "uvloop"),
        ("heads behind heads", "uvloop"),
        ("heads behind heads", "asyncio"),
        ("bodies that wait for memory", "uvloop"),
        ("bodies that wait for memory", "asyncio"),
    ],
)
def test_the_process_stays_below_its_limit(name: str, loop: str, tmp_path: Path) -> None:
    with serving(tmp_path) as (url, ca_file):
        assert attacked(url, ca_file, ATTACKS[name], loop) < LIMIT
