"""The JSON Schema of ``/status``; ``python -m tests.support.status_schema`` (or ``make schema``) writes it anew."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from sidecar.admin.status import Status

PATH: Final = Path(__file__).parents[2] / "docs" / "status.schema.json"


def schema_text() -> str:
    """Return the schema of the code as it is."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mangopay-sidecar /status",
        **msgspec.json.schema(Status),
    }
    return json.dumps(_plain(schema), indent=1) + "\n"


def _plain(value: Any) -> Any:
    """Return a schema whose descriptions are plain sentences, however a Python keeps the indentation of docstrings."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {key: _plain(each) for key, each in value.items()}
    if isinstance(plain.get("description"), str):
        plain["description"] = " ".join(inspect.cleandoc(plain["description"]).split()).replace("``", "`")
    return plain


if __name__ == "__main__":
    PATH.write_text(schema_text(), encoding="utf-8")
