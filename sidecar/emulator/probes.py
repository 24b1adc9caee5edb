"""The two test resources: they behave as API calls, with token, faults and ledger."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine.routes import Match, does
from sidecar.emulator.messages import EmulatedResponse, json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call


def echo(call: Call) -> EmulatedResponse:
    """Tell what arrived, but for the ``Authorization``."""
    request = call.request
    seen = {
        "method": request.method,
        "target": request.target,
        "headers": [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, value in request.headers
            if name.lower() != b"authorization"
        ],
        "body_length": len(request.body),
        "body_sha256": hashlib.sha256(request.body).hexdigest(),
    }
    return json_response(200, seen)


#: Digits of a size: a terabyte is more than any test waits for.
_LONGEST_SIZE: Final = 12


def send_bytes(call: Call) -> EmulatedResponse:
    """Send so many bytes."""
    size = call.query.get("size", "")
    if not (size.isascii() and size.isdecimal() and len(size) <= _LONGEST_SIZE):
        raise call.incorrect("size", f"The size must be a number of bytes, of up to {_LONGEST_SIZE} digits.")
    kind = b"application/octet-stream"
    return EmulatedResponse(200, b"", kind, generated=int(size), chunked=call.query.get("chunked") == "1")


#: By what follows ``/__emulator__/``.
PROBES: Final = {"echo": Match(does("*", "echo", echo), {}), "bytes": Match(does("GET", "bytes", send_bytes), {})}
