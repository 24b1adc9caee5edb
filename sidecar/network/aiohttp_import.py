"""Imports aiohttp without the trust store that its client reads meanwhile.

aiohttp's client makes its default TLS context when it is imported, with the system's certificates in it: a sixth of
the time that the sidecar takes to start, and 1.5 MiB. Nobody here uses that context: the one client session has its
connections from a dialer of ours, with a context of its own (:mod:`sidecar.upstream.trust`). OpenSSL takes the
place of the certificates from the environment, so for the time of the import that names an empty file. Whoever used
the context nevertheless would trust nobody.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

#: SSL_CTX_set_default_verify_paths(3).
_PLACES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def import_aiohttp() -> None:
    """Import aiohttp, unless it is there already. Call this while there is one thread: it changes the environment."""
    if "aiohttp" in sys.modules:
        return
    before = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        importlib.import_module("aiohttp")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
