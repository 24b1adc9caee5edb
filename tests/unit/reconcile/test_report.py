"""What is told in the end, and what docs/reconcile.md says of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from sidecar.core.reconciliation.log_lines import Dropped, UncertainCall
from sidecar.core.reconciliation.verdicts import CERTAIN, Stored, Verdict, VerdictKind
from sidecar.core.reconciliation.writes import UncertainWrite
from sidecar.reconcile.logs import Reading
from sidecar.reconcile.report import MENDS, Document, LogSummary, WriteReport, document_of, notes, report_in_words

PAGE: Final = (Path(__file__).parents[3] / "docs" / "reconcile.md").read_text(encoding="utf-8")
BEGAN: Final = 1_700_000_000.0
AT: Final = "2023-11-14 22:13:20"


def write(number: int = 1, tries: int = 1, **changes: Any) -> UncertainWrite:
    fields: dict[str, Any] = {
        "environment": "sandbox",
        "method": "POST",
        "path": "/v2.01/{client}/wallets/{id}/transfers",
        "key": f"key-{number:012}",
        "caller_request_id": None,
        **changes,
    }
    return UncertainWrite(
        tuple(
            UncertainCall(id=f"id-{number}-{each}", started=BEGAN + number, ended=BEGAN + number + 60 + each, **fields)
            for each in range(tries)
        )
    )


STORED: Final = Stored(200, "/V2.01/{client}/payins", BEGAN + 2, "transfer_1", "FAILED", None, 0.0)


def document(*judged: tuple[UncertainWrite, Verdict], reading: Reading | None = None, left_out: int = 0) -> Document:
    return document_of(judged, reading or Reading(lines=9, ours=9), left_out=left_out)


def row(verdict: Verdict, **changes: Any) -> str:
    head, told, *_ = report_in_words(document((write(**changes), verdict))).splitlines()
    assert head.startswith("when (UTC)")
    return told


# --- the table -------------------------------------------------------------------------------------------------------


def test_certain_writes_come_first_and_each_kind_is_explained_once() -> None:
    lines = report_in_words(
        document(
            (write(1), Verdict(VerdictKind.NOT_THERE)),
            (write(2), Verdict(VerdictKind.EXECUTED, STORED)),
            (write(3), Verdict(VerdictKind.NOT_THERE)),
            (write(4), Verdict(VerdictKind.EXECUTED, STORED)),
        )
    ).splitlines()
    assert [re.findall(r"key-0+(\d)", line) for line in lines[1:5]] == [["2"], ["4"], ["1"], ["3"]]
    assert lines[6] == f"2 executed: {MENDS[VerdictKind.EXECUTED]}"
    assert lines[7] == f"2 not there: {MENDS[VerdictKind.NOT_THERE]}"
    assert lines[-1] == "4 writes with an unknown outcome; 2 still uncertain."


def test_on_a_terminal_what_needs_nothing_more_is_green_and_the_rest_yellow() -> None:
    paid = msgspec.structs.replace(STORED, resource_status="SUCCEEDED")
    judged = [
        (write(1), Verdict(VerdictKind.EXECUTED, paid)),
        (write(2), Verdict(VerdictKind.NOT_THERE)),
        (write(3), Verdict(VerdictKind.EXECUTED, STORED)),
    ]
    plain, painted = (report_in_words(document(*judged), color=color) for color in (False, True))
    assert "\x1b[32mexecuted         \x1b[0m  POST" in painted
    assert "\x1b[33mnot there        \x1b[0m  POST" in painted
    assert "\x1b[33mexecuted         \x1b[0m  POST" in painted  # its Status is FAILED: somebody has still to be paid
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain


def test_nothing_from_elsewhere_steers_a_terminal() -> None:
    odd = write(path="/v2.01/\x1b[2J", caller_request_id="\x9b")
    assert "\x1b" not in report_in_words(document((odd, Verdict(VerdictKind.NOT_ASKED, reason="\x1b[31m"))))


def test_columns_are_aligned() -> None:
    lines = report_in_words(
        document(
            (write(1, path="/v2.01/{client}/payins"), Verdict(VerdictKind.EXECUTED, STORED)),
            (write(2, key=None), Verdict(VerdictKind.WITHOUT_KEY)),
        )
    ).splitlines()[:3]
    for column in ("what became of it", "call", "key"):
        place = lines[0].index(column)
        assert all(line[place - 1] == " " and line[place] != " " for line in lines)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict(VerdictKind.EXECUTED, STORED), "200 transfer_1 FAILED"),
        (
            Verdict(VerdictKind.REFUSED, Stored(400, "", BEGAN, None, None, "param_error", 0.0)),
            "400 param_error",
        ),
        (
            Verdict(VerdictKind.EXECUTED, Stored(200, "", BEGAN + 7201, "t", None, None, 0.0), by_later_try=True),
            "200 t; by a repeat with the same key, 2 h later",
        ),
        (
            Verdict(VerdictKind.NOT_THIS_CALL, Stored(200, "", BEGAN - 60, "t", None, None, 0.0), reason="because"),
            f"200 t; given at 2023-11-14 22:12:20; because; look for wallets/transfers made from {AT[:14]}12:21",
        ),
        (Verdict(VerdictKind.NOT_ASKED, reason="no sidecar answers"), "no sidecar answers"),
        (Verdict(VerdictKind.TOO_OLD), "look for wallets/transfers made from 2023-11-14 22:12:21 to 22:16:21"),
        (
            Verdict(VerdictKind.FAILED, Stored(500, "", BEGAN + 1801, None, None, None, 0.0), by_later_try=True),
            "30 min later; look for wallets/transfers made from 2023-11-14 22:12:21 to 22:45:21",
        ),
        (
            Verdict(VerdictKind.TOO_OLD, Stored(200, "", BEGAN + 7201, "t", None, None, 0.0), by_later_try=True),
            "look for wallets/transfers made from 2023-11-14 22:12:21 to 2023-11-15 00:15:21",
        ),
        (Verdict(VerdictKind.NOT_THERE), "id-1-0"),
    ],
)
def test_a_line_says_all_that_is_known(verdict: Verdict, words: str) -> None:
    assert words in row(verdict)


def test_several_tries_are_one_line() -> None:
    line = row(Verdict(VerdictKind.TOO_OLD), tries=3)
    assert "id-1-0 (+2)" in line
    assert "to 22:16:23" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "PUT"}, "look whether the resource has changed"),
        ({"path": "/v2.01/{client}/{id}"}, "look for /v2.01/{client}/{id} made from"),
        ({"path": "-"}, "look for - made from"),
    ],
)
def test_what_to_look_for(changes: dict[str, str], words: str) -> None:
    assert words in row(Verdict(VerdictKind.WITHOUT_KEY), key=None, **changes)


def test_a_moment_that_no_calendar_has_is_shown_as_such() -> None:
    odd = UncertainWrite((msgspec.structs.replace(write().first, started=1e18, ended=1e18),))
    assert report_in_words(document((odd, Verdict(VerdictKind.NOT_THERE)))).splitlines()[1].startswith("? ")


def test_every_kind_has_words() -> None:
    assert set(MENDS) == set(VerdictKind)
    assert all(words.endswith(".") for words in MENDS.values())


# --- what is said of the log -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "left_out", "words"),
    [
        (Reading(lines=5, ours=5), 0, []),
        (Reading(lines=0), 0, ["none of the 0 lines is a sidecar's"]),
        (Reading(lines=1, ours=1, broken=1, broken_at=["a:3"]), 0, ["1 line not whole, and not read: a:3"]),
        (
            Reading(lines=9, ours=1, broken=2, broken_unknown=1, broken_at=["a:3", "b:1"]),
            0,
            ["2 lines not whole, and not read; 1 may hide an unknown outcome: a:3, b:1"],
        ),
        (Reading(lines=1, ours=1, dropped=[Dropped(7)]), 0, ["could not write 7 lines (log.dropped)"]),
        (Reading(lines=1, ours=1), 2, ["2 calls with an unknown outcome before --since left out"]),
    ],
)
def test_what_has_to_be_known_of_the_log(reading: Reading, left_out: int, words: list[str]) -> None:
    told = list(notes(document(reading=reading, left_out=left_out)))
    assert len(told) == len(words)
    assert all(part in whole for part, whole in zip(words, told, strict=True))


@pytest.mark.parametrize(
    ("reading", "uncertain", "words"),
    [
        (Reading(ours=1, broken=3, broken_unknown=2), 2, ", and 2 lines of the log may hide more."),
        (Reading(ours=1, dropped=[Dropped(1)]), 1, ", and 1 line of the log may hide more."),
        (Reading(ours=1, broken=3), 0, "0 still uncertain."),
    ],
)
def test_a_line_that_is_lost_and_may_hide_a_call_is_uncertain(reading: Reading, uncertain: int, words: str) -> None:
    made = document(reading=reading)
    assert made.uncertain == uncertain
    assert report_in_words(made).strip().endswith(words)


# --- the document ----------------------------------------------------------------------------------------------------


def test_the_document_can_be_read_back() -> None:
    whole = document((write(1, tries=2, caller_request_id="order-7"), Verdict(VerdictKind.EXECUTED, STORED, True, "x")))
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Document) == whole
    (told,) = whole.writes
    assert (told.ids, told.caller_request_ids) == (("id-1-0", "id-1-1"), ("order-7", "order-7"))


def names(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def test_the_page_tells_every_verdict_and_which_are_certain() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (yes|no) \|$", PAGE, re.MULTILINE))
    assert rows == {kind.value: "yes" if kind in CERTAIN else "no" for kind in VerdictKind}


def test_the_page_tells_every_field_of_the_document() -> None:
    chapter = PAGE.partition("## The document")[2].partition("\n## ")[0]
    known = names(chapter)
    assert set(WriteReport.__struct_fields__) <= known
    assert set(LogSummary.__struct_fields__) <= known
    assert all(f'"{name}"' in chapter for name in Document.__struct_fields__)


def test_what_the_page_shows_is_what_is_printed() -> None:
    for kind in (VerdictKind.EXECUTED, VerdictKind.REFUSED, VerdictKind.NOT_THERE):
        assert f"1 {kind.replace('_', ' ')}: {MENDS[kind]}\n" in PAGE
