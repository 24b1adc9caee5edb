"""A store in Redis or Valkey: for a fleet.

A document is one string, changed by a script that compares and swaps it in one
step, and it has a time to live, so that nothing stays for ever. The clock is the
server's. Needs the package ``redis``.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from sidecar.advice.verification import verdict_on
from sidecar.config import ConfigError, Tls
from sidecar.core.causes import Cause
from sidecar.core.http.tunnel import authority
from sidecar.core.tokens.shared_document import LONGEST
from sidecar.network.resolver import Resolver
from sidecar.tokens.stores.backend import TIMEOUT, StoredContent, StoreError
from sidecar.tokens.stores.bounded_reader import ReplyTooLongError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from redis.asyncio import Redis
    from redis.asyncio.connection import ConnectionPool

    from sidecar.core.secret import Secret
    from sidecar.network.resolver import Names

#: The last byte that is read of a value: one more than a document may have, which shows that it is none.
_END: Final = LONGEST
#: Compare and swap; an empty string stands for nothing. Answers whether it swapped, what is there otherwise, and TIME.
#: Of a value that is too long for a document only the beginning is compared, read and sent: it is nobody's.
_SWAP: Final = f"""
local found = redis.call('GETRANGE', KEYS[1], 0, {_END})
local swapped = found == ARGV[1]
if swapped then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  found = ''
end
local time = redis.call('TIME')
return {{swapped and 1 or 0, found, time[1], time[2]}}
"""
#: Seconds after which a connection is given up that nobody waits for any more.
_LAST_RESORT: Final = 30.0
#: Written and forgotten, to see whether writing works.
_PROBE: Final = "mangopay-sidecar:probe"
_DATABASE: Final = re.compile(r"/?|/[0-9]{1,5}")

_SLOW: Final = f"does not answer within {TIMEOUT:g} s"
_NEEDED: Final = "GETRANGE, SET, TIME, EVALSHA and SCRIPT LOAD (SELECT too, for a database other than 0)"
#: How Redis 7.0, and 7.2 and later, begin to say in a script's error that the user lacks a permission.
_REFUSED_IN_A_SCRIPT: Final = ("can't run this command", "ACL failure in script")
_TOO_LITTLE: Final = (f"does not let this user run {_NEEDED} on keys mangopay-sidecar:*", Cause.STORE_REFUSED)
_USER: Final = ("wants a user and a password, or others than these", Cause.STORE_REFUSED)
_CLUSTER: Final = ("is a cluster: a single server, or a proxy before it, is needed", Cause.STORE_NOT_WRITABLE)

#: What a server says, by the word that its error begins with, and the class that redis-py makes of some of them.
_ERROR_REPLIES: Final = {
    "OOM": ("is full: it has reached its maxmemory", Cause.STORE_NOT_WRITABLE),
    "READONLY": ("is a replica that cannot be written", Cause.STORE_NOT_WRITABLE),
    "NOPERM": _TOO_LITTLE,
    "NOAUTH": _USER,
    "WRONGPASS": _USER,
    "LOADING": ("is still loading its data", Cause.STORE_UNREACHABLE),
    "MISCONF": ("cannot write its data to disk, and takes no more", Cause.STORE_NOT_WRITABLE),
    "MASTERDOWN": ("has lost its primary", Cause.STORE_NOT_WRITABLE),
    "NOREPLICAS": ("has too few replicas to be written", Cause.STORE_NOT_WRITABLE),
    "CLUSTERDOWN": _CLUSTER,
    "MOVED": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "BUSY": ("is busy with a script", Cause.STORE_UNREACHABLE),
    "WRONGTYPE": ("has something else under our key", Cause.STORE_NOT_OURS),
}
_CLASSES: Final = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "MovedError": "MOVED",
    "ClusterCrossSlotError": "CROSSSLOT",
}
_CODE: Final = re.compile(rf"\b({'|'.join(_ERROR_REPLIES)})\b")


class RedisBackend:
    """Documents in Redis or Valkey."""

    kind: Final = "redis"

    def __init__(self, url: Secret, tls: Tls | None = None, *, names: Names | None = None) -> None:
        """``url`` is read as redis-py reads it; ``tls`` says whom to trust besides, ``names`` resolves the host.

        Raises ConfigError, without the URL.
        """
        try:
            from redis import exceptions
            from redis.asyncio import Redis
        except ImportError:
            raise ConfigError(
                "token.store",
                "is a Redis URL, and the package redis is not installed",
                "pip install 'mangopay-sidecar[redis]'",
            ) from None
        pool = _make_pool(url, names or Resolver("the store"), tls or Tls())
        options = pool.connection_kwargs
        address = authority(options.get("host", "localhost"), options.get("port", 6379))
        self.place: Final = f"{address}/{options.get('db', 0)}"
        self._exceptions: Final = exceptions
        self._client: Final[Redis] = Redis(connection_pool=pool)
        self._pool: Final = pool
        self._swap: Final = self._client.register_script(_SWAP)

    async def read(self, name: str) -> StoredContent:
        """Return what is kept under ``name``, in one round trip. Raises StoreError."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.getrange(name, 0, _END)
        pipeline.time()
        content, (seconds, microseconds) = await self._run(pipeline.execute())
        return StoredContent(content or None, seconds + microseconds / 1e6)

    async def swap(self, name: str, before: bytes | None, after: bytes, keep: float) -> tuple[bool, StoredContent]:
        """Put ``after`` in place of ``before``, see Backend. Raises StoreError."""
        arguments = (before or b"", after, int(keep * 1000))
        swapped, found, seconds, microseconds = await self._run(self._swap(keys=[name], args=arguments))
        content = after if swapped else found or None
        return bool(swapped), StoredContent(content, int(seconds) + int(microseconds) / 1e6)

    async def probe(self) -> None:
        """Write a key that lives for a second, in the same way as a document. Raises StoreError."""
        await self._run(self._swap(keys=[_PROBE], args=(b"", b"x", 1000)))

    async def inspect(self) -> None:
        """Try to write. Raises StoreError."""
        await self.probe()

    async def rest(self) -> None:
        """Close the connections that nobody uses."""
        await self._run(self._pool.disconnect(inuse_connections=False))

    async def close(self) -> None:
        """Close all connections."""
        await self._run(self._pool.disconnect())

    async def _run(self, operation: Awaitable[Any]) -> Any:
        try:
            return await operation
        except self._exceptions.RedisError as error:
            raise self._explain(error) from None
        except OSError as error:
            raise _explain_network(error) from None
        except (ValueError, LookupError, TypeError, RecursionError):
            raise StoreError("does not answer as a Redis server does", Cause.STORE_NOT_OURS) from None

    def _explain(self, error: Exception) -> StoreError:
        """Say what went wrong, without the error's own text: that may quote what was sent."""
        if (code := _CLASSES.get(type(error).__name__)) is not None:
            return StoreError(*_ERROR_REPLIES[code])
        if isinstance(error, self._exceptions.TimeoutError):
            return StoreError(_SLOW)
        if isinstance(error, self._exceptions.ConnectionError):
            cause = error.__cause__ or error.__context__
            if isinstance(cause, ReplyTooLongError):
                return StoreError("answers with more than a store of ours has", Cause.STORE_NOT_OURS)
            if isinstance(cause, OSError | UnicodeError | ConfigError):
                return _explain_network(cause)
            is_full = "max number" in str(error)
            return StoreError("has no connection left (maxclients)" if is_full else "closed the connection")
        # A script's error may have the word in the middle.
        if (found := _CODE.search(str(error))) is not None:
            return StoreError(*_ERROR_REPLIES[found[1]])
        if any(words in str(error) for words in _REFUSED_IN_A_SCRIPT):
            return StoreError(*_ERROR_REPLIES["NOPERM"])
        return StoreError(f"failed: {type(error).__name__}")


def _make_pool(url: Secret, names: Names, tls: Tls) -> ConnectionPool:
    """Read the URL. Raises ConfigError without it: it may hold a password."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    from sidecar.tokens.stores.redis_connection import make_pool

    unusable = ConfigError(
        "token.store",
        "is no URL that the Redis client can use",
        "write redis[s]://[user:password@]host[:port][/database], special characters percent-encoded; parameters "
        "behind a ? are those of redis-py, those of TLS with rediss:// only",
    )
    try:
        database = unquote(urlsplit(url.reveal()).path)
        pool = make_pool(
            url.reveal(),
            names,
            tls,
            # Not for the URL to say. Whoever asks sets a limit, and decides whether to try again. CLIENT SETINFO would
            # be two more commands for each connection, and two refusals in the server's ACL log.
            protocol=2,
            decode_responses=False,
            driver_info=None,
            socket_timeout=_LAST_RESORT,
            socket_connect_timeout=_LAST_RESORT,
            retry=Retry(NoBackoff(), 0),
        )
    except (ValueError, TypeError, AttributeError, RedisError, OSError):
        raise unusable from None
    if not _DATABASE.fullmatch(database):
        raise unusable
    return pool


def _explain_network(error: OSError | UnicodeError | ConfigError) -> StoreError:
    if isinstance(error, ConfigError):
        return StoreError(f"cannot be verified: {error}", Cause.STORE_NOT_TRUSTED)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = verdict_on(error).what
        return StoreError(f"shows a certificate that is not trusted: {why}", Cause.STORE_NOT_TRUSTED)
    if isinstance(error, ssl.SSLError):
        why = f"breaks off the TLS handshake: {(error.reason or 'no reason given').lower()}"
        return StoreError(why, Cause.STORE_NOT_TRUSTED)
    if isinstance(error, socket.gaierror | UnicodeError):
        return StoreError("cannot be found: its host name cannot be resolved")
    if isinstance(error, ConnectionRefusedError):
        return StoreError("cannot be reached: connection refused")
    if isinstance(error, TimeoutError):
        return StoreError(_SLOW)
    return StoreError(f"cannot be reached: {type(error).__name__}")
