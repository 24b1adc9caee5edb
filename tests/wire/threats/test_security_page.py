"""SECURITY.md speaks of threats and tests that exist, and of all threats of the suite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.wire.threats.tables import ALL

_ROOT: Final = Path(__file__).parents[3]
PAGE: Final = _ROOT.joinpath("SECURITY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("threat", sorted({case.threat for case in ALL.values()}))
def test_every_threat_of_the_suite_is_on_the_page(threat: str) -> None:
    assert f'"{threat}"' in PAGE


def test_every_group_on_the_page_is_one_of_the_suite() -> None:
    held = [line for line in PAGE.splitlines() if line.startswith("- **Held by** ")]
    named = {name for line in held for name in re.findall(r'"([^"]+)"', line)}
    assert named <= {case.threat for case in ALL.values()}
    threats = PAGE.partition("## Threat model\n")[2].partition("\n## ")[0].count("\n### ")
    assert len(held) == threats >= 15


def test_the_page_can_be_read_on_a_phone() -> None:
    assert "\n|" not in PAGE


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w./]+)`", PAGE))))
def test_every_test_that_the_page_names_exists(path: str) -> None:
    assert _ROOT.joinpath(path).exists()
