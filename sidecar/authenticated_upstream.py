"""The parts that lead to Mangopay, wired: what is trusted and shown, the connections, the tokens, and their renewal."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.config import ConfigError
from sidecar.lifecycle import EXIT_BAD_CONFIG, StartError
from sidecar.reload import Reloader, RotatingKey, Swappable
from sidecar.tokens.credentials import Credentials
from sidecar.tokens.events import OUTCOMES
from sidecar.tokens.fetcher import Fetcher
from sidecar.tokens.lockout import AccountLockout
from sidecar.tokens.manager import TokenManager
from sidecar.upstream.dialing import dialer_for
from sidecar.upstream.expiry import CertificateExpiry
from sidecar.upstream.pool import Pool
from sidecar.upstream.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.core.secret import Secret
    from sidecar.runtime import Tasks
    from sidecar.telemetry.metrics import Metrics
    from sidecar.tokens.manager import TokenSource
    from sidecar.tokens.status import StoreStatus
    from sidecar.tokens.stores.opening import OpenStore
    from sidecar.upstream.expiry import CertificateStatus
    from sidecar.upstream.trust import Trust

_log = structlog.get_logger()


class AuthenticatedUpstream:
    """One way out for API calls and token calls alike; :meth:`start` begins to fetch and to watch."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
        read_config: Callable[[], Config] | None,
        attended: Clock,
    ) -> None:
        """``read_config`` reads the configuration anew; without it nothing changes. Raises StartError.

        ``attended`` counts what calls wait for tokens.
        """
        self._config: Final = config
        self._clock: Final = clock
        self._attended: Final = attended
        self._tasks: Final = tasks
        self._metrics: Final = metrics
        self._trust: Final = _trust_of(config, clock)
        self._expiry: Final = CertificateExpiry(clock)
        self._dialer: Final = dialer_for(config, self._trust, clock)
        self._opened: Final = _store_of(config, clock)
        self._keys: Final[dict[str, RotatingKey]] = self._make_keys()
        self.pool: Final = Pool(self._dialer, size=config.upstream.pool_size, clock=clock, tasks=tasks)
        self._reloader: Final = None if read_config is None else self._make_reloader(read_config)

    @property
    def managers(self) -> list[TokenManager]:
        """The API credential's first."""
        return [key.manager for key in self._keys.values()]

    @property
    def credentials(self) -> Credentials:
        """The same, as calls ask for them."""
        api, *embedded = self.managers
        return Credentials(api=api, embedded=embedded[0] if embedded else None)

    @property
    def certificate(self) -> CertificateStatus | None:
        """The client certificate in use; None: there is none."""
        return self._expiry.status

    @property
    def reload_error(self) -> str | None:
        """Why the last reload failed; the empty string if it did not. None: nothing can be reloaded."""
        return None if self._reloader is None else self._reloader.error or ""

    @property
    def store(self) -> StoreStatus | None:
        """The store that tokens are shared through; None: they are kept in memory."""
        return None if self._opened is None else self._opened.store.status()

    async def close_store(self) -> None:
        """End what the store does, once the managers are closed."""
        if self._opened is not None:
            await self._opened.store.close()

    def start(self) -> None:
        """Begin to fetch tokens, to watch the client certificate's dates, and the files of keys and certificates."""
        if self._trust is not None:
            for warning in self._trust.warnings:
                _log.warning("config.warning", message=warning)
            if self._trust.validity is not None:
                self._expiry.watch(self._trust.validity)
                self._tasks.spawn(self._expiry.run(), name="certificate.expiry")
        if (reloader := self._reloader) is not None:
            self._metrics.reload_successful.read = lambda: int(reloader.successful)
            self._tasks.spawn(reloader.run(), name="config.watch")
        for manager in self.managers:
            manager.start()

    def reload(self) -> None:
        """Read keys and certificates anew, and use those that changed."""
        if self._reloader is not None:
            self._reloader.reload_now()

    # --- wiring ------------------------------------------------------------------------------------------------------

    def _make_keys(self) -> dict[str, RotatingKey]:
        """Make a fetcher and a manager for each API key, by the key's setting."""
        config, lockout = self._config, AccountLockout()
        keys = {
            "mangopay.api_key": self._make_key("api", config.mangopay.api_key, lockout, prefetch=config.token.prefetch)
        }
        if config.mangopay.embedded_api_key is not None:
            keys["mangopay.embedded_api_key"] = self._make_key(
                "embedded", config.mangopay.embedded_api_key, lockout, prefetch=False
            )
        return keys

    def _make_key(self, credential: str, key: Secret, lockout: AccountLockout, *, prefetch: bool) -> RotatingKey:
        config = self._config
        self._metrics.expect_token_requests(credential)
        fetcher = Fetcher(
            config.mangopay.endpoint,
            config.mangopay.client_id,
            key,
            self._clock,
            dialer=self._dialer,
            connect_timeout=config.upstream.connect_timeout,
        )
        fetcher.observe = lambda result: self._metrics.token_request(credential, OUTCOMES[type(result)])
        if self._trust is not None:
            fetcher.certificate = self._trust.digests.get("client_cert_file", b"")
        manager = TokenManager(
            credential,
            self._make_source(credential, fetcher),
            self._clock,
            random.random,
            self._metrics,
            wait_timeout=config.token.wait_timeout,
            prefetch=prefetch,
            tasks=self._tasks,
            lockout=lockout,
            attended=self._attended,
        )
        return RotatingKey(fetcher, manager)

    def _make_source(self, credential: str, fetcher: Fetcher) -> TokenSource:
        """Put the store before ``fetcher``, if there is one."""
        if self._opened is None:
            return fetcher
        from sidecar.tokens.stores.source import SharedSource

        store, sealing = self._opened
        return SharedSource(credential, fetcher, store, sealing, self._clock, random.random)

    def _make_reloader(self, read_config: Callable[[], Config]) -> Reloader:
        parts = Swappable(self._keys, self._dialer, self.pool, self._expiry)
        return Reloader(self._config, self._trust, read_config, parts, clock=self._clock, tasks=self._tasks)


def _store_of(config: Config, clock: Clock) -> OpenStore | None:
    """Where tokens are shared; None: nowhere. Its modules are not even imported then. Raises StartError."""
    if config.token.store.kind == "memory":
        return None
    from sidecar.tokens.stores.opening import open_store

    try:
        return open_store(config, clock, random.random)
    except ConfigError as error:
        raise StartError(str(error), EXIT_BAD_CONFIG) from None


def _trust_of(config: Config, clock: Clock) -> Trust | None:
    """What connections to Mangopay trust and show; None for plain ``http://``. Raises StartError."""
    if config.mangopay.endpoint.scheme != "https":
        return None
    try:
        return load_trust(config.tls, clock.wall())
    except ConfigError as error:
        raise StartError(str(error), EXIT_BAD_CONFIG) from None
