"""How much of a response is in hand, and what is known of it, for each way in which its body can come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from sidecar.core.error_report import ErrorReport
from sidecar.core.http.field import Field
from sidecar.core.http.response_head import response_head
from sidecar.core.resend import FailureKind
from sidecar.core.stored_response import StoredResponse
from sidecar.proxy.upstream_response import UpstreamResponse
from sidecar.upstream.errors import UpstreamError, before_a_byte
from tests.support.arriving import HEAD, Link, arriving, framed

if TYPE_CHECKING:
    from sidecar.core.http.messages import ResponseFraming

ID: Final = "5e83fbe8-7345-4778-8437-4aa6464b3337"
REPORT: Final = b'{"Type": "param_error", "Id": "%b"}' % ID.encode()


# --- a response that has begun ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("framing", "pieces", "body", "has_body"),
    [
        pytest.param(framed(5, 5), (b"he", b"llo"), b"hello", True, id="length"),
        pytest.param(framed(1, 1), (b"h",), b"h", True, id="length of 1"),
        pytest.param(framed(0, 0), (), b"", False, id="length of 0"),
        pytest.param(framed(0, 5), (), b"", False, id="length, to HEAD"),
        pytest.param(framed(0), (), b"", False, id="204"),
        pytest.param(framed(0, dropped=True), (), b"", True, id="dropped"),
        pytest.param(framed(None), (b"2\r\nhe\r\n0\r\n\r\n",), b"he", True, id="chunks"),
        pytest.param(framed(None), (b"0\r\n\r\n",), b"", True, id="no chunk"),
    ],
)
async def test_one_that_has_come_whole_is_in_hand_and_its_connection_is_given_back(
    framing: ResponseFraming, pieces: tuple[bytes, ...], body: bytes, has_body: bool
) -> None:
    link = Link()
    response = UpstreamResponse.of(arriving(link, framing, *pieces))
    assert (response.status, response.head) == (200, HEAD)
    assert (response.body, response.rest, link.finished) == (body, None, 1)
    assert (response.has_body, response.content_length) == (has_body, framing.declared)


@pytest.mark.parametrize(
    ("framing", "pieces"),
    [
        pytest.param(framed(5, 5), (), id="length, nothing of it"),
        pytest.param(framed(5, 5), (b"he",), id="length, a part of it"),
        pytest.param(framed(None), (b"2\r\nhe\r\n",), id="chunks, a part of them"),
    ],
)
async def test_of_one_that_is_still_to_come_nothing_is_taken(
    framing: ResponseFraming, pieces: tuple[bytes, ...]
) -> None:
    link = Link()
    source = arriving(link, framing, *pieces)
    response = UpstreamResponse.of(source)
    assert response.rest is source
    assert (response.body, response.has_body, response.content_length) == (b"", True, framing.declared)
    assert link.finished == 0
    if pieces:
        assert await source.read() == b"he"


# --- one whose connection has closed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.BROKEN])
async def test_what_has_come_before_a_connection_closed_is_taken(kind: FailureKind) -> None:
    source = arriving(Link(), framed(5, 5), b"he", failure=before_a_byte(kind, "for the log"))
    response = UpstreamResponse.of(source)
    await response.look_ahead()
    assert (response.body, response.rest) == (b"he", source)


@pytest.mark.parametrize("kind", [FailureKind.LOST, FailureKind.TIMEOUT])
async def test_one_that_was_cut_behind_its_head_is_passed_on_as_far_as_it_goes(kind: FailureKind) -> None:
    source = arriving(Link(), framed(5, 5), failure=before_a_byte(kind, "for the log"))
    response = UpstreamResponse.of(source)
    await response.look_ahead()
    assert (response.body, response.rest) == (b"", source)


async def test_one_that_broke_its_framing_behind_its_head_need_not_be_passed_on() -> None:
    failure = before_a_byte(FailureKind.BROKEN, "for the log")
    response = UpstreamResponse.of(arriving(Link(), framed(5, 5), failure=failure))
    with pytest.raises(UpstreamError) as caught:
        await response.look_ahead()
    assert caught.value is failure


async def test_in_one_that_is_whole_there_is_nothing_to_look_for() -> None:
    response = UpstreamResponse.of(arriving(Link(), framed(2, 2), b"he"))
    await response.look_ahead()
    assert response.body == b"he"


# --- reading it whole ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", b"he"], ids=["nothing in hand", "a part in hand"])
async def test_one_that_ends_within_the_limit_is_whole_and_its_connection_is_given_back(first: bytes) -> None:
    link = Link()
    rest = arriving(link, framed(3), b"llo")
    response = UpstreamResponse(200, HEAD, first, rest, has_body=True, content_length=None)
    assert await response.read_whole(len(first) + 3)
    assert (response.body, response.rest, link.finished) == (first + b"llo", None, 1)


async def test_of_one_that_is_too_long_what_was_read_is_kept() -> None:
    link = Link()
    rest = arriving(link, framed(9), b"llo")
    response = UpstreamResponse(200, HEAD, b"he", rest, has_body=True, content_length=None)
    assert not await response.read_whole(4)
    assert (response.body, response.rest, link.finished) == (b"hello", rest, 0)


async def test_of_one_that_is_late_nothing_more_is_read() -> None:
    rest = arriving(Link(), framed(3), b"llo")
    response = UpstreamResponse(200, HEAD, b"he", rest, has_body=True, content_length=None)
    assert not await response.read_whole(100, lambda: True)
    assert (response.body, response.rest) == (b"he", rest)


@pytest.mark.parametrize(("limit", "within"), [(1, False), (2, True)])
async def test_one_that_is_in_hand_is_whole_if_it_is_within_the_limit(limit: int, within: bool) -> None:
    response = UpstreamResponse.of(arriving(Link(), framed(2, 2), b"he"))
    assert await response.read_whole(limit) is within


def test_what_is_left_of_one_is_given_up_once() -> None:
    link = Link()
    response = UpstreamResponse.of(arriving(link, framed(5, 5), b"he"))
    response.discard()
    response.discard()
    assert (response.rest, link.finished) == (None, 1)


# --- what it tells of an error ---------------------------------------------------------------------------------------


def test_an_error_report_is_read_only_where_all_of_the_body_is_in_hand() -> None:
    """A part of a body may look like another one: a page, or a report that goes on."""
    head = response_head(1, 400, b"", [Field(b"CF-Ray", b"8f3c2a1b4d5e6f70-CDG")])
    rest = arriving(Link(), framed(1))
    response = UpstreamResponse(400, head, REPORT, rest, has_body=True, content_length=None)
    assert response.error_report() == ErrorReport(cf_ray="8f3c2a1b4d5e6f70-CDG")
    response.rest = None
    assert response.error_report() == ErrorReport(ID, "param_error", "8f3c2a1b4d5e6f70-CDG")


# --- one that was read back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "stored", "body", "lines"),
    [
        (201, b'{"Id":"42"}', b'{"Id":"42"}', [b"Content-Type: text/x", b"Content-Length: 11"]),
        (200, b"", b"", [b"Content-Length: 0"]),
        (204, b"{}", b"", []),
        (304, b"{}", b"", []),
    ],
)
def test_what_was_read_back_gets_the_head_that_its_body_needs(
    status: int, stored: bytes, body: bytes, lines: list[bytes]
) -> None:
    response = UpstreamResponse.stored(StoredResponse(status, "text/x", stored))
    assert (response.status, response.body, response.rest) == (status, body, None)
    assert (response.has_body, response.content_length) == (bool(body), len(body))
    head = response.head
    assert (head.minor_version, head.status, head.reason, head.lines_down) == (1, status, b"", lines)
