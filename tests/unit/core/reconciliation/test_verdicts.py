"""What became of a write: the table of ``sidecar.core.reconciliation.verdicts``, said a second time."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any, Final

import pytest

from sidecar.core.reconciliation.log_lines import UncertainCall
from sidecar.core.reconciliation.verdicts import (
    CERTAIN,
    LookupFailed,
    NothingStored,
    Stored,
    VerdictKind,
    judge,
    read_lookup,
    verdict_unasked,
)
from sidecar.core.reconciliation.writes import UncertainWrite, group_writes

KEY: Final = "0123456789abcdef"
PATH: Final = "/v2.01/{client}/wallets/{id}/transfers"
BEGAN: Final = 1_700_000_000.7
ENDED: Final = BEGAN + 60
DAY: Final = 86_400.0


def call(**changes: Any) -> UncertainCall:
    fields: dict[str, Any] = {
        "id": "a",
        "environment": "sandbox",
        "method": "POST",
        "path": PATH,
        "started": BEGAN,
        "ended": ENDED,
        "key": KEY,
        **changes,
    }
    return UncertainCall(**fields)


def write(*others: UncertainCall, **changes: Any) -> UncertainWrite:
    (told,) = group_writes([call(**changes), *others])
    return told


def stored(status: int = 200, *, made_at: float = BEGAN + 1, path: str = PATH, ahead: float = 0.0) -> Stored:
    return Stored(status, path, made_at, "transfer_1", "SUCCEEDED", None, ahead)


# --- what is not asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "environment", "age", "kind"),
    [
        ({}, "sandbox", 0, None),
        ({}, None, 0, None),
        ({}, "production", 0, VerdictKind.OTHER_ACCOUNT),
        ({"foreign": True, "key": None}, "sandbox", 0, VerdictKind.OTHER_ACCOUNT),
        ({"key": None}, "sandbox", 0, VerdictKind.WITHOUT_KEY),
        ({"key": None}, "sandbox", 3 * DAY, VerdictKind.WITHOUT_KEY),
        ({}, "sandbox", DAY + 299, None),
        ({}, "sandbox", DAY + 301, VerdictKind.TOO_OLD),
    ],
)
def test_what_need_not_be_asked_for(
    changes: dict[str, Any], environment: str | None, age: float, kind: VerdictKind | None
) -> None:
    verdict = verdict_unasked(write(**changes), environment=environment, now=ENDED + age)
    assert (None if verdict is None else verdict.kind) is kind


def test_another_account_is_named() -> None:
    verdict = verdict_unasked(write(foreign=True), environment=None, now=ENDED)
    assert verdict is not None
    assert "another ClientId" in verdict.reason


def test_the_margins_belong_to_what_can_still_be_told() -> None:
    """To the very second: a day and 5 minutes are asked for, a day less 5 minutes is not forgotten."""
    whole = write(started=1000.0, ended=1060.0)
    assert verdict_unasked(whole, environment=None, now=1060.0 + DAY + 300) is None
    assert judge(whole, NothingStored(), now=1000.0 + DAY - 300).kind is VerdictKind.NOT_THERE
    assert not judge(whole, stored(made_at=1180.0), now=2000.0).by_later_try


def test_the_last_try_says_how_old_a_write_is() -> None:
    repeated = write(call(id="b", started=BEGAN + DAY, ended=ENDED + DAY))
    assert verdict_unasked(repeated, environment=None, now=ENDED + 1.5 * DAY) is None


def test_another_environment_is_named() -> None:
    verdict = verdict_unasked(write(), environment="production", now=ENDED)
    assert verdict is not None
    assert ("sandbox" in verdict.reason, "production" in verdict.reason) == (True, True)


# --- what is stored --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, VerdictKind.EXECUTED),
        (204, VerdictKind.EXECUTED),
        (299, VerdictKind.EXECUTED),
        (300, VerdictKind.FAILED),
        (400, VerdictKind.REFUSED),
        (401, VerdictKind.REFUSED),
        (499, VerdictKind.REFUSED),
        (500, VerdictKind.FAILED),
        (504, VerdictKind.FAILED),
    ],
)
def test_the_status_tells(status: int, kind: VerdictKind) -> None:
    verdict = judge(write(), stored(status), now=ENDED)
    assert (verdict.kind, verdict.certain) == (kind, kind in CERTAIN)
    assert verdict.stored == stored(status)
    assert not verdict.by_later_try


def test_only_two_verdicts_are_certain() -> None:
    assert {VerdictKind.EXECUTED, VerdictKind.REFUSED} == CERTAIN


@pytest.mark.parametrize("path", ["/V2.01/{client}/Wallets/{id}/Transfers", "/v2_01/{client}/wallets/{id}/transfers/"])
def test_paths_are_compared_as_mangopay_writes_them(path: str) -> None:
    assert judge(write(), stored(path=path), now=ENDED).kind is VerdictKind.EXECUTED


@pytest.mark.parametrize("path", ["/v2.01/{client}/transfers", "/v2.01/{client}/wallets/{id}", "/v3.0" + PATH[6:], ""])
def test_the_answer_to_another_path_is_not_this_calls(path: str) -> None:
    verdict = judge(write(), stored(path=path), now=ENDED)
    assert (verdict.kind, verdict.certain, verdict.stored) == (VerdictKind.NOT_THIS_CALL, False, stored(path=path))
    assert path in verdict.reason


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0])
@pytest.mark.parametrize(
    ("after", "fits"), [(-3600.0, False), (-2.7, False), (-1.7, True), (-0.7, True), (0.0, True), (59.0, True)]
)
def test_an_answer_of_before_the_first_try_is_not_this_calls(after: float, fits: bool, ahead: float) -> None:
    """Dates count whole seconds, and a second is allowed for two clocks of ours; it is Mangopay's that counts."""
    answer = stored(made_at=BEGAN + after + ahead, ahead=ahead)
    verdict = judge(write(), answer, now=ENDED)
    assert verdict.kind is (VerdictKind.EXECUTED if fits else VerdictKind.NOT_THIS_CALL)
    assert verdict.stored == answer
    assert ("used before" in verdict.reason) is not fits


@pytest.mark.parametrize(("after", "later"), [(1.0, False), (119.0, False), (121.0, True), (7200.0, True)])
@pytest.mark.parametrize("ahead", [0.0, 3600.0])
def test_an_answer_long_after_the_last_try_is_that_to_a_repeat(after: float, later: bool, ahead: float) -> None:
    verdict = judge(write(), stored(made_at=ENDED + after + ahead, ahead=ahead), now=ENDED + DAY / 2)
    assert (verdict.kind, verdict.by_later_try) == (VerdictKind.EXECUTED, later)


def test_an_answer_between_two_tries_is_that_to_the_write() -> None:
    repeated = write(call(id="b", started=BEGAN + 3600, ended=ENDED + 3600))
    verdict = judge(repeated, stored(made_at=BEGAN + 2), now=ENDED + 3700)
    assert (verdict.kind, verdict.by_later_try) == (VerdictKind.EXECUTED, False)


@pytest.mark.parametrize("ahead", [0.0, 3600.0])
@pytest.mark.parametrize(("after", "fits"), [(299.0, True), (301.0, False), (10 * DAY, False)])
def test_an_answer_with_a_date_that_is_yet_to_come_may_be_of_any_moment(after: float, fits: bool, ahead: float) -> None:
    answer = stored(made_at=ENDED + after + ahead, ahead=ahead)
    verdict = judge(write(), answer, now=ENDED)
    assert verdict.kind is (VerdictKind.EXECUTED if fits else VerdictKind.NOT_THIS_CALL)
    assert verdict.stored == answer
    assert ("yet to come" in verdict.reason) is not fits


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("ahead", [0.0, 3600.0])
@pytest.mark.parametrize(
    ("after", "forgotten"), [(DAY - 301, False), (DAY - 300, False), (DAY - 299, True), (DAY + 60, True)]
)
def test_an_answer_of_a_day_later_says_nothing_of_the_first_try(
    status: int, ahead: float, after: float, forgotten: bool
) -> None:
    """The first try may have been executed and forgotten, and the key taken as a new one: nothing is certain then."""
    repeated = write(call(id="b", started=BEGAN + DAY, ended=ENDED + DAY))
    answer = stored(status, made_at=BEGAN + after + ahead, ahead=ahead)
    verdict = judge(repeated, answer, now=ENDED + DAY)
    assert (verdict.kind is VerdictKind.TOO_OLD, verdict.stored) == (forgotten, answer)
    assert ("forgotten" in verdict.reason) is forgotten
    assert verdict.by_later_try is False
    assert not (forgotten and verdict.certain)


# --- what is not stored ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "kind"), [(0, VerdictKind.NOT_THERE), (DAY - 301, VerdictKind.NOT_THERE), (DAY - 299, VerdictKind.TOO_OLD)]
)
def test_nothing_stored_is_told_while_it_would_be_kept(age: float, kind: VerdictKind) -> None:
    verdict = judge(write(), NothingStored(), now=BEGAN + age)
    assert (verdict.kind, verdict.certain) == (kind, False)


def test_a_first_try_that_is_forgotten_may_be_why_nothing_is_stored_for_the_second() -> None:
    repeated = write(call(id="b", started=BEGAN + DAY, ended=ENDED + DAY))
    assert judge(repeated, NothingStored(), now=ENDED + DAY).kind is VerdictKind.TOO_OLD


def test_no_answer_has_its_reason() -> None:
    verdict = judge(write(), LookupFailed("because"), now=ENDED)
    assert (verdict.kind, verdict.reason, verdict.certain) == (VerdictKind.NOT_ASKED, "because", False)


# --- reading the answer ----------------------------------------------------------------------------------------------


def document(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "StatusCode": "200",
        "ContentType": "application/json",
        "Date": formatdate(BEGAN + 1, usegmt=True),
        "RequestURL": "https://api.mangopay.com/V2.01/ACME/wallets/wlt_m_01/transfers",
        "Resource": {"Id": "transfer_1", "Status": "SUCCEEDED", "Type": "card"},
        **changes,
    }
    return json.dumps(fields).encode()


def test_a_stored_answer_is_read_with_its_resource_and_its_path_masked() -> None:
    assert read_lookup(200, {}, document(), ahead=2.0) == Stored(
        200, "/V2.01/{client}/wallets/{id}/transfers", int(BEGAN) + 1.0, "transfer_1", "SUCCEEDED", None, 2.0
    )


def test_a_stored_refusal_is_read_with_its_type() -> None:
    report = {"Id": "6f1c", "Type": "param_error", "Message": "no", "errors": {}}
    answer = read_lookup(200, {}, document(StatusCode="400", Resource=report), ahead=0.0)
    assert isinstance(answer, Stored)
    assert (answer.status, answer.type, answer.resource_id) == (400, "param_error", "6f1c")


@pytest.mark.parametrize("resource", [None, "text", [1], {"Id": 5, "Status": None}, {"Id": ""}])
def test_a_resource_without_an_id_has_none(resource: object) -> None:
    answer = read_lookup(200, {}, document(Resource=resource), ahead=0.0)
    assert isinstance(answer, Stored)
    assert (answer.resource_id, answer.resource_status) == (None, None)


def test_what_is_shown_of_a_resource_is_printable_and_short() -> None:
    answer = read_lookup(200, {}, document(Resource={"Id": "\x1b[2J" + "x" * 99, "Status": "a\nb"}), ahead=0.0)
    assert isinstance(answer, Stored)
    assert answer.resource_id == ("?[2J" + "x" * 99)[:64]
    assert answer.resource_status == "a?b"


def test_no_document_and_no_date_tell_nothing() -> None:
    assert read_lookup(200, {}, b"<html>", ahead=0.0) is None
    assert read_lookup(200, {}, document(), ahead=None) is None


JSON: Final = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "nothing"),
    [
        (400, JSON, b'{"Type": "correlationid_not_found"}', True),
        (404, JSON, b'{"Type": "ressource_not_found"}', True),
        (400, JSON, b'{"Type": "param_error"}', False),
        (404, JSON, b'{"message": "no such route"}', False),
        (404, {"content-type": "text/html"}, b"<html>", False),
        (403, JSON, b'{"Type": "correlationid_not_found"}', False),
        (500, JSON, b'{"Type": "correlationid_not_found"}', False),
        (404, {"content-type": "\u20ac"}, b"", False),
    ],
)
def test_only_mangopays_own_word_says_that_nothing_is_stored(
    status: int, headers: dict[str, str], body: bytes, nothing: bool
) -> None:
    assert read_lookup(status, headers, body, ahead=0.0) == (NothingStored() if nothing else None)
