"""A request's ``Idempotency-Key``, under which Mangopay stores the response to it (contract section 6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sidecar.core.http.header_index import HeaderIndex, index_of, select

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders

#: Mangopay's rule for keys: 16 to 36 letters, digits or dashes (page "idempotency").
_KEY: Final = re.compile(rb"[A-Za-z0-9-]{16,36}")
_KEYS: Final = select(lambda name: name.lower() == b"idempotency-key")


def idempotency_key(raw: RawHeaders, header_index: HeaderIndex | None = None) -> str | None:
    """Return the request's key if it has exactly one that Mangopay accepts; ``header_index`` is that of ``raw``."""
    lines = (index_of(raw) if header_index is None else header_index)[_KEYS]
    if len(lines) != 1 or not is_key(value := raw[lines[0][1]][1]):
        return None
    return value.decode("ascii")


def is_key(value: bytes) -> bool:
    """Whether Mangopay would store a response under this ``Idempotency-Key``."""
    return _KEY.fullmatch(value) is not None
