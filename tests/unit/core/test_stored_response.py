"""A stored answer counts only if it answers our own request."""

from __future__ import annotations

import gzip
import json
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.dates import read_date
from sidecar.core.http.header_index import index_of
from sidecar.core.idempotency_key import idempotency_key
from sidecar.core.stored_response import SKEW, is_conflict, is_to_come, read_stored_response

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders

PATH = "/v2.01/acme/payins/card/web"
SENT = 1_700_000_000.4
CONFLICT = b'{"Type": "idempotent_creation_conflict"}'


def document(**changes: Any) -> bytes:
    stored: dict[str, Any] = {
        "StatusCode": "200",
        "ContentLength": "17",
        "ContentType": "application/json; charset=utf-8",
        "Date": formatdate(SENT + 1, usegmt=True),
        "RequestURL": "https://api.mangopay.com/V2.01/ACME/payins/card/web",
        "Resource": {"Id": "pay_1", "Amount": 1.50},
    }
    stored |= changes
    return json.dumps({name: value for name, value in stored.items() if value is not None}).encode()


def test_our_own_response_is_read() -> None:
    stored = read_stored_response(document(), path=PATH, not_before=SENT)
    assert stored is not None
    assert stored.status == 200
    assert stored.content_type == "application/json; charset=utf-8"
    assert json.loads(stored.body) == {"Id": "pay_1", "Amount": 1.5}


def test_the_resource_keeps_its_own_bytes() -> None:
    raw = document().replace(b'"Amount": 1.5', b'"Amount":   1.50')
    stored = read_stored_response(raw, path=PATH, not_before=SENT)
    assert stored is not None
    assert b'"Amount":   1.50' in stored.body


@pytest.mark.parametrize(
    "url",
    [
        "https://api.mangopay.com/V2.01/ACME/payins/card/web",
        "https://api.mangopay.com/v2.01/acme/payins/card/web/",
        "https://api.mangopay.com/V2_01/acme/PayIns/card/web",
        "https://api.sandbox.mangopay.com/v2.01/acme/payins/card/web?x=1",
        "/v2.01/acme/payins/card/web",
    ],
)
def test_the_target_is_compared_without_host_and_case(url: str) -> None:
    assert read_stored_response(document(RequestURL=url), path=PATH, not_before=SENT) is not None


@pytest.mark.parametrize("older_too", [False, True])
@pytest.mark.parametrize(("after", "ours"), [(-1, True), (299, True), (302, False), (3600, False), (1e9, False)])
def test_a_date_that_is_yet_to_come_may_stand_for_any_moment(after: float, ours: bool, older_too: bool) -> None:
    """As in local time: what was stored half an hour ago would pass for the response to a request of now."""
    told_at = SENT + 2
    raw = document(Date=formatdate(told_at + after, usegmt=True))
    stored = read_stored_response(raw, path=PATH, not_before=SENT, told_at=told_at, older_too=older_too)
    assert (stored is not None) is ours


@pytest.mark.parametrize(
    ("made", "older"), [(-86_000.0, True), (-1.0, True), (-0.4, False), (0.0, False), (5.0, False)]
)
def test_the_response_to_an_earlier_request_counts_if_it_is_asked_for_and_is_told_as_such(
    made: float, older: bool
) -> None:
    earlier = document(Date=SENT + made)
    stored = read_stored_response(earlier, path=PATH, not_before=SENT, older_too=True)
    assert stored is not None
    assert stored.older is older
    assert (read_stored_response(earlier, path=PATH, not_before=SENT) is None) is older


def test_an_earlier_response_to_another_path_counts_for_nobody() -> None:
    elsewhere = document(RequestURL="https://api.mangopay.com/V2.01/ACME/payouts", Date=SENT - 60)
    assert read_stored_response(elsewhere, path=PATH, not_before=SENT, older_too=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.mangopay.com/v2.01/acme/transfers",
        "https://api.mangopay.com/v2.01/other/payins/card/web",
        "https://api.mangopay.com/v2.01/acme/payins/card/webs",
        "https://api.mangopay.com/",
        "",
    ],
)
def test_another_target_is_somebody_elses_answer(url: str) -> None:
    assert read_stored_response(document(RequestURL=url), path=PATH, not_before=SENT) is None


@pytest.mark.parametrize(
    ("date", "ours"),
    [
        (formatdate(SENT, usegmt=True), True),  # whole seconds: rounded down, so "before" our fraction
        (formatdate(SENT - 1, usegmt=True), False),
        (formatdate(SENT - 86_000, usegmt=True), False),
        (formatdate(SENT + 5, usegmt=True), True),
        (int(SENT) + 1, True),
        (int(SENT) - 1, False),
        (str(int(SENT) + 1), True),
        ("2023-11-14T22:13:21Z", True),
        ("2023-11-14T22:13:21", True),
        ("2023-11-13T22:13:21+00:00", False),
        ("yesterday", False),
        ("", False),
        (None, False),
    ],
)
def test_a_response_made_before_our_send_is_not_ours(date: object, ours: bool) -> None:
    assert (read_stored_response(document(Date=date), path=PATH, not_before=SENT) is not None) is ours


@pytest.mark.parametrize("status", ["abc", "99", "600", "-1", None, {}, True, "1e3"])
def test_a_status_that_is_none_is_no_response(status: object) -> None:
    assert read_stored_response(document(StatusCode=status), path=PATH, not_before=SENT) is None


@pytest.mark.parametrize("status", ["200", "599", 200])
def test_every_final_status_can_be_stored(status: object) -> None:
    stored = read_stored_response(document(StatusCode=status), path=PATH, not_before=SENT)
    assert stored is not None
    assert stored.status == int(str(status))


@pytest.mark.parametrize(("resource", "body"), [("null", b""), ('"null"', b'"null"'), ("{}", b"{}")])
def test_a_resource_that_is_null_is_no_body(resource: str, body: bytes) -> None:
    raw = document(Resource="@").replace(b'"@"', resource.encode())
    stored = read_stored_response(raw, path=PATH, not_before=SENT)
    assert stored is not None
    assert stored.body == body


def test_no_resource_is_no_body() -> None:
    stored = read_stored_response(document(Resource=None), path=PATH, not_before=SENT)
    assert stored is not None
    assert stored.body == b""


def test_the_content_type_is_the_stored_one() -> None:
    stored = read_stored_response(document(ContentType="text/csv"), path=PATH, not_before=SENT)
    assert stored is not None
    assert stored.content_type == "text/csv"


@pytest.mark.parametrize("url", ["https://api.mangopay.com/v2.01/acme/x", "https://api.mangopay.com/v2.01/acme/X/"])
def test_only_slashes_are_cut_from_the_end_of_a_path(url: str) -> None:
    assert read_stored_response(document(RequestURL=url), path="/v2.01/acme/x", not_before=SENT) is not None
    assert read_stored_response(document(RequestURL=url), path="/v2.01/acme/", not_before=SENT) is None


@pytest.mark.parametrize(
    "date", ["Tue, 14 Nov 2023 22:13:20 -0000", "2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00", 1_700_000_000]
)
def test_a_date_without_a_zone_is_utc_wherever_this_machine_is(date: str | float, elsewhere: None) -> None:
    assert read_date(date) == 1_700_000_000


def test_a_stored_refusal_keeps_its_status() -> None:
    stored = read_stored_response(document(StatusCode="401"), path=PATH, not_before=SENT)
    assert stored is not None
    assert stored.status == 401


@pytest.mark.parametrize("content_type", [None, "", "text/x\r\nSet-Cookie: a=b", "é"])
def test_a_content_type_that_cannot_be_a_header_is_json(content_type: str | None) -> None:
    stored = read_stored_response(document(ContentType=content_type), path=PATH, not_before=SENT)
    assert stored is not None
    assert stored.content_type == "application/json; charset=utf-8"


@given(st.binary(max_size=200))
def test_no_document_raises(raw: bytes) -> None:
    read_stored_response(raw, path=PATH, not_before=SENT)
    is_conflict(raw)


@pytest.mark.parametrize(
    "date",
    [
        pytest.param("Sun, 06 Nov 1994 08:49:37 +99999999999999999999", id="an absurd zone"),
        pytest.param("1" * 400, id="400 digits"),
        pytest.param("9" * 5000, id="5,000 digits"),
        pytest.param(10**400, id="a number of 401 digits"),
        pytest.param("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", id="an absurd year"),
    ],
)
def test_an_absurd_date_is_no_response_of_ours(date: str | int) -> None:
    assert read_stored_response(document(Date=date), path=PATH, not_before=SENT) is None


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        (((b"Idempotency-Key", b"0123456789abcdef"),), "0123456789abcdef"),
        (((b"idempotency-key", b"A" * 36),), "A" * 36),
        (((b"Idempotency-Key", b"A" * 15),), None),
        (((b"Idempotency-Key", b"A" * 37),), None),
        (((b"Idempotency-Key", b"0123456789abcde_"),), None),
        (((b"Idempotency-Key", b"0123456789abcde/"),), None),
        (((b"Idempotency-Key", b"0123456789abcdef"), (b"Idempotency-Key", b"0123456789abcdef")), None),
        ((), None),
    ],
)
def test_only_a_single_valid_key_can_be_read_back(headers: RawHeaders, key: str | None) -> None:
    assert idempotency_key(headers) == key


@pytest.mark.parametrize(
    ("body", "conflict"),
    [
        (b'{"Type": "idempotent_creation_conflict", "Message": "x"}', True),
        (b'{"Type": "param_error"}', False),
        (b"{}", False),
        (b"not json", False),
        (b"", False),
        (b'{"Type": "\xff"}', False),
        (b'{"a":' * 800, False),
        (b'{"Type": "idempotent_creation_conflict"}' + b" " * (4096 - 40), True),
        (b'{"Type": "idempotent_creation_conflict"}' + b" " * (4097 - 40), False),
    ],
)
def test_a_conflict_is_told_by_its_type(body: bytes, conflict: bool) -> None:
    assert is_conflict(body) is conflict


@pytest.mark.parametrize(
    ("coding", "body", "conflict"),
    [
        (b"gzip", gzip.compress(CONFLICT, mtime=0), True),
        (b"X-GZip", gzip.compress(CONFLICT, mtime=0), True),
        (b"identity", CONFLICT, True),
        (b"gzip", gzip.compress(CONFLICT, mtime=0)[:-4], False),
        (b"gzip", gzip.compress(CONFLICT + b" " * 10_000_000, mtime=0), False),
        (b"br", gzip.compress(CONFLICT, mtime=0), False),
        (b"gzip", CONFLICT, False),
    ],
)
def test_a_conflict_is_told_in_the_coding_that_the_caller_takes(coding: bytes, body: bytes, conflict: bool) -> None:
    assert is_conflict(body, ((b"content-encoding", coding),)) is conflict


@pytest.mark.parametrize("document", [b'{"StatusCode": "\xff"}', b'{"Resource":' * 100_000])
def test_a_document_that_cannot_be_read_is_no_response(document: bytes) -> None:
    assert read_stored_response(document, path=PATH, not_before=SENT) is None


def test_a_key_is_looked_for_by_the_index_that_the_caller_has() -> None:
    raw: RawHeaders = ((b"Idempotency-Key", b"0123456789abcdef"),)
    assert idempotency_key(raw, index_of(())) is None
    assert idempotency_key(raw, index_of(raw)) == "0123456789abcdef"


@pytest.mark.parametrize(("ahead", "to_come"), [(0.0, False), (SKEW, False), (SKEW + 1.0, True)])
def test_clocks_may_differ_by_so_much(ahead: float, to_come: bool) -> None:
    assert is_to_come(SENT + ahead, SENT) is to_come
