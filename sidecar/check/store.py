"""The store that tokens are shared through: whether it can be used, and whether it tells of a latch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.advice.classify import classify_latch
from sidecar.advice.texts.tokens import explain
from sidecar.config import ConfigError
from sidecar.core.causes import Cause, StepFinding
from sidecar.core.text import duration
from sidecar.patience import PatientTimeout

if TYPE_CHECKING:
    from sidecar.check.report import Report
    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.tokens.stores.backend import Backend, StoredContent
    from sidecar.upstream.trust import Trust

#: Findings that speak against a token call.
LATCHED: Final = (Cause.SIDECAR_LATCHED_LOCKOUT, Cause.SIDECAR_LATCHED_REFUSED)


def is_shared(config: Config) -> bool:
    """Whether there is a store to look at."""
    return config.token.store.kind != "memory"


async def store_finding(
    config: Config, trust: Trust | None, report: Report, clock: Clock, *, offline: bool = False
) -> StepFinding:
    """Look at the store as ``run`` would use it; ``offline``: only whether it could be one.

    Nothing in it is changed: a file is only read, in Redis a key is written that lives for a second.
    """
    from sidecar.tokens.stores.backend import TIMEOUT, StoreError
    from sidecar.tokens.stores.opening import make_backend, name_of

    try:
        backend, _ = make_backend(config, clock)
    except ConfigError as error:
        report.bad_config = message = str(error)
        return StepFinding.failed(Cause.STORE_UNUSABLE, message)
    where = f"{backend.kind} at {backend.place}"
    if offline and backend.kind != "file":
        return StepFinding.ok(f"{where}, not asked")
    try:
        async with PatientTimeout(2 * TIMEOUT):
            return _judge(await _use(backend, name_of(config)), where, config, trust)
    except StoreError as error:
        return StepFinding.warning(error.cause, f"{where}: it {error}")
    except TimeoutError:
        return StepFinding.warning(Cause.STORE_UNREACHABLE, f"{where}: it does not answer")
    finally:
        await backend.close()


async def _use(backend: Backend, name: str) -> StoredContent:
    """See whether it can be used, and read the account's document. Raises StoreError."""
    await backend.inspect()
    return await backend.read(name)


def _judge(snapshot: StoredContent, where: str, config: Config, trust: Trust | None) -> StepFinding:
    """Say what the document tells of the main key."""
    from sidecar.core.tokens.shared_document import certificate_name, entry_name, read_document
    from sidecar.core.tokens.shared_token import LEASE, ClaimRequest, Paused, Take, claim
    from sidecar.tokens.stores.opening import name_of

    name = name_of(config)
    certificate = b"" if trust is None else trust.digests.get("client_cert_file", b"")
    request = ClaimRequest(
        entry_name(name, "api", config.mangopay.api_key), certificate_name(name, certificate), holder="check"
    )
    try:
        document = read_document(snapshot.content)
    except ValueError as error:
        return StepFinding.warning(Cause.STORE_NOT_OURS, f"{where}: of what it holds for this account, {error}")
    _, said = claim(document, request, snapshot.now, LEASE, epoch="check")
    if isinstance(said, Paused) and said.cause is not None:
        left = duration(said.until - snapshot.now)
        message = f"{where} says that {explain(said.cause).short}; the next try is in {left}"
        return StepFinding.failed(classify_latch(said.cause), message)
    return StepFinding.ok(f"{where}, with a valid token" if isinstance(said, Take) else where)
