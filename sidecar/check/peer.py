"""What a server shows that is not who it should be: for the message only.

These handshakes come after the real one has failed. They end before a byte of
application data, carry no client certificate, and what they show is trusted
for nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core.certificate import validity
from sidecar.core.diagnosis import Cause
from sidecar.core.issuer import issuer
from sidecar.core.text import printable
from sidecar.upstream.tls import client_context, load_trust

if TYPE_CHECKING:
    import socket

    from sidecar.config import Tls

#: Names of a certificate that are shown at most.
_NAMES: Final = 5
_LONGEST_NAME: Final = 80


def context_for(cause: Cause, tls: Tls, wall: float) -> ssl.SSLContext:
    """Make the context of a handshake that goes through in spite of ``cause``."""
    if cause is Cause.TLS_WRONG_NAME:
        # The chain is verified as ever: only so does the ssl module tell the names.
        bare = msgspec.structs.replace(tls, client_cert_file=None, client_key_file=None, client_key_password=None)
        context = load_trust(bare, wall).context
        context.check_hostname = False
        return context
    context = client_context(system_store=False)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def describe(raw: socket.socket, host: str, cause: Cause, context: ssl.SSLContext) -> str:
    """Shake hands on ``raw``, which is closed in any case; say what the server shows, in a sentence's end.

    Empty if nothing can be learnt. Raises nothing of the network's.
    """
    try:
        _, writer = await asyncio.open_connection(sock=raw, ssl=context, server_hostname=host)
    except (OSError, RuntimeError):
        raw.close()
        return ""
    shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
    der, fields = shown.getpeercert(binary_form=True), shown.getpeercert()
    writer.transport.abort()
    if cause is Cause.TLS_WRONG_NAME:
        names = [str(pair[1]) for pair in (fields or {}).get("subjectAltName", ())]
        return f"it is for {_listed(names)}"
    if der is None:
        return ""
    if cause is Cause.TLS_UNKNOWN_ISSUER:
        return f"its issuer is {issuer(der)}"
    with suppress(ValueError):
        return f"it is {validity(ssl.DER_cert_to_PEM_cert(der).encode())}"
    return ""


def _listed(names: list[str]) -> str:
    short = [printable(name, _LONGEST_NAME) for name in names[:_NAMES]]
    return ", ".join(short + ["…"] * (len(names) > _NAMES)) or "no name"
