"""What rules say of the names of a head is worked out once for each combination, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.header_index import index_of, joined_values, reject, select
from sidecar.core.http.header_table import INDEXES, HeaderIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.core.http.header_index import RawHeaders

_names = st.sampled_from([b"Host", b"host", b"Accept", b"X-A", b"X-B", b""])
_heads = st.lists(st.tuples(_names, st.binary(max_size=4))).map(tuple)


@pytest.fixture(autouse=True)
def _no_layouts() -> Iterator[None]:
    INDEXES.clear()
    yield
    INDEXES.clear()


def _is_host(name: bytes) -> bool:
    return name.lower() == b"host"


@given(_heads)
def test_marked_and_passed_lines_are_all_lines_in_order(raw: RawHeaders) -> None:
    header_index = index_of(raw)
    marked = header_index[select(_is_host)]
    assert [raw[index] for _, index in marked] == [header for header in raw if _is_host(header[0])]
    assert header_index[reject(_is_host)](raw) == tuple(header for header in raw if not _is_host(header[0]))


def test_the_verdict_comes_with_the_line() -> None:
    raw = ((b"a", b"1"), (b"bbb", b"2"), (b"", b"3"), (b"cc", b"4"))
    assert index_of(raw)[select(len)] == ((1, 0), (3, 1), (2, 3))


def test_a_rule_is_asked_once_for_each_combination_of_names() -> None:
    asked: list[bytes] = []

    def rule(name: bytes) -> bool:
        asked.append(name)
        return True

    reader = select(rule)
    for value in (b"1", b"2"):
        assert index_of(((b"A", value), (b"B", value)))[reader] == ((True, 0), (True, 1))
    assert asked == [b"A", b"B"]
    # Other spelling, other order, another number of lines: other names.
    for raw in (((b"a", b""), (b"B", b"")), ((b"B", b""), (b"A", b"")), ((b"A", b""),)):
        before = len(asked)
        index_of(raw)[reader]
        assert asked[before:] == [name for name, _ in raw]


def test_the_same_names_have_the_same_layout_whatever_their_values() -> None:
    assert index_of(((b"A", b"1"),)) is index_of(((b"A", b"2"),))
    assert index_of(((b"A", b"1"),)) is not index_of(((b"B", b"1"),))


def test_a_rule_that_refuses_a_name_refuses_it_every_time() -> None:
    def rule(name: bytes) -> bool:
        raise ValueError(name)

    header_index, reader = index_of(((b"A", b""),)), select(rule)
    for _ in range(2):
        with pytest.raises(ValueError, match="A"):
            header_index[reader]


def test_all_values_are_joined_in_order() -> None:
    assert joined_values(((b"A", b"1"), (b"B", b""), (b"C", b"23"))) == b"123"


def test_the_memory_is_bounded_whatever_names_are_sent() -> None:
    for number in range(2000):
        index_of(((b"X-%d" % number, b""),))
        assert len(INDEXES) <= 256


def test_long_names_are_not_remembered() -> None:
    raw = ((b"y" * 8000, b""),)
    assert isinstance(index_of(raw), HeaderIndex)
    assert not INDEXES


@pytest.mark.parametrize(("length", "kept"), [(2048, True), (2049, False)])
def test_names_of_2_kib_together_are_remembered(length: int, kept: bool) -> None:
    index_of(((b"y" * 1000, b""), (b"z" * (length - 1000), b"")))
    assert bool(INDEXES) is kept
