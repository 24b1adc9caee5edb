"""The lock files of Node projects pin what is fetched by its hash, and leave it to npm where to fetch it from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

TESTS: Final = Path(__file__).parents[1]
PROJECTS: Final = [TESTS / "e2e" / "sdk" / "node", TESTS / "deploy" / "node", TESTS / "deploy" / "kubectl"]
pytestmark = pytest.mark.parametrize("project", PROJECTS, ids=lambda path: str(path.relative_to(TESTS)))


def _packages(project: Path) -> dict[str, dict[str, Any]]:
    lock = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))
    return {name: entry for name, entry in lock["packages"].items() if name}


def test_the_lock_file_records_no_download_address(project: Path) -> None:
    text = (project / "package-lock.json").read_text(encoding="utf-8")

    assert "resolved" not in text
    assert "://" not in text.replace('"url": "https://', "")


def test_every_package_is_pinned_by_a_hash(project: Path) -> None:
    packages = _packages(project)
    assert packages
    assert [name for name, entry in packages.items() if not entry.get("integrity", "").startswith("sha512-")] == []


def test_what_is_asked_for_is_pinned_to_one_version(project: Path) -> None:
    manifest = json.loads((project / "package.json").read_text(encoding="utf-8"))
    wanted = manifest["dependencies"] | manifest.get("optionalDependencies", {})

    assert {name: _packages(project)[f"node_modules/{name}"]["version"] for name in wanted} == wanted
