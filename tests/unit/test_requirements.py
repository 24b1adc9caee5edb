"""The layers of .venv: pinned by hashes, without addresses to fetch from, and one version of what is in two of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

REQUIREMENTS: Final = Path(__file__).parents[2] / "requirements"
#: From the smallest to the largest.
LAYERS: Final = ("build", "run", "test", "dev")
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9.-]*)(?:\[[a-z,-]+\])?==(\S+)", re.MULTILINE)


def pins(layer: str) -> dict[str, str]:
    return dict(_PIN.findall((REQUIREMENTS / f"{layer}.txt").read_text(encoding="utf-8")))


@pytest.mark.parametrize("layer", sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))
def test_every_package_is_pinned_by_hashes_and_no_address_is_recorded(layer: str) -> None:
    text = (REQUIREMENTS / f"{layer}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) >= 1
    for block in blocks:
        assert re.match(r"[^\n]*==", block)
        assert "--hash=sha256:" in block


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("run", "test"), ("otel", "test"), ("test", "dev"), ("build", "test"), ("build", "compile"), ("compile", "dev")],
)
def test_a_layer_holds_the_smaller_one_in_the_same_versions(smaller: str, larger: str) -> None:
    inside = pins(smaller)
    assert inside
    assert inside.items() <= pins(larger).items()
