"""What a server shows that is not who it should be: for the message only.

These handshakes come after the real one has failed. They end before a byte of
application data, carry no client certificate, and what they show is trusted
for nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import msgspec

from sidecar.advice.issuer import issuer
from sidecar.core.causes import Cause
from sidecar.core.certificate import validity
from sidecar.core.text import printable
from sidecar.upstream.trust import client_context, load_trust

if TYPE_CHECKING:
    from sidecar.config import Tls
    from sidecar.upstream.tls_transport import TlsLayer

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


class Silent(asyncio.Protocol):
    """The end of a connection that only shakes hands: what comes is not looked at."""

    def __init__(self) -> None:
        #: Done once the connection is lost.
        self.ended: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        #: Set once the handshake is done.
        self.transport: TlsLayer

    @property
    def tls(self) -> ssl.SSLObject:
        """What was agreed on."""
        agreed: ssl.SSLObject = self.transport.get_extra_info("ssl_object")
        return agreed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn that the handshake is done."""
        self.transport = cast("TlsLayer", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.ended.set_result(None)


def describe_peer(agreed: ssl.SSLObject, cause: Cause) -> str:
    """Say what the server shows, in a sentence's end; the empty string if nothing can be learnt."""
    der, fields = agreed.getpeercert(binary_form=True), agreed.getpeercert()
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
