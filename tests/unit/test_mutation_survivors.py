"""The faults that `make mutation` may not find are explained, and are faults of lines that are still there."""

from __future__ import annotations

import tomllib

from tests.mutation.run import EXPLAINED, ROOT


def test_every_explained_survivor_is_a_fault_of_a_line_that_there_is() -> None:
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["survivor"]
    assert entries
    for entry in entries:
        source = " ".join((ROOT / entry["module"]).read_text(encoding="utf-8").split())
        assert " ".join(entry["before"].split()) in source, entry["before"]
        assert entry["before"] != entry["after"]
        assert entry["why"].endswith(".")
