"""What is limited: Mangopay's rate windows, the client certificate's life, connections and memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.admin.findings.upstream import failure
from sidecar.advice.texts.files import NEW_CERTIFICATE
from sidecar.core.certificate import WARNING_DAYS
from sidecar.core.resend import FailureKind
from sidecar.core.text import count, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot
    from sidecar.core.rate_windows import RateWindow

#: Shares (0 to 1): what is left of a rate window, and what is in use of a limit, when it is warned of.
NEARLY_USED: Final = 0.1
NEARLY_FULL: Final = 0.9
_DAY: Final = 86_400.0
#: Seconds for which a refused batch call is told.
HELD_SHOWN_FOR: Final = 60.0

_WINDOWS: Final = {"15m": "15 minutes", "30m": "30 minutes", "1h": "1 hour", "24h": "24 hours"}


def of_rate_limits(facts: Snapshot) -> Iterator[Finding]:
    """Tell which of Mangopay's rate windows has little left.

    Left out are windows that have started anew since, and those without a name: it is unknown for how long calls
    would have to wait.
    """
    for window in facts.rate_limits:
        if (
            window.window is None
            or window.remaining is None
            or (window.reset is not None and window.reset <= facts.time)
        ):
            continue
        total = window.remaining + (window.used or 0)
        if window.remaining <= NEARLY_USED * total:
            yield _rate_limit(window, _WINDOWS[window.window], window.remaining, total)


def _rate_limit(window: RateWindow, name: str, remaining: int, total: int) -> Finding:
    until, label = (None, "") if window.reset is None else (float(window.reset), "window resets")
    if not remaining:
        kind, level = FindingKind.RATE_LIMIT_USED_UP, Level.CRITICAL
        title, text = f"The rate limit for {name} is used up", "Mangopay answers 429 until the window resets."
    else:
        kind, level = FindingKind.RATE_LIMIT_NEARLY_USED, Level.WARNING
        title, text = f"The rate limit for {name} is nearly used up", f"{remaining} of {total} calls are left."
    mend = "Call less often: the list of calls shows who calls what. Mangopay raises limits on request."
    return Finding(kind, level, Area.RATE_LIMIT, title, text, mend, until, label)


def of_batch_lane(facts: Snapshot) -> Iterator[Finding]:
    """Tell that batch calls wait for room beyond what is reserved for others, or were refused for want of it."""
    lane = facts.batch_lane
    if lane is None:
        return
    refused = lane.refused_at is not None and facts.time - lane.refused_at <= HELD_SHOWN_FOR
    if not lane.waiting and not refused:
        return
    held = f"{lane.waiting} {'waits' if lane.waiting == 1 else 'wait'}"
    room = "" if lane.room_at is None else f", room at {_clock(lane.room_at)}"
    window = "a rate window" if lane.window is None else f"the window of {_WINDOWS[lane.window]}"
    yield Finding(
        FindingKind.BATCH_HELD,
        Level.INFO,
        Area.RATE_LIMIT,
        f"Batch calls are held: {held}{room}" if lane.waiting else f"Batch calls are refused{room}",
        f"What remains of {window} is reserved for all other calls, {round(lane.reserve * 100)}% of it. Nothing is "
        "wrong: those are not held.",
        "If the batch is in a hurry, lower SIDECAR_LIMITS_RESERVE; if it is refused too soon, raise "
        "SIDECAR_LIMITS_WAIT.",
        lane.room_at,
        "" if lane.room_at is None else "room is looked for",
    )


def _clock(moment: float) -> str:
    """Return a moment as people say it, in UTC."""
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M} UTC"


def of_certificate(facts: Snapshot) -> Iterator[Finding]:
    """Tell in time that the client certificate ends."""
    certificate = facts.client_certificate
    if certificate is None:
        return
    left = certificate.expires_at - facts.time
    mend = sentence(NEW_CERTIFICATE)
    if left < 0:
        text = "Mangopay refuses connections with it; those that are open may still work for a while."
        kind, title = FindingKind.CERTIFICATE_EXPIRED, "The client certificate has expired"
        yield Finding(kind, Level.CRITICAL, Area.CERTIFICATE, title, text, mend)
    elif left <= WARNING_DAYS[0] * _DAY:
        text = "From then on Mangopay refuses every connection."
        kind, title = FindingKind.CERTIFICATE_EXPIRING, "The client certificate is about to expire"
        yield Finding(
            kind, Level.WARNING, Area.CERTIFICATE, title, text, mend, certificate.expires_at, "certificate expires"
        )


def of_limits(facts: Snapshot) -> Iterator[Finding]:
    """Tell which of the sidecar's own limits is reached."""
    calls, pool = facts.calls, facts.pool
    if calls.connections >= NEARLY_FULL * calls.max_connections:
        yield Finding(
            FindingKind.CALLERS_NEAR_LIMIT,
            Level.WARNING,
            Area.CALLS,
            "Nearly all connections for callers are in use",
            f"{calls.connections} of {calls.max_connections}. At the limit idle ones close, then new ones get 503.",
            "See whether an app opens a connection for each call, or raise SIDECAR_LISTEN_MAX_CONNECTIONS. If that is "
            "higher already, raise the limit of open files (ulimit -n), as descriptors.scarce in the log says.",
        )
    if pool.waiting and pool.open >= pool.size:
        waiting = "1 call waits" if pool.waiting == 1 else f"{count(pool.waiting, 'call')} wait"
        text = f"All {pool.size} are in use, and {waiting} for one."
        yield failure(FailureKind.NO_SLOT, Level.WARNING, text)
    if facts.replay_budget_bytes and facts.replay_buffer_bytes >= NEARLY_FULL * facts.replay_budget_bytes:
        yield Finding(
            FindingKind.REPLAY_BUDGET_USED_UP,
            Level.WARNING,
            Area.SIDECAR,
            "The memory for request bodies is used up",
            "Large uploads are under way. Further bodies stream, so their calls cannot be retried after a 401; those "
            "without a length wait, and may get 503.",
            "Upload fewer files at a time, or raise SIDECAR_REPLAY_BUDGET.",
        )
