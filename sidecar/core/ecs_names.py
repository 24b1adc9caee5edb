"""Elastic's names for fields of our log lines (ECS): who writes lines by them, and who reads them, has the same."""

from __future__ import annotations

from typing import Final

#: A name of ours, and Elastic's for it; all others stand below :data:`OWN`. The ``error`` of an exception is its type.
ECS_NAMES: Final = {
    "timestamp": "@timestamp",
    "id": "http.request.id",
    "environment": "service.environment",
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
    "bytes_in": "http.request.body.bytes",
    "bytes": "http.response.body.bytes",
    "detail": "error.message",
    "error": "error.code",
    "logger": "log.logger",
}
OWN: Final = "mangopay_sidecar."
#: What ``event.duration`` counts, in a millisecond.
NANOSECONDS: Final = 1_000_000
