"""Records of calls, as they are when a call is over."""

from __future__ import annotations

from typing import Any

from sidecar.telemetry.record import CallRecord


def call_record(**fields: Any) -> CallRecord:
    """Return a record with these fields; the others are as at a call's beginning."""
    started = fields.pop("started", 0.0)
    record = CallRecord(fields.pop("id", "i"), started, fields.pop("method", "GET"), fields.pop("path", "/"))
    for name, value in fields.items():
        if not hasattr(record, name):
            raise AttributeError(f"a CallRecord has no {name}")
        setattr(record, name, value)
    return record


def facts_of(record: CallRecord) -> dict[str, str]:
    """Return all that a record tells, by name, as text: so that it stays as it is now."""
    names = [name for name in dir(record) if not name.startswith("_")]
    return {name: repr(value) for name in names if not callable(value := getattr(record, name))}
