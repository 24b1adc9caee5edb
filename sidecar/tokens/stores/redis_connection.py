"""redis-py's connections, made by the rules of ours: names, sockets and TLS (contract sections 5.9 and 5.10)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, parse_url

from sidecar.config import ConfigError, Tls
from sidecar.core.endpoint import without_dot
from sidecar.network.connecting import reach
from sidecar.network.trust import AUTHORITIES, reason, store_context, trust_named
from sidecar.patience import PatientTimeout
from sidecar.threads import DaemonThreads, NoThreadError
from sidecar.tokens.stores.bounded_reader import BoundedReader

if TYPE_CHECKING:
    import socket

    from sidecar.network.resolver import Names

#: What a URL may not change, and what does not change it.
_VERIFIED: Final = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
_NOT_FOR_A_URL: Final = ("ssl_include_verify_flags", "ssl_exclude_verify_flags", "ssl_ciphers")
#: Threads that read certificates at the same time.
_READERS: Final = 2


@dataclass(frozen=True, slots=True)
class StoreTls:
    """TLS to the store: what section [tls] trusts, and what the URL names besides."""

    trusted: Tls
    #: Trusted besides: a file, a directory, the certificates themselves.
    ssl_ca_certs: str | None = None
    ssl_ca_path: str | None = None
    ssl_ca_data: str | None = None
    #: Shown to the server.
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_min_version: int | None = None

    def context(self) -> ssl.SSLContext:
        """Read all files, and make a context. Raises OSError or ConfigError."""
        context = store_context(self.trusted)
        try:
            self._load(context)
        except (ssl.SSLError, ValueError) as error:
            what = f"names a certificate or key behind ? that cannot be used ({reason(error)})"
            raise ConfigError("token.store", what, "name PEM files, and the key's password in ssl_password") from None
        return context

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        named = (self.ssl_ca_certs, self.ssl_certfile, self.ssl_keyfile)
        paths = [getattr(self.trusted, setting) for setting in AUTHORITIES]
        return (*(path for path in paths if path is not None), *(Path(each) for each in named if each))

    def _load(self, context: ssl.SSLContext) -> None:
        if self.ssl_ca_certs or self.ssl_ca_path or self.ssl_ca_data:
            context.load_verify_locations(self.ssl_ca_certs, self.ssl_ca_path, self.ssl_ca_data)
            trust_named(context)
        if self.ssl_certfile:
            # Always given: without it OpenSSL would ask for a password on the terminal.
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, self.ssl_password or "")
        if self.ssl_min_version is not None:
            context.minimum_version = ssl.TLSVersion(self.ssl_min_version)


class LatestContext:
    """The context for new connections: made once, for it takes 50 ms, and anew when one of its files has changed.

    A file system may hang: its calls run in threads that nobody waits for.
    """

    def __init__(self, tls: StoreTls) -> None:
        self._tls: Final = tls
        self._threads: Final = DaemonThreads("store certificates", _READERS)
        self._seen: list[tuple[int, int, int]] = []
        self._context: ssl.SSLContext | None = None

    async def get(self) -> ssl.SSLContext:
        """Return it. Raises OSError or ConfigError."""
        try:
            return await self._threads.run(self._current)
        except NoThreadError:
            raise TimeoutError from None

    def _current(self) -> ssl.SSLContext:
        found = [path.stat() for path in self._tls.files]
        seen = [(each.st_ino, each.st_size, each.st_mtime_ns) for each in found]
        if self._context is None or seen != self._seen:
            self._context, self._seen = self._tls.context(), seen
        return self._context


class DialedConnection(Connection):
    """A connection whose name our resolver resolves, whose socket we connect, and whose TLS is ours."""

    def __init__(self, *, names: Names, tls: LatestContext | None, **options: Any) -> None:
        super().__init__(**options)
        self._names: Final = names
        self._tls: Final = tls

    async def _connect(self) -> None:
        async with PatientTimeout(cast("float", self.socket_connect_timeout)):
            context = None if self._tls is None else await self._tls.get()
            raw = await reach(self._names, self.host, self.port)
            try:
                await self._open(raw, context)
            except BaseException:
                raw.close()
                raise

    async def _open(self, raw: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        reader = BoundedReader()
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol,
            sock=raw,
            ssl=context,
            server_hostname=None if context is None else without_dot(self.host),
        )
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one reply, of which no more is taken in than one to us can have."""
        if isinstance(self._reader, BoundedReader):
            self._reader.begin_reply()
        return await super().read_response(*arguments, **options)


def make_pool(url: str, names: Names, trusted: Tls, **fixed: Any) -> ConnectionPool:
    """Read ``url`` as redis-py does, but for what ``fixed`` says.

    Raises ConfigError where the URL would weaken TLS, and what redis-py raises (ValueError, TypeError, AttributeError,
    RedisError) where it means nothing.
    """
    options: dict[str, Any] = dict(parse_url(url))
    secure = options.pop("connection_class", None)
    if secure not in (None, SSLConnection):
        raise ValueError("connection_class")
    parameters = {name: options.pop(name) for name in list(options) if name.startswith("ssl_")}
    if parameters and secure is None:
        raise ValueError("TLS without rediss://")
    tls = LatestContext(_read_tls(parameters, trusted)) if secure else None
    pool = ConnectionPool(
        connection_class=DialedConnection,
        **{**options, "names": names, "tls": tls, **fixed},
    )
    pool.make_connection()  # type: ignore[no-untyped-call] # looks at the parameters, and connects to nothing
    return pool


def _read_tls(parameters: dict[str, Any], trusted: Tls) -> StoreTls:
    """Make sense of a URL's parameters for TLS. Raises ConfigError, ValueError or TypeError."""
    if parameters.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise ValueError("ssl_cert_reqs")
    weaker = [name for name, value in _VERIFIED.items() if parameters.pop(name, value) not in (value, None)]
    weaker += [name for name in _NOT_FOR_A_URL if parameters.pop(name, None) is not None]
    least = parameters.get("ssl_min_version")
    if least is not None and ssl.TLSVersion(least) < ssl.TLSVersion.TLSv1_2:
        weaker.append("ssl_min_version")
    if weaker:
        raise ConfigError(
            "token.store",
            f"would weaken TLS by {', '.join(weaker)}",
            "leave that out: the server is always verified, and TLS 1.2 the least; ssl_ca_certs names its CA",
        )
    return StoreTls(trusted, **parameters)
