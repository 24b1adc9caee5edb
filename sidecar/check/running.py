"""A sidecar that runs already with this configuration: while it is latched, a token call could make things worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sidecar.admin.client import ask, read
from sidecar.admin.readiness import LATCHED, LOCKED_OUT
from sidecar.admin.status import Readiness
from sidecar.advice.classify import classify_latch
from sidecar.advice.texts.tokens import explain
from sidecar.core.causes import StepFinding
from sidecar.core.text import duration
from sidecar.core.tokens.state import LOCKOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.config import Config


class _Token(msgspec.Struct, frozen=True):
    """Of ``sidecar.tokens.status.TokenStatus`` what matters here; so sidecars of other versions can be asked too."""

    credential: str
    latch_reason: str | None = None
    latch_cause: str | None = None
    latched_until: float | None = None


class _Status(msgspec.Struct, frozen=True):
    """Of ``sidecar.admin.status.Status`` what matters here."""

    client_id: str
    base_url: str
    time: float
    tokens: tuple[_Token, ...]


def latch_finding(config: Config) -> StepFinding:
    """Ask the admin port; the finding has failed only if a sidecar for the same account is latched."""
    port = config.admin.port
    if not port:
        return StepFinding.skipped(f"admin.port is {'off' if port is None else '0'}, so none can be asked")
    reply = ask(config.admin.host, port, "/status")
    if reply is None:
        return StepFinding.skipped(f"none answers on admin port {port}")
    status = read(reply.body, _Status) if reply.status == 200 else None
    if status is None:
        return _by_readiness(config.admin.host, port)
    endpoint = config.mangopay.endpoint
    if (status.client_id, status.base_url) != (config.mangopay.client_id, endpoint.origin + endpoint.prefix):
        return StepFinding.skipped(f"the one on admin port {port} serves another account")
    return _judge(status)


def _by_readiness(hosts: Sequence[str], port: int) -> StepFinding:
    """Ask what everybody may ask, since by this address or name no status is told: whose account it is, is not said."""
    reply = ask(hosts, port, "/readyz")
    readiness = None if reply is None else read(reply.body, Readiness)
    if readiness is None:
        return StepFinding.skipped(f"what answers on port {port} is no sidecar")
    if readiness.reason not in LATCHED:
        return StepFinding.ok(f"one runs, and says that it is {'ready' if readiness.ready else 'not ready'}")
    cause = LOCKOUT if readiness.reason == LOCKED_OUT else None
    return StepFinding.failed(classify_latch(cause), f"the one on port {port} says: {readiness.message}")


def _judge(status: _Status) -> StepFinding:
    latched = next((token for token in status.tokens if _concerns_us(token)), None)
    if latched is None:
        return StepFinding.ok("one runs, and is not latched")
    until = latched.latched_until or status.time
    next_try = f"its next try is in {duration(until - status.time)}" if until > status.time else "it may try again now"
    cause = latched.latch_cause or latched.latch_reason
    return StepFinding.failed(classify_latch(cause), f"the running one says that {explain(cause).short}; {next_try}")


def _concerns_us(token: _Token) -> bool:
    """A lockout is the whole account's; refused credentials are those of one key, and here it is the main one."""
    return token.latch_reason is not None and (token.credential == "api" or token.latch_reason == "lockout")
