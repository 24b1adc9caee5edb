"""How upstream proves who it is."""

from __future__ import annotations

import ssl


def client_context() -> ssl.SSLContext:
    """Make the context for connections to upstream: verified against the system's store, TLS 1.2 or later.

    ``ssl.create_default_context`` is not used because it would write session
    keys to the file that the environment variable ``SSLKEYLOGFILE`` names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # certificate required, host name checked
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation could change who is on the other side after it was verified.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context
