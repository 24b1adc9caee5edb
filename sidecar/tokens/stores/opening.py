"""From what the configuration says to a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.config import ConfigError
from sidecar.core.tokens.shared_document import document_name
from sidecar.tokens.stores.sealing import Encrypted, Plain
from sidecar.tokens.stores.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.tokens.stores.backend import Backend
    from sidecar.tokens.stores.sealing import Sealing


class OpenStore(NamedTuple):
    """A store, and how what is put there is kept from whoever else can read it."""

    store: Store
    sealing: Sealing


def open_store(config: Config, clock: Clock, random: Callable[[], float]) -> OpenStore:
    """Make the store that ``token.store`` names, which is not ``memory``; nothing is connected to.

    Raises ConfigError if it could never work: the place is none, or a package is missing.
    """
    backend, sealing = make_backend(config, clock)
    return OpenStore(Store(backend, name_of(config), clock, random), sealing)


def name_of(config: Config) -> str:
    """Return the name of the account's document."""
    endpoint = config.mangopay.endpoint
    return document_name(config.mangopay.client_id, endpoint.origin + endpoint.prefix)


def make_backend(config: Config, clock: Clock) -> tuple[Backend, Sealing]:
    """Make what is behind the store. Raises ConfigError."""
    place = config.token.store
    if place.path is not None:
        from sidecar.tokens.stores.file import FileBackend
        from sidecar.tokens.stores.file_trust import check_place

        check_place(place.path)
        return FileBackend(place.path, clock), Plain()
    if place.url is None:
        raise ValueError(place.kind)
    from sidecar.tokens.stores.redis import RedisBackend

    try:
        sealing = Encrypted()
    except ImportError:
        raise ConfigError(
            "token.store",
            "is a Redis URL, and the package cryptography is not installed",
            "pip install 'mangopay-sidecar[redis]'",
        ) from None
    return RedisBackend(place.url, config.tls), sealing
