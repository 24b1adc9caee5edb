"""What holds a secret in a field of its own shows none of it in its repr: a traceback or a debugger may print that."""

from __future__ import annotations

import ssl
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from sidecar.config import Tls
from sidecar.core.tokens.oauth import TokenResponse
from sidecar.tokens.stores.backend import StoredContent
from sidecar.tokens.stores.redis_connection import StoreTls
from sidecar.upstream.trust import TlsFiles, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

CANARY = "canary-4711"
FOREIGN: Mapping[str, bytes] = MappingProxyType({"client_key_file": CANARY.encode()})
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.mark.parametrize(
    ("holder", "shown"),
    [
        (TokenResponse(200, {"x": CANARY}, CANARY.encode(), 3.5), "TokenResponse(status=200, wall=3.5, complete=True)"),
        (StoredContent(CANARY.encode(), 2.5), "StoredContent(now=2.5)"),
        (StoreTls(Tls(), ssl_ca_data=CANARY, ssl_password=CANARY), "StoreTls(files=())"),
        (TlsFiles(Tls(), FOREIGN, FOREIGN), f"TlsFiles(tls={Tls()!r})"),
        (Trust(CONTEXT, None, FOREIGN), "Trust(validity=None)"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_holder_of_secrets_shows_what_it_is_and_none_of_them(holder: object, shown: str) -> None:
    assert CANARY in "".join(map(repr, (getattr(holder, name) for name in holder.__struct_fields__)))  # type: ignore[attr-defined]
    assert repr(holder) == shown
