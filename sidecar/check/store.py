"""The store that tokens are shared through: whether it can be used, and whether it tells of a latch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.admin.words import duration
from sidecar.config import ConfigError
from sidecar.core.diagnosis import Cause, Finding
from sidecar.core.token_state import LOCKOUT

if TYPE_CHECKING:
    from sidecar.check.report import Report
    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.tokens.stores.backend import Backend, Snapshot
    from sidecar.upstream.tls import Trust

#: Findings that speak against a token call.
LATCHED: Final = (Cause.SIDECAR_LATCHED_LOCKOUT, Cause.SIDECAR_LATCHED_REFUSED)


def is_shared(config: Config) -> bool:
    """Whether there is a store to look at."""
    return config.token.store.kind != "memory"


async def store_finding(
    config: Config, trust: Trust | None, report: Report, clock: Clock, *, offline: bool = False
) -> Finding:
    """Look at the store as ``run`` would use it; ``offline``: only whether it could be one.

    Nothing in it is changed: a file is only read, in Redis a key is written that lives for a second.
    """
    from sidecar.tokens.stores.backend import TIMEOUT, StoreError
    from sidecar.tokens.stores.opening import make_backend, name_of

    try:
        backend, _ = make_backend(config, clock)
    except ConfigError as error:
        report.bad_config = message = str(error)
        return Finding.failed(Cause.STORE_UNUSABLE, message)
    where = f"{backend.kind} at {backend.place}"
    if offline and backend.kind != "file":
        return Finding.ok(f"{where}, not asked")
    try:
        async with asyncio.timeout(2 * TIMEOUT):
            return _judge(await _use(backend, name_of(config)), where, config, trust)
    except StoreError as error:
        return Finding.warning(error.cause, f"{where}: it {error}")
    except TimeoutError:
        return Finding.warning(Cause.STORE_UNREACHABLE, f"{where}: it does not answer")
    finally:
        await backend.close()


async def _use(backend: Backend, name: str) -> Snapshot:
    """See whether it can be used, and read the account's document. Raises StoreError."""
    await backend.inspect()
    return await backend.read(name)


def _judge(snapshot: Snapshot, where: str, config: Config, trust: Trust | None) -> Finding:
    """Say what the document tells of the main key."""
    from sidecar.core.shared_document import part_name, read_document, shown_name
    from sidecar.core.shared_token import LEASE, Paused, Take, Wish, claim
    from sidecar.tokens.stores.opening import name_of

    name = name_of(config)
    certificate = b"" if trust is None else trust.digests.get("client_cert_file", b"")
    wish = Wish(part_name(name, "api", config.mangopay.api_key), shown_name(name, certificate), holder="check")
    try:
        document = read_document(snapshot.content)
    except ValueError as error:
        return Finding.warning(Cause.STORE_NOT_OURS, f"{where}: of what it holds for this account, {error}")
    _, said = claim(document, wish, snapshot.now, LEASE, epoch="check")
    if isinstance(said, Paused) and said.cause is not None:
        is_lockout = said.cause == LOCKOUT
        what = "the account is locked out" if is_lockout else "these credentials are refused"
        cause = Cause.SIDECAR_LATCHED_LOCKOUT if is_lockout else Cause.SIDECAR_LATCHED_REFUSED
        left = duration(said.until - snapshot.now)
        return Finding.failed(cause, f"{where} says that {what}; the next try is in {left}")
    return Finding.ok(f"{where}, with a valid token" if isinstance(said, Take) else where)
