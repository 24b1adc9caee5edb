"""Where request heads begin and end is counted rightly, however the bytes are cut up."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.downstream.head_boundaries import MAX_HEAD, HeadBoundaries


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    headers: bytes
    body: bytes

    @property
    def head(self) -> bytes:
        return f"{self.method} {self.target} HTTP/1.1\r\n".encode() + self.headers + b"\r\n"


_requests = st.builds(
    _Request,
    method=st.sampled_from(["GET", "POST", "M-SEARCH"]),
    target=st.text("/ab?=%", min_size=1, max_size=10),
    headers=st.sampled_from([b"", b"Host: a\r\n", b"X: HTTP/1.1\r\nY: \xff\r\n"]),
    body=st.sampled_from([b"", b"x", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"y" * 100]),
)


@given(st.lists(_requests, min_size=1, max_size=5), st.lists(st.integers(1, 60)), st.booleans())
def test_every_head_is_found_whatever_the_pieces(requests: list[_Request], cuts: list[int], empty_lines: bool) -> None:
    """Each request is claimed when its head is complete, as the parser would have it."""
    heads = HeadBoundaries()
    between = b"\r\n" if empty_lines else b""
    wire = b"".join(request.head + request.body + between for request in requests)
    ends: list[int] = []
    position = 0
    for request in requests:
        ends.append(position + len(request.head))
        position = ends[-1] + len(request.body) + len(between)
    left = list(zip(requests, ends, strict=True))
    sent = 0
    sizes = iter([*cuts, len(wire)])
    while sent < len(wire):
        size = next(sizes)
        heads.feed(wire[sent : sent + size])
        sent = min(sent + size, len(wire))
        while left and left[0][1] <= sent:
            request, _ = left.pop(0)
            heads.take_head(request.method, request.target, len(request.body))
    assert not left
    assert heads.pending in {b"", b"\r"}


def _claimed(head: bytes, method: str = "GET", target: str = "/a", body: int = 0) -> HeadBoundaries:
    heads = HeadBoundaries()
    heads.feed(head)
    heads.take_head(method, target, body)
    return heads


def test_what_follows_a_head_is_told() -> None:
    heads = HeadBoundaries()
    heads.feed(b"POST /a HTTP/1.1\r\n\r\nabcde")
    assert heads.take_head("POST", "/a", 10) == 5
    heads.feed(b"fghijGET /b")
    assert heads.pending == b"GET /b"


def test_no_more_than_a_few_empty_lines_are_passed_over() -> None:
    with pytest.raises(SidecarError):
        _claimed(b"\r\n" * 5 + b"GET /a HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a RTSP/1.0\r\n\r\n",
        b"GET  /a HTTP/1.1\r\n\r\n",
        b"GET /a  HTTP/1.1\r\n\r\n",
        b" GET /a HTTP/1.1\r\n\r\n",
        b"\nGET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/2.0\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"GET /ab HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\n",
        b"",
    ],
)
def test_a_head_that_is_not_as_the_parser_says_is_refused(head: bytes) -> None:
    with pytest.raises(SidecarError) as caught:
        _claimed(head)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert caught.value.close


@pytest.mark.parametrize(("size", "refused"), [(MAX_HEAD, False), (MAX_HEAD + 1, True)])
def test_a_head_has_a_largest_size(size: int, refused: bool) -> None:
    line = b"GET /a HTTP/1.1\r\n"
    head = line + b"X: " + b"a" * (size - len(line) - 7) + b"\r\n\r\n"
    assert len(head) == size
    if refused:
        with pytest.raises(SidecarError) as caught:
            _claimed(head)
        assert caught.value.code is ErrorCode.HEADERS_TOO_LARGE
    else:
        assert _claimed(head).pending == b""


def test_an_unfinished_head_has_a_largest_size_too() -> None:
    heads = HeadBoundaries()
    heads.feed(b"a" * MAX_HEAD)
    heads.check()
    heads.feed(b"a")
    with pytest.raises(SidecarError) as caught:
        heads.check()
    assert caught.value.code is ErrorCode.HEADERS_TOO_LARGE


def test_many_small_heads_that_the_parser_holds_back_are_not_one_large_head() -> None:
    heads = HeadBoundaries()
    heads.feed(b"GET /a HTTP/1.1\r\n\r\n" * 10_000)
    heads.check()
