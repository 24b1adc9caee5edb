"""The process in which atheris runs: ``python -m tests.fuzz.engine TARGET LIBFUZZER_ARGUMENTS…``; see ``run.py``."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["sidecar.core", "urllib.parse"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    program, target, *arguments = sys.argv
    atheris.Setup([program, *arguments], TARGETS[target])
    atheris.Fuzz()
