"""The status document in plain words, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.advice.texts.tokens import explain
from sidecar.core.text import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Finding, LastError, Snapshot
    from sidecar.core.rate_windows import RateWindow
    from sidecar.tokens.status import StoreStatus, TokenStatus


def status_in_words(status: Snapshot) -> str:
    """Return the document as lines for people, the last one ended too."""
    return "\n".join(_lines(status)) + "\n"


def _lines(status: Snapshot) -> Iterator[str]:
    yield f"mangopay-sidecar {status.version}, up {duration(status.uptime_seconds)}"
    yield f"account    {status.client_id} in {status.environment}, at {status.base_url}"
    ready = status.readiness
    yield f"ready      {'yes' if ready.ready else f'no, {ready.reason}: {ready.message}'}"
    for finding in status.findings:
        yield from _finding(finding, status.time)
    for token in status.tokens:
        yield f"token      {token.credential}: {_token(token, status.time)}"
    if status.store is not None:
        yield f"store      {_store(status.store, status.time)}"
    if (certificate := status.client_certificate) is not None:
        expired = certificate.expires_at < status.time
        end = "has expired: renew it" if expired else f"expires {_in(certificate.expires_at, status.time)}"
        yield f"mTLS       client certificate {end}"
    calls = status.calls
    yield (
        f"calls      {calls.requests} answered, {calls.in_flight} in flight; {calls.errors} own errors, "
        f"{calls.recovered} recovered; {calls.token_requests} token requests"
    )
    pool = status.pool
    yield f"callers    {calls.connections} of {calls.max_connections} connections"
    yield f"upstream   {pool.open} of {pool.size} connections, {count(pool.waiting, 'call')} waiting"
    yield f"replay     {status.replay_buffer_bytes} of {status.replay_budget_bytes} bytes in use"
    for window in status.rate_limits:
        yield f"rate limit {_window(window, status.time)}"
    for error in status.last_errors:
        yield f"error      {_error(error, status.time)}"
    for warning in status.warnings:
        yield f"warning    {warning}"


def _finding(finding: Finding, now: float) -> Iterator[str]:
    countdown = "" if finding.until is None else f" ({finding.until_label} {_in(finding.until, now)})"
    yield f"{finding.level:<10} {finding.title}{countdown}"
    yield f"           {finding.text}"
    if finding.mend:
        yield f"           -> {finding.mend}"


def _token(token: TokenStatus, now: float) -> str:
    parts = []
    if token.latched_until is not None:
        parts.append(f"{explain(token.latch_cause).short}; next try {_in(token.latched_until, now)}")
    if token.expires_at is not None:
        parts.append(f"valid, expires {_in(token.expires_at, now)}")
    elif token.latched_until is None:
        parts.append("being fetched" if token.state == "refreshing" else "none")
    if token.failures:
        parts.append(f"{count(token.failures, 'failure')} running")
    if token.next_attempt_at is not None and token.latched_until is None:
        parts.append(f"next fetch {_in(token.next_attempt_at, now)}")
    if token.last_error is not None:
        parts.append(f"last error: {token.last_error}")
    if token.paused_until is not None:
        paths = count(len(token.paused_paths), "path")
        parts.append(f"401s from {paths} start a refresh again {_in(token.paused_until, now)}")
    return "; ".join(parts)


def _store(store: StoreStatus, now: float) -> str:
    where = f"{store.kind} at {store.place}"
    if store.up is None or store.since is None:
        return f"{where}: not used yet"
    since = duration(now - store.since)
    if store.up:
        return f"{where}: up for {since}"
    return f"{where}: down for {since}, tokens are this sidecar's own; the store {store.last_error}"


def _window(window: RateWindow, now: float) -> str:
    parts = []
    if window.remaining is not None:
        total = "" if window.used is None else f" of {window.used + window.remaining}"
        parts.append(f"{window.remaining}{total} left")
    if window.reset is not None:
        parts.append(f"starts anew {_in(window.reset, now)}")
    return f"{window.window or 'unknown window'}: {', '.join(parts)}"


def _error(error: LastError, now: float) -> str:
    return (
        f"{duration(now - error.at)} ago: {error.code} ({error.outcome}), {error.method} {error.path} "
        f"answered {error.status or 'to nobody'}, id {error.id}"
    )


def _in(moment: float, now: float) -> str:
    return f"in {duration(moment - now)}" if moment > now else "now"
