"""An emulated Mangopay behind TLS, on a thread of its own, for deployments that are started as they are."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final, Self

import trustme

from sidecar.emulator.settings import Credentials
from tests.support.canary import CANARY_API_KEY
from tests.support.certificates import ADDRESS, ServerContext
from tests.support.emulator import new_emulator

if TYPE_CHECKING:
    from pathlib import Path

#: The ClientId that deploy/ has throughout. Its only key is the canary.
CLIENT_ID: Final = "acme"


class Mangopay:
    """Serves until it is closed; a context manager. ``clients`` is the authority whose certificates it demands."""

    def __init__(self, directory: Path, *, clients: trustme.CA | None = None) -> None:
        authority = trustme.CA()
        self.ca_file: Final = directory / "mangopay-ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        credentials = Credentials({CLIENT_ID: [CANARY_API_KEY]}, [], any_client=False)
        self._context: Final = ServerContext.make(authority.issue_cert(ADDRESS), clients)
        self._emulator: Final = new_emulator(credentials=credentials)
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="emulated Mangopay")
        self._thread.start()
        start = self._emulator.start(ADDRESS, 0, ssl_context=self._context)
        self.url: Final = f"https://{ADDRESS}:{asyncio.run_coroutine_threadsafe(start, self._loop).result()}"

    @property
    def environ(self) -> dict[str, str]:
        """All that a deployment has to be told to find this Mangopay instead of the real one."""
        return {"SIDECAR_MANGOPAY_BASE_URL": self.url, "SIDECAR_TLS_CA_FILE": str(self.ca_file)}

    @property
    def token_requests(self) -> int:
        """Token requests so far."""
        return self._emulator.state.stats.token_requests

    @property
    def shown(self) -> list[int]:
        """The serial numbers of the client certificates that were shown, in order."""
        return self._context.shown

    def close(self) -> None:
        """Stop listening and end the thread."""
        asyncio.run_coroutine_threadsafe(self._emulator.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
