"""The status document in plain words, for a terminal: in short, or with every number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.admin.finding import Level
from sidecar.advice.texts.tokens import explain
from sidecar.core.rows import Row, Style, written
from sidecar.core.text import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sidecar.admin.finding import Finding
    from sidecar.admin.status import CallTotals, LastError, Snapshot
    from sidecar.core.hooks import HooksStatus
    from sidecar.core.rate_windows import RateWindow
    from sidecar.tokens.status import StoreStatus, TokenStatus
    from sidecar.tracing.status import TracingStatus

#: Characters of the column of labels.
WIDTH: Final = 10
_STYLES: Final = {Level.OK: Style.GOOD, Level.WARNING: Style.WARNING, Level.CRITICAL: Style.BAD}
#: The windows of Mangopay's rate limit, by their names in the document.
_WINDOWS: Final = {"15m": "15 min", "30m": "30 min", "1h": "1 h", "24h": "24 h"}


def status_in_words(status: Snapshot, *, verbose: bool = False, color: bool = False) -> str:
    """Return the document as lines for people, the last one ended too.

    In short: what is the matter, the tokens, the calls, the rate window that is
    used most and the last error. ``verbose`` adds all other numbers.
    """
    return "".join(f"{written(row, WIDTH, color=color)}\n" for row in _rows(status, verbose=verbose))


def _rows(status: Snapshot, *, verbose: bool) -> Iterator[Row]:
    yield Row(f"mangopay-sidecar {status.version}, up {duration(status.uptime_seconds)}", "")
    where = f", at {status.base_url}" if verbose else ""
    yield Row("account", f"{status.client_id} in {status.environment}{where}")
    ready = status.readiness
    if not ready.ready:
        yield Row("not ready", f"{ready.reason}: {ready.message}", Style.BAD)
    for finding in status.findings:
        yield from _finding(finding, status.time, verbose=verbose)
    for token in status.tokens:
        yield Row("token", f"{_credential(token, status)}{_token(token, status.time, verbose=verbose)}")
    yield from _parties(status, verbose=verbose)
    if (certificate := status.client_certificate) is not None:
        expired = certificate.expires_at < status.time
        end = "has expired: renew it" if expired else f"expires {_in(certificate.expires_at, status.time)}"
        yield Row("mTLS", f"client certificate {end}")
    yield Row("calls", _calls(status.calls))
    if verbose:
        yield from _connections(status)
    for window in _shown_windows(status.rate_limits, verbose=verbose):
        yield Row("rate limit", _window(window, status.time))
    if (hooks := status.hooks) is not None:
        yield Row("hooks", _hooks(hooks, status.time))
    yield from _batch_lane(status, verbose=verbose)
    yield from _deprecated(status, verbose=verbose)
    yield from _errors(status, verbose=verbose)
    for warning in status.warnings:
        yield Row("warning", warning, Style.WARNING)


def _parties(status: Snapshot, *, verbose: bool) -> Iterator[Row]:
    """Tell of those besides Mangopay that the sidecar speaks to."""
    if status.store is not None and (verbose or status.store.up is False):
        yield Row("store", _store(status.store, status.time))
    if status.tracing is not None and (verbose or status.tracing.up is False):
        yield Row("traces", _tracing(status.tracing, status.time))


def _finding(finding: Finding, now: float, *, verbose: bool) -> Iterator[Row]:
    countdown = "" if finding.until is None else f" ({finding.until_label} {_in(finding.until, now)})"
    yield Row(finding.level, f"{finding.title}{countdown}", _STYLES.get(finding.level, Style.QUIET))
    if verbose or finding.level in {Level.WARNING, Level.CRITICAL}:
        yield Row("", finding.text)
        if finding.mend:
            yield Row("", f"-> {finding.mend}")


def _credential(token: TokenStatus, status: Snapshot) -> str:
    return f"{token.credential}: " if len(status.tokens) > 1 else ""


def _token(token: TokenStatus, now: float, *, verbose: bool) -> str:
    parts = []
    if token.latched_until is not None:
        parts.append(f"{explain(token.latch_cause).short}; next try {_in(token.latched_until, now)}")
    if token.expires_at is not None:
        ends = _in(token.expires_at, now)
        parts.append("expired" if token.expires_at <= now else f"valid, expires {ends}")
    elif token.latched_until is None:
        parts.append("being fetched" if token.state == "refreshing" else "none")
    if token.failures:
        parts.append(f"{count(token.failures, 'failure')} in a row")
    if token.next_attempt_at is not None and token.latched_until is None and (verbose or token.failures):
        parts.append(f"next fetch {_in(token.next_attempt_at, now)}")
    if token.last_error is not None and (verbose or token.failures):
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


def _tracing(tracing: TracingStatus, now: float) -> str:
    if tracing.up is None or tracing.since is None:
        return f"to {tracing.collector}: none sent yet"
    since = duration(now - tracing.since)
    counts = f"{count(tracing.sent, 'call')} sent, {tracing.lost:,} lost"
    if tracing.up:
        return f"to {tracing.collector}: up for {since}; {counts}"
    return f"to {tracing.collector}: lost for {since}, the collector {tracing.last_error}; {counts}"


def _calls(calls: CallTotals) -> str:
    """Say how many calls there were, and how many of them had no success, by whose answer."""
    told = [f"{calls.requests:,} answered"]
    failed = (
        (calls.client_errors, "with 4xx by Mangopay"),
        (calls.server_errors, "with 5xx by Mangopay"),
        (calls.errors, "by the sidecar's own errors"),
        (calls.recovered, "after a retry or a read-back"),
    )
    told += [f"{number:,} {words}" for number, words in failed if number]
    return f"{', '.join(told)}; {calls.in_flight:,} in flight"


def _connections(status: Snapshot) -> Iterator[Row]:
    calls, pool = status.calls, status.pool
    yield Row("", count(calls.token_requests, "token request"))
    yield Row("callers", f"{calls.connections:,} of {calls.max_connections:,} connections")
    yield Row("upstream", f"{pool.open:,} of {pool.size:,} connections, {count(pool.waiting, 'call')} waiting")
    yield Row("replay", f"{size(status.replay_buffer_bytes)} of {size(status.replay_budget_bytes)} in use")


def _shown_windows(windows: Iterable[RateWindow], *, verbose: bool) -> list[RateWindow]:
    """Return all windows, or the one of which most is used; the first of those that tell no share."""
    shown = sorted(windows, key=_left) if not verbose else list(windows)
    return shown if verbose else shown[:1]


def _left(window: RateWindow) -> float:
    """Return which share of a window is left; 1 if that is not known."""
    total = None if window.remaining is None or window.used is None else window.remaining + window.used
    return (window.remaining or 0) / total if total else 1.0


def _window(window: RateWindow, now: float) -> str:
    parts = []
    if window.remaining is not None:
        total = "" if window.used is None else f" of {window.used + window.remaining:,}"
        parts.append(f"{window.remaining:,}{total} calls left")
    if window.reset is not None:
        parts.append(f"resets {_in(window.reset, now)}")
    return f"{_WINDOWS.get(window.window or '', 'unknown window')}: {', '.join(parts)}"


def _batch_lane(status: Snapshot, *, verbose: bool) -> Iterator[Row]:
    lane = status.batch_lane
    if lane is not None and (verbose or lane.waiting):
        room = "" if lane.room_at is None else f", room is looked for {_in(lane.room_at, status.time)}"
        share = f"{round(lane.reserve * 100)}% of each window is reserved for other calls"
        yield Row("batch lane", f"{share}; {count(lane.waiting, 'call')} waiting{room}")


def _deprecated(status: Snapshot, *, verbose: bool) -> Iterator[Row]:
    for each in status.deprecated_calls if verbose else ():
        instead = f"; call {each.successor} instead" if each.successor else ""
        yield Row("deprecated", f"{each.endpoint}, {count(each.calls, 'call')}: it {each.announced}{instead}")


def _errors(status: Snapshot, *, verbose: bool) -> Iterator[Row]:
    errors = status.last_errors if verbose else status.last_errors[:1]
    for error in errors:
        yield Row("error", _error(error, status.time))
    if more := len(status.last_errors) - len(errors):
        yield Row("", f"and {more} more: see --verbose")


def _hooks(hooks: HooksStatus, now: float) -> str:
    if hooks.looked_at is None:
        return "not looked at yet"
    states = ", ".join(f"{number} {state}" for state, number in hooks.states.items() if number)
    return f"{states or 'none'}; looked at {duration(now - hooks.looked_at)} ago"


def _error(error: LastError, now: float) -> str:
    return (
        f"{duration(now - error.at)} ago: {error.code} ({error.outcome}), {error.method} {error.path} "
        f"answered {error.status or 'to nobody'}, id {error.id}"
    )


def _in(moment: float, now: float) -> str:
    return f"in {duration(moment - now)}" if moment > now else "now"
