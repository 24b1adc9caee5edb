"""What an error response may tell the log: Mangopay's Id and Type, the edge's CF-Ray, and nothing else."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.error_report import BODY_LIMIT, ErrorReport, read_error_report
from tests.support.canary import CANARY_API_KEY, CANARY_TOKEN

# Both forms of Mangopay's documentation (page "error report").
ID = "5e83fbe8-7345-4778-8437-4aa6464b3337"
DATED_ID = "59fd66e0-c84e-4a24-abaa-a22f8c1ac230#1740580804"
RAY = "8f3c2a1b4d5e6f70-CDG"


def body(**fields: Any) -> bytes:
    return json.dumps({"Message": "m", "Type": "param_error", "Id": ID, "Date": 1.0, "errors": None} | fields).encode()


@pytest.mark.parametrize("id_", [ID, DATED_ID, ID.upper()])
def test_an_error_report_tells_its_id_and_type(id_: str) -> None:
    assert read_error_report((), body(Id=id_)) == ErrorReport(id_, "param_error")


@pytest.mark.parametrize("type_", ["param_error", "invalid_credentials", "forbidden_ressource", "InternalServerError"])
def test_every_documented_type_looks_like_one(type_: str) -> None:
    assert read_error_report((), body(Type=type_)).type == type_


def test_the_ray_is_told_with_or_without_a_body() -> None:
    headers = ((b"Date", b"now"), (b"cf-RAY", RAY.encode()), (b"CF-Ray", b"0000000000000000-AMS"))
    assert read_error_report(headers, None) == ErrorReport(cf_ray=RAY)
    assert read_error_report(headers, b"") == ErrorReport(cf_ray=RAY)
    assert read_error_report(headers, body()) == ErrorReport(ID, "param_error", RAY)
    assert read_error_report(headers, b"<html>") == ErrorReport(cf_ray=RAY, is_page=True)


def test_the_body_may_be_compressed_and_have_a_bom() -> None:
    headers = ((b"Content-Encoding", b"gzip"),)
    assert read_error_report(headers, gzip.compress(b"\xef\xbb\xbf" + body())) == ErrorReport(ID, "param_error")
    assert read_error_report(headers, gzip.compress(b"<!DOCTYPE html>")).is_page
    assert read_error_report(headers, b"no gzip") == ErrorReport()
    assert read_error_report(((b"Content-Encoding", b"br"),), body()) == ErrorReport()


@pytest.mark.parametrize(("name", "is_page"), [(b"Content-Type", True), (b"X-Type", False)])
def test_a_body_that_is_labelled_as_html_and_is_no_json_is_a_page(name: bytes, is_page: bool) -> None:
    assert read_error_report(((name, b"text/html; charset=utf-8"),), b"Bad gateway").is_page is is_page


def test_a_body_that_is_not_at_hand_is_not_decoded() -> None:
    assert read_error_report(((b"Content-Encoding", b"gzip"),), None) == ErrorReport()


def test_a_report_of_the_longest_length_is_looked_into() -> None:
    longest = body(Message="x" * (BODY_LIMIT - len(body(Message=""))))
    assert len(longest) == BODY_LIMIT
    assert read_error_report((), longest).id == ID
    assert read_error_report((), longest + b" ") == ErrorReport()


def test_the_longest_type_that_is_told_has_64_letters() -> None:
    assert read_error_report((), body(Type="x" * 64)).type == "x" * 64


@pytest.mark.parametrize("padding", [BODY_LIMIT, 10 * 1024 * 1024])
def test_a_long_body_is_not_looked_into(padding: int) -> None:
    long = body(Message="x" * padding)
    assert read_error_report((), long) == ErrorReport()
    assert read_error_report(((b"Content-Encoding", b"gzip"),), gzip.compress(long)) == ErrorReport()


@pytest.mark.parametrize(
    "value",
    [None, 5, True, [], {}, "", "a b", "x" * 65, ID + "\n", "\x1b[31m", f"Bearer {CANARY_TOKEN}", CANARY_API_KEY],
)
def test_what_looks_like_neither_is_not_told(value: object) -> None:
    """Foreign text: an escape sequence for a terminal, or a secret sent back."""
    assert read_error_report((), body(Id=value, Type=value)) == ErrorReport()


@pytest.mark.parametrize("document", [b"[]", b"5", b"{", b"\xff", b'{"Id":' * 3000, b'{"a":' * 2000])
def test_a_body_that_is_no_report_tells_nothing(document: bytes) -> None:
    assert read_error_report((), document) == ErrorReport()


@given(
    st.lists(st.tuples(st.sampled_from([b"CF-Ray", b"Content-Type", b"Content-Encoding"]), st.binary(max_size=40))),
    st.none()
    | st.binary(max_size=300)
    | st.dictionaries(st.sampled_from(["Id", "Type"]), st.text()).map(lambda fields: json.dumps(fields).encode()),
)
def test_whatever_comes_what_is_told_is_short_and_printable(
    headers: list[tuple[bytes, bytes]], document: bytes | None
) -> None:
    report = read_error_report(headers, document)
    for told in (report.id, report.type, report.cf_ray):
        assert told is None or (0 < len(told) <= 64 and told.isascii() and told.isprintable())
