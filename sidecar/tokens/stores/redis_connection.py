"""redis-py's connections, made by the rules of ours: names, sockets and TLS (contract sections 5.9 and 5.10)."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import structlog
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, parse_url

from sidecar.config import ConfigError, Tls
from sidecar.config.errors import InvalidValue, UnreadableFile
from sidecar.core import system_errors
from sidecar.core.endpoint import without_dot
from sidecar.core.text import printable_name
from sidecar.network.connecting import reach
from sidecar.network.trust import AUTHORITIES, MAX_FILE, read_pem, reason, store_context, trust_content
from sidecar.patience import PatientTimeout
from sidecar.threads import DaemonThreads, NoThreadError
from sidecar.tokens.stores.bounded_reader import BoundedReader

if TYPE_CHECKING:
    import socket

    from sidecar.network.resolver import Names

#: What a URL may not change, and what does not change it.
_VERIFIED: Final = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
_NOT_FOR_A_URL: Final = ("ssl_include_verify_flags", "ssl_exclude_verify_flags", "ssl_ciphers")
#: How OpenSSL finds a certificate in a directory (openssl-rehash(1)).
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")
#: Threads that read certificates at the same time.
_READERS: Final = 2


_log = structlog.get_logger()


class StoreTls(msgspec.Struct, frozen=True):
    """TLS to the store: what section [tls] trusts, and what the URL names besides."""

    trusted: Tls
    #: Trusted besides: a file, a directory, the certificates themselves.
    ssl_ca_certs: str | None = None
    ssl_ca_path: str | None = None
    ssl_ca_data: str | None = None
    #: Shown to the server.
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = None
    ssl_min_version: int | None = None

    def __repr__(self) -> str:
        return f"StoreTls(files={self.files!r})"

    def context(self) -> ssl.SSLContext:
        """Read all files, and make a context. Raises ConfigError."""
        context = store_context(self.trusted)
        if self.ssl_ca_certs:
            file = Path(self.ssl_ca_certs)
            _trust(context, "ssl_ca_certs", file, _read("ssl_ca_certs", file))
        if self.ssl_ca_path:
            directory = Path(self.ssl_ca_path)
            _trust(context, "ssl_ca_path", directory, _read_directory(directory))
        if self.ssl_ca_data:
            _trust(context, "ssl_ca_data", None, self.ssl_ca_data.encode())
        if self.ssl_certfile:
            self._show(context, self.ssl_certfile, self.ssl_keyfile)
        if self.ssl_min_version is not None:
            context.minimum_version = ssl.TLSVersion(self.ssl_min_version)
        return context

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read, and the directory."""
        named = (self.ssl_ca_certs, self.ssl_ca_path, self.ssl_certfile, self.ssl_keyfile)
        paths = [getattr(self.trusted, setting) for setting in AUTHORITIES]
        return (*(path for path in paths if path is not None), *(Path(each) for each in named if each))

    def _show(self, context: ssl.SSLContext, certificate: str, key: str | None) -> None:
        _read("ssl_certfile", Path(certificate))  # OpenSSL would read it to any length
        if key:
            _read("ssl_keyfile", Path(key))
        try:
            # A password is always given: without it OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, self.ssl_password or "")
        except (OSError, ValueError) as error:
            what = f"cannot be used with its key ({reason(error)})"
            raise _unusable("ssl_certfile", Path(certificate), what) from None


def _trust(context: ssl.SSLContext, parameter: str, path: Path | None, content: bytes) -> None:
    try:
        trust_content(context, content)
    except InvalidValue as unfit:
        raise _unusable(parameter, path, str(unfit)) from None


def _unusable(parameter: str, path: Path | None, what: str, mend: str | None = None) -> ConfigError:
    """Say what is wrong with what a parameter of the URL names; the URL itself is never shown."""
    where = f"token.store: {parameter}" if path is None else f"token.store: {parameter} {printable_name(path)}"
    return ConfigError(where, what, mend or "name PEM files, and the key's password in ssl_password")


def _read(parameter: str, path: Path) -> bytes:
    """Return what is in a file, which has the limits of those of section [tls]. Raises ConfigError."""
    try:
        return read_pem(path)[0]
    except UnreadableFile as unfit:
        raise _unusable(parameter, path, str(unfit), unfit.mend) from None
    except InvalidValue as unfit:
        raise _unusable(parameter, path, str(unfit)) from None


def _read_directory(path: Path) -> bytes:
    """Return all certificates of a directory, as OpenSSL finds them by their hashes. Raises ConfigError.

    All of them together have the limit of one file.
    """
    content = b""
    try:
        names = sorted(each for each in path.iterdir() if _HASHED.fullmatch(each.name))
    except OSError as error:
        what = f"cannot be read ({system_errors.reason(error)})"
        raise _unusable("ssl_ca_path", path, what, system_errors.mend(error)) from None
    for name in names:
        content += _read("ssl_ca_path", name) + b"\n"
        if len(content) > MAX_FILE:
            raise _unusable("ssl_ca_path", path, f"holds more than {MAX_FILE} bytes of certificates")
    return content


class LatestContext:
    """The context for new connections: made once, for it takes 50 ms, and anew when one of its files has changed.

    New files that are no good are told once, and the context of before stays (contract section 3). A file system may
    hang: its calls run in threads that nobody waits for.
    """

    def __init__(self, tls: StoreTls) -> None:
        self._tls: Final = tls
        self._threads: Final = DaemonThreads("store certificates", _READERS)
        self._seen: list[tuple[int, int, int]] = []
        self._context: ssl.SSLContext | None = None
        self._told: str | None = None

    async def get(self) -> ssl.SSLContext:
        """Return it. Raises ConfigError if there is none yet, and TimeoutError if the file system hangs."""
        try:
            context, unusable = await self._threads.run(self._current)
        except NoThreadError:
            raise TimeoutError from None
        if unusable is not None and unusable != self._told:
            _log.warning("store.tls_unchanged", message=f"{unusable}; the certificates of before stay in use")
        self._told = unusable
        return context

    def _current(self) -> tuple[ssl.SSLContext, str | None]:
        """Return the context to use, and why it is not made of the files as they are."""
        try:
            found = [path.stat() for path in self._tls.files]
        except OSError:
            found = []  # reading tells which, and why
        seen = [(each.st_ino, each.st_size, each.st_mtime_ns) for each in found]
        if self._context is None or seen != self._seen:
            try:
                self._context, self._seen = self._tls.context(), seen
            except ConfigError as error:
                if self._context is None:
                    raise
                return self._context, str(error)  # the files are read again for the next connection
        return self._context, None


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

    async def disconnect(self, nowait: bool = False, *arguments: Any, **options: Any) -> None:
        """Close the connection; if its end is not waited for, or no longer, at once.

        TLS waits for the server's part of the end, which may come late or never.
        """
        transport = None if self._writer is None else self._writer.transport
        has_ended = False
        try:
            await super().disconnect(nowait, *arguments, **options)
            has_ended = not nowait
        finally:
            if transport is not None and not has_ended:
                transport.abort()

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
