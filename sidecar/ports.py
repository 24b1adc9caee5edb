"""The sidecar's ports, for apps and for whoever looks after it: opened together, told of, closed apart.

Contract sections 3 and 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from sidecar.downstream.addresses import Bound
from sidecar.downstream.listener import Listeners

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from sidecar.config import Config
    from sidecar.downstream.inherited import Inherited
    from sidecar.downstream.listener import Factory
    from sidecar.downstream.server import ProxyServer

_OFF: Final = Bound("off", is_loopback=True, local_url="off")

_log = structlog.get_logger()


class Ready(msgspec.Struct, frozen=True):
    """Where the sidecar listens: URLs, ``unix:PATH`` or ``off``."""

    proxy: str
    #: The same as a process of this machine reaches it.
    local_proxy: str
    admin: str
    environment: str
    client_id: str


class Ports:
    """What is listened on for callers, and for the admin port."""

    def __init__(self, config: Config, inherited: Inherited, unset: AbstractSet[str]) -> None:
        """Sockets that are ``inherited`` are used instead of new ones.

        ``unset`` are the keys of ports that nobody has set (``listen.port``, ``admin.port``): where such a port is in
        use, a free one is taken.
        """
        self._config: Final = config
        self._inherited: Final = inherited
        self._unset: Final = unset
        self._callers: Final = Listeners("LISTEN", inherited)
        self._admin: Final = Listeners("ADMIN", inherited)

    async def open(self, callers: ProxyServer, admin: Factory) -> Ready:
        """Listen, and warn of what may be reached from elsewhere. Raises ListenError."""
        listen = self._config.listen
        if self._config.admin.port is not None:
            await self._open_tcp("admin.port", self._admin, self._config.admin.host, self._config.admin.port, admin)
        if listen.unix_socket is not None:
            uids = None if listen.allowed_uids is None else frozenset(listen.allowed_uids)
            await self._callers.open_unix(listen.unix_socket, listen.unix_socket_mode, callers.unix_factory(uids))
        if listen.port is not None:
            await self._open_tcp("listen.port", self._callers, listen.host, listen.port, callers)
        self._tell()
        self._inherited.refuse_rest()
        proxy = _first(self._callers)
        mangopay = self._config.mangopay
        return Ready(
            proxy=proxy.url,
            local_proxy=proxy.local_url,
            admin=_first(self._admin).url,
            environment=mangopay.environment,
            client_id=mangopay.client_id,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where callers of this machine reach it, TCP first, as in the ready line."""
        return tuple(bound.local_url for bound in sorted(self._callers.bound, key=lambda it: it.port is None))

    @property
    def admin_url(self) -> str | None:
        """Where the admin port is; None: there is none."""
        return f"{self._admin.bound[0].local_url}/" if self._admin.bound else None

    def close_to_callers(self) -> None:
        """Accept no more of them. May be repeated."""
        self._callers.close()

    def close(self) -> None:
        """Accept nobody any more. May be repeated."""
        self._callers.close()
        self._admin.close()
        self._inherited.close()

    async def _open_tcp(
        self, key: str, listeners: Listeners, hosts: Sequence[str], port: int, factory: Factory
    ) -> None:
        in_use = await listeners.open_tcp(hosts, port, factory, else_any=key in self._unset)
        if in_use is not None:
            _log.warning("listener.moved", message=f"{in_use}: a free one is taken in its place")

    def _tell(self) -> None:
        for bound in (*self._callers.of_one_family, *self._admin.of_one_family):
            _log.info("listener.one_family", address=bound.url, message=f"serves {bound.one_family}")
        if self._config.listen.caller_key is not None:
            return
        for bound in self._callers.bound:
            if not bound.is_loopback:
                _log.warning(
                    "listener.exposed",
                    address=bound.url,
                    message="whoever reaches this address can move money with your key: "
                    "set SIDECAR_LISTEN_CALLER_KEY, or listen on loopback only",
                )


def _first(listeners: Listeners) -> Bound:
    """Return the listener that the ready line shows: TCP before the Unix socket."""
    return min(listeners.bound, key=lambda bound: bound.port is None, default=_OFF)
