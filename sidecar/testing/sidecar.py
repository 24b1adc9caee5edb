"""The sidecar in front of the emulator, as a test sees it."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.testing.emulator import CLIENT_ID


@dataclass(frozen=True)
class MangopaySidecar:
    """What an app, or its SDK, is given to call Mangopay."""

    #: The SDK's base URL, without a slash at its end: what MANGOPAY_BASE_URL says for as long as the test runs.
    base_url: str
    #: Any ClientId will do: the sidecar puts this one in its place.
    client_id: str = CLIENT_ID
    #: The sidecar asks for none, and SDKs want one.
    api_key: str = "any-key-will-do"
