"""The bill of materials: all that runs, pinned as it is installed, and the same each time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.version import __version__
from tests.deploy.conftest import not_to_be_had

if TYPE_CHECKING:
    from tests.support.once import OncePerRun

PROJECT: Final = Path(__file__).parents[2]
#: pip's words for an index that is out of reach.
_OUT_OF_REACH: Final = re.compile("NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|No matching dist")


def made(directory: Path, name: str) -> bytes:
    """What ``make sbom`` writes; it validates that against CycloneDX's schema itself."""
    file = directory / name
    command = ["make", "--silent", "sbom", f"SBOM={file}", f"PYTHON={sys.executable}"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode and _OUT_OF_REACH.search(done.stderr):
        not_to_be_had(f"the packages for make sbom are not here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return file.read_bytes()


@pytest.fixture
def document(tmp_path: Path, once: OncePerRun) -> bytes:
    return once.get("sbom", lambda: made(tmp_path, "first.cdx.json"))


def pinned() -> dict[str, set[str]]:
    """Name and version of each requirement, with its hashes."""
    layers = ("run", "otel")
    text = "".join((PROJECT / "requirements" / f"{each}.txt").read_text() for each in layers).replace("\\\n", " ")
    entries = [line.split() for line in text.splitlines() if re.match(r"[a-z]", line)]
    return {
        words[0]: {word.removeprefix("--hash=sha256:") for word in words if word.startswith("--hash=")}
        for words in entries
    }


def test_it_lists_what_is_pinned_with_the_hashes_and_nothing_else(document: bytes) -> None:
    bill: dict[str, Any] = json.loads(document)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {
        f"{part['name']}=={part['version']}": {
            entry["content"] for reference in part["externalReferences"] for entry in reference["hashes"]
        }
        for part in bill["components"]
    }
    assert listed == pinned()
    assert len(listed) > 10
    assert all(part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}" for part in bill["components"])


def test_it_is_about_this_version(document: bytes) -> None:
    about = json.loads(document)["metadata"]["component"]
    assert (about["name"], about["version"], about["type"]) == ("mangopay-sidecar", __version__, "application")


def test_it_is_the_same_each_time(document: bytes, tmp_path: Path) -> None:
    assert made(tmp_path, "second.cdx.json") == document
    assert not {"serialNumber", "timestamp"} & {*json.loads(document), *json.loads(document)["metadata"]}
