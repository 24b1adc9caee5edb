"""The Node SDK's lock file pins what is fetched by its hash, and leaves it to npm where to fetch it from."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.sdk.app import NODE_PROJECT


def _packages() -> dict[str, dict[str, Any]]:
    lock = json.loads((NODE_PROJECT / "package-lock.json").read_text(encoding="utf-8"))
    return {name: entry for name, entry in lock["packages"].items() if name}


def test_the_lock_file_records_no_download_address() -> None:
    text = (NODE_PROJECT / "package-lock.json").read_text(encoding="utf-8")

    assert "resolved" not in text
    assert "://" not in text.replace('"url": "https://', "")


def test_every_package_is_pinned_by_a_hash() -> None:
    assert _packages()
    assert [name for name, entry in _packages().items() if not entry.get("integrity", "").startswith("sha512-")] == []


def test_the_sdk_is_pinned_to_one_version() -> None:
    wanted = json.loads((NODE_PROJECT / "package.json").read_text(encoding="utf-8"))["dependencies"]

    assert {name: _packages()[f"node_modules/{name}"]["version"] for name in wanted} == wanted
