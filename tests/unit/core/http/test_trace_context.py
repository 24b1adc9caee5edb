"""Which trace a call belongs to, and what is written upstream for each attempt."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.header_index import index_of
from sidecar.core.http.headers import RequestTemplate
from sidecar.core.http.trace_context import (
    CallTrace,
    TraceParent,
    begin_trace,
    parse_traceparent,
    without_context,
)
from sidecar.core.http.traced_request import TracedTemplate

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.http.header_index import RawHeaders

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"
VALID: Final = f"00-{TRACE}-{SPAN}-01".encode()
PARENT: Final = TraceParent(int(TRACE, 16), int(SPAN, 16), 1)


def numbers(*given: int) -> Callable[[int], int]:
    """Chance that gives these, one after another."""
    left = list(given)
    return lambda bits: left.pop(0) % (1 << bits)


def context(*values: bytes, share: float = 1.0, chance: Callable[[int], int] | None = None) -> CallTrace:
    raw = ((b"Accept", b"*/*"), *((b"TraceParent", value) for value in values))
    return begin_trace(raw, None, share=share, chance=chance or random.Random(1).getrandbits)


def test_as_many_random_bits_are_taken_as_an_id_has() -> None:
    asked: list[int] = []

    def chance(bits: int) -> int:
        asked.append(bits)
        return 1

    context(chance=chance).next_attempt()
    assert sorted(asked) == [64, 64, 128]
    context(VALID, chance=chance).next_attempt()
    assert asked[3:] == [64, 64]


def test_a_header_index_that_is_known_is_not_made_again() -> None:
    index = index_of(((b"traceparent", b""),))
    trace = begin_trace(((b"another", VALID),), index, share=0.0, chance=numbers(7))
    assert (trace.trace_id, trace.parent_id) == (PARENT.trace_id, PARENT.span_id)


@pytest.mark.parametrize(
    ("value", "parent"),
    [
        (VALID, PARENT),
        (f"00-{TRACE}-{SPAN}-00".encode(), PARENT._replace(flags=0)),
        # Level 2: the id is random. What is not known is not passed on.
        (f"00-{TRACE}-{SPAN}-03".encode(), PARENT._replace(flags=3)),
        (f"00-{TRACE}-{SPAN}-ff".encode(), PARENT._replace(flags=3)),
        (f"00-{TRACE}-{SPAN}-09".encode(), PARENT),
        # A later version is read as far as this one goes.
        (f"01-{TRACE}-{SPAN}-01".encode(), PARENT),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later".encode(), PARENT),
        (f"cc-{TRACE}-{SPAN}-01-".encode(), PARENT),
        (f"cc-{TRACE}-{SPAN}-01.".encode(), None),
        (f"cc-{TRACE}-{SPAN}-01x".encode(), None),
        # No version has this number, and the known one ends with its flags.
        (f"ff-{TRACE}-{SPAN}-01".encode(), None),
        (VALID + b"-", None),
        (VALID + b"-more", None),
        # All zeros name nobody.
        (f"00-{'0' * 32}-{SPAN}-01".encode(), None),
        (f"00-{TRACE}-{'0' * 16}-01".encode(), None),
        # Upper case, other lengths, other characters.
        (VALID.upper(), None),
        (VALID[:-1], None),
        (VALID[1:], None),
        (f"00-{TRACE[1:]}-{SPAN}-01".encode(), None),
        (f"00-{TRACE}-{SPAN}0-01".encode(), None),
        (f"00_{TRACE}_{SPAN}_01".encode(), None),
        (f"0g-{TRACE}-{SPAN}-01".encode(), None),
        (VALID + b"\n", None),
        (b" " + VALID, None),
        (b"", None),
        (b"\xff" * 55, None),
    ],
)
def test_a_traceparent_is_read_as_the_recommendation_says(value: bytes, parent: TraceParent | None) -> None:
    assert parse_traceparent(value) == parent


@given(st.binary(max_size=80) | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_what_is_read_names_a_span_and_is_written_as_it_was(value: bytes) -> None:
    parent = parse_traceparent(value)
    if parent is not None:
        assert f"{parent.trace_id:032x}-{parent.span_id:016x}".encode() == value[3:52]


def test_a_callers_trace_is_continued() -> None:
    trace = context(VALID, chance=numbers(0xAB, 0xCD))
    assert (trace.trace_id, trace.parent_id, trace.span_id, trace.sampled) == (*PARENT[:2], 0xAB, True)
    assert trace.traceparent == f"00-{TRACE}-00000000000000ab-01"
    assert trace.next_attempt() == f"00-{TRACE}-00000000000000cd-01"
    assert trace.attempts == [0xCD]


@pytest.mark.parametrize("values", [(), (b"no",), (VALID, VALID), (VALID.upper(),)])
def test_a_new_trace_begins_where_none_is_named_or_nobody_can_tell_which(values: tuple[bytes, ...]) -> None:
    trace = context(*values, chance=numbers(0xAB, 0x12))
    assert (trace.trace_id, trace.parent_id, trace.span_id) == (0x12, None, 0xAB)


def test_the_callers_decision_holds_whatever_the_share_is() -> None:
    assert context(VALID, share=0.0).sampled
    assert not context(VALID[:-2] + b"00", share=1.0).sampled


@pytest.mark.parametrize(
    ("share", "trace_id", "sampled"),
    [
        (1.0, (1 << 128) - 1, True),
        (0.0, 1 << 64, False),
        (0.25, (1 << 62) - 1, True),
        (0.25, 1 << 62, False),
        # The lower half of an id decides, so that every program with the same share decides alike.
        (0.25, (0xFFFF << 64) + 1, True),
    ],
)
def test_the_share_is_that_of_trace_ids(share: float, trace_id: int, sampled: bool) -> None:
    assert context(share=share, chance=numbers(1, trace_id)).sampled is sampled


def test_the_share_decides_as_the_sdk_does() -> None:
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    chance = random.Random(7).getrandbits
    for share in (0.001, 0.1, 0.5, 0.999):
        sampler = TraceIdRatioBased(share)
        for _ in range(200):
            trace = context(share=share, chance=chance)
            decided = sampler.should_sample(None, trace.trace_id, "name").decision.is_sampled()  # type: ignore[no-untyped-call]
            assert trace.sampled is decided


def test_no_id_is_zero() -> None:
    trace = context(chance=lambda bits: 0)
    assert (trace.trace_id, trace.span_id) == (1, 1)
    assert trace.next_attempt().split("-")[2] == f"{1:016x}"


def test_two_calls_share_no_list_of_attempts() -> None:
    first, second = context(), context()
    first.next_attempt()
    assert second.attempts == []


HEADERS: Final[RawHeaders] = (
    (b"Accept", b"*/*"),
    (b"TraceParent", VALID),
    (b"tracestate", b"a=1"),
    (b"X-TraceParent", b"kept"),
    (b"TraceState", b"b=2"),
)


def test_the_callers_traceparent_stays_here_and_tracestate_goes_with_a_trace_that_is_continued() -> None:
    assert without_context(HEADERS, continued=True) == (HEADERS[0], *HEADERS[2:])
    assert without_context(HEADERS, continued=False) == (HEADERS[0], HEADERS[3])


def test_the_index_of_the_lines_gives_the_same() -> None:
    assert begin_trace(HEADERS, index_of(HEADERS), share=0.0, chance=numbers(1)).parent_id == PARENT.span_id


def test_each_rendering_ends_with_the_span_of_its_attempt() -> None:
    template = RequestTemplate.build("GET", b"/v2.01/acme/users", "", b"api", ((b"Accept", b"*/*"),), None, False)
    trace = context(VALID, chance=numbers(1, 2, 3))
    traced = TracedTemplate(template, trace)
    for token, span in (("one", 2), ("two", 3)):
        head = template.render(token).removesuffix(b"\r\n")
        assert traced.render(token) == head + f"traceparent: 00-{TRACE}-{span:016x}-01\r\n\r\n".encode()
    assert trace.attempts == [2, 3]


def test_what_cannot_be_rendered_begins_no_attempt() -> None:
    template = RequestTemplate.build("GET", b"/", "", b"api", (), None, False)
    trace = context()
    with pytest.raises(ValueError, match="cannot be empty"):
        TracedTemplate(template, trace).render("")
    assert trace.attempts == []
