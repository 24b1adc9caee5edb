"""The report: a table for people, a document for machines."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core.reconciliation.verdicts import Verdict, VerdictKind
from sidecar.core.rows import PLAIN, Style
from sidecar.core.text import count, duration, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.core.reconciliation.writes import UncertainWrite
    from sidecar.reconcile.logs import Reading

#: Seconds before and after a call's time, by our clock, within which what it made is looked for.
BEFORE: Final = 60.0
AFTER: Final = 120.0
#: Characters of a date before a time.
_DATE: Final = len("2026-11-30 ")

#: What is to be done about writes of each kind.
MENDS: Final = {
    VerdictKind.EXECUTED: "Mangopay executed it: do not repeat it. What has the Status FAILED moved no money: try "
    "that again with a new key.",
    VerdictKind.REFUSED: "Mangopay refused it and executed nothing. A repeat needs a new key: this one is used up.",
    VerdictKind.FAILED: "Mangopay answered with an error of its own and may have executed it: look for what it would "
    "have made.",
    VerdictKind.NOT_THERE: "It never arrived, or is still running. Ask again in some minutes; repeat it with the SAME "
    "key, never with a new one.",
    VerdictKind.NOT_THIS_CALL: "The key was used for another call too, so its answer says nothing of this one: look "
    "for what it would have made, and give each write a key of its own.",
    VerdictKind.TOO_OLD: "Mangopay keeps answers for 24 hours: look for what it would have made.",
    VerdictKind.WITHOUT_KEY: "Mangopay keeps no answer to it: look for what it would have made or changed before it is "
    "repeated. Only a POST with an Idempotency-Key can be asked for.",
    VerdictKind.OTHER_ACCOUNT: "Ask the account and the environment that it was made for: GET "
    "/v2.01/ITS_CLIENT_ID/responses/KEY, with the idempotency_key of its line in the log.",
    VerdictKind.NOT_ASKED: "Fix the reason shown, then run this again within 24 hours of the call.",
}
#: Those for which somebody has to look by hand.
_SEARCHED: Final = frozenset(
    {VerdictKind.FAILED, VerdictKind.NOT_THIS_CALL, VerdictKind.TOO_OLD, VerdictKind.WITHOUT_KEY}
)
_HEAD: Final = ("when (UTC)", "what became of it", "call", "key", "id", "more")


class WriteReport(msgspec.Struct, frozen=True):
    """A write, as the document has it. Moments are Unix seconds."""

    verdict: VerdictKind
    #: Nothing is left to find out.
    certain: bool
    #: By the sidecar's clock: when the first try began, and the last one was over.
    at: float
    ended: float
    environment: str
    method: str
    path: str
    idempotency_key: str | None
    #: Of each try: the call's id in the log, and the caller's ``X-Request-Id`` where it sent one.
    ids: tuple[str, ...]
    caller_request_ids: tuple[str, ...]
    #: Of the stored answer, by Mangopay's clock where it is a moment.
    status: int | None
    resource_id: str | None
    resource_status: str | None
    type: str | None
    answered_at: float | None
    #: It was a later request with the same key that was answered.
    by_later_try: bool
    #: Why there is no answer, or why it is not this write's; empty if there is nothing to say.
    reason: str


class LogSummary(msgspec.Struct, frozen=True):
    """What was read: files, lines, of these the sidecars' own, those that are not whole, and those never written."""

    files: int
    lines: int
    ours: int
    broken: int
    #: Of the broken ones, those that may hide a write with an unknown outcome.
    broken_unknown: int
    broken_at: tuple[str, ...]
    dropped: int
    #: Calls with an unknown outcome before ``--since``.
    left_out: int


class Document(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    writes: tuple[WriteReport, ...]
    #: Writes by verdict.
    verdicts: dict[VerdictKind, int]
    #: Writes of which it is not certain what became, and lines that may hide one: torn ones, and those never written.
    uncertain: int
    read: LogSummary


def document_of(
    judged: Sequence[tuple[UncertainWrite, Verdict]], reading: Reading, *, left_out: int, since: float | None = None
) -> Document:
    """Return the document about the writes with their verdicts: certain ones first, then by time.

    ``since`` (Unix seconds): lines that were lost before do not count.
    """
    dropped = reading.lines_dropped(since)
    told = sorted(
        (_write_report(write, verdict) for write, verdict in judged), key=lambda each: (not each.certain, each.at)
    )
    return Document(
        tuple(told),
        dict(Counter(each.verdict for each in told)),
        sum(not each.certain for each in told) + reading.broken_unknown + dropped,
        LogSummary(
            reading.files,
            reading.lines,
            reading.ours,
            reading.broken,
            reading.broken_unknown,
            tuple(reading.broken_at),
            dropped,
            left_out,
        ),
    )


def _write_report(write: UncertainWrite, verdict: Verdict) -> WriteReport:
    first, stored = write.first, verdict.stored
    return WriteReport(
        verdict=verdict.kind,
        certain=verdict.certain,
        at=round(first.started, 3),
        ended=round(write.ended, 3),
        environment=first.environment,
        method=first.method,
        path=first.path,
        idempotency_key=first.key,
        ids=tuple(each.id for each in write.tries),
        caller_request_ids=tuple(each.caller_request_id for each in write.tries if each.caller_request_id),
        status=None if stored is None else stored.status,
        resource_id=None if stored is None else stored.resource_id,
        resource_status=None if stored is None else stored.resource_status,
        type=None if stored is None else stored.type,
        answered_at=None if stored is None else stored.made_at,
        by_later_try=verdict.by_later_try,
        reason=verdict.reason,
    )


# --- for people ------------------------------------------------------------------------------------------------------


def report_in_words(document: Document, *, color: bool = False) -> str:
    """Return the table, what to do about each kind of write in it, and a last line that counts them.

    Nothing in it but our own colours steers a terminal.
    """
    return "\n".join(_lines(document, color=color)) + "\n"


def _lines(document: Document, *, color: bool) -> Iterator[str]:
    if document.writes:
        rows = [_HEAD, *map(_row, document.writes)]
        widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
        for row, told in zip_longest(rows, (None, *document.writes)):
            cells = [printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True)]
            if color and told is not None:
                cells[1] = f"{_style(told)}{cells[1]}{PLAIN}"
            yield "  ".join(cells).rstrip()
        yield ""
        for kind in VerdictKind:
            if number := document.verdicts.get(kind):
                yield f"{number} {_in_words(kind)}: {MENDS[kind]}"
        yield ""
    hidden = document.read.broken_unknown + document.read.dropped
    more = f", and {count(hidden, 'line')} of the log may hide more" if hidden else ""
    known = f"{count(len(document.writes), 'write')} with an unknown outcome"
    yield f"{known}; {document.uncertain - hidden} still uncertain{more}."


def notes(document: Document) -> Iterator[str]:
    """Yield what has to be known of the log itself."""
    read = document.read
    if not read.ours:
        yield (
            f"none of the {count(read.lines, 'line')} is a sidecar's: is it the sidecar's log (its stderr), with "
            "log.format json, gcp or ecs?"
        )
    if read.broken:
        hidden = f"; {read.broken_unknown} may hide an unknown outcome" if read.broken_unknown else ""
        yield f"{count(read.broken, 'line')} not whole, and not read{hidden}: {', '.join(read.broken_at)}"
    if read.dropped:
        yield f"the sidecar could not write {count(read.dropped, 'line')} (log.dropped): calls may be missing here"
    if read.left_out:
        yield f"{count(read.left_out, 'call')} with an unknown outcome before --since left out"


def _style(told: WriteReport) -> Style:
    """Green is what needs nothing more: a payment that FAILED has to be made again."""
    return Style.GOOD if told.certain and told.resource_status != "FAILED" else Style.WARNING


def _row(told: WriteReport) -> tuple[str, ...]:
    tries = "" if len(told.ids) == 1 else f" (+{len(told.ids) - 1})"
    return (
        _moment(told.at),
        _in_words(told.verdict),
        f"{told.method} {told.path}",
        told.idempotency_key or "-",
        f"{told.ids[0]}{tries}",
        "; ".join(_more(told)),
    )


def _more(told: WriteReport) -> Iterator[str]:
    if told.status is not None:
        yield " ".join(filter(None, (str(told.status), told.type, told.resource_id, told.resource_status)))
    if told.by_later_try and told.answered_at is not None:
        yield f"by a repeat with the same key, {duration(told.answered_at - told.at)} later"
    elif told.verdict is VerdictKind.NOT_THIS_CALL and told.answered_at is not None:
        yield f"given at {_moment(told.answered_at)}"
    if told.reason:
        yield told.reason
    if told.verdict in _SEARCHED:
        yield _what_to_look_for(told)


def _what_to_look_for(told: WriteReport) -> str:
    if told.method != "POST":
        return "look whether the resource has changed"
    segments = [each for each in told.path.split("/")[3:] if each and each != "{id}"]
    what = "/".join(segments) or told.path
    # A repeat that was answered, and perhaps executed, came later than all that the log tells of.
    last = max(told.ended, told.answered_at or told.ended) if told.by_later_try else told.ended
    begin, end = _moment(told.at - BEFORE), _moment(last + AFTER)
    return f"look for {what} made from {begin} to {end.removeprefix(begin[:_DATE])}"


def _in_words(kind: VerdictKind) -> str:
    return kind.replace("_", " ")


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"
