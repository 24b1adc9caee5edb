"""What a store's file holds, and how its clock goes on: by time that is made up here."""

from __future__ import annotations

import json

import pytest

from sidecar.core.tokens.file_content import (
    LONGEST_FILE,
    FileContent,
    FileEntry,
    MachineTime,
    document_of,
    entry_for,
    first_content,
    read_content,
    time_of,
    updated,
    write_content,
)

WRITTEN = MachineTime(now=50.0, boot="this boot", wall=9000.0)
CONTENT = FileContent(clock=7000.0, machine=50.0, boot="this boot", wall=9000.0, entries={})


@pytest.mark.parametrize(
    ("here", "passed"),
    [
        pytest.param(WRITTEN, 0.0, id="when it was written"),
        pytest.param(MachineTime(50.0, "this boot", 9007.0), 0.0, id="at the same moment, by another wall clock"),
        pytest.param(MachineTime(80.0, "this boot", 9030.0), 30.0, id="later"),
        pytest.param(MachineTime(80.0, "this boot", 1.0), 30.0, id="the wall clock was set back"),
        pytest.param(MachineTime(80.0, "this boot", 99_000.0), 30.0, id="the wall clock was set forward"),
        pytest.param(MachineTime(49.0, "this boot", 9007.0), 7.0, id="a machine's clock from another zero"),
        pytest.param(MachineTime(80.0, "the next boot", 9300.0), 300.0, id="restarted"),
        pytest.param(MachineTime(80.0, "the next boot", 8000.0), 0.0, id="restarted, and the wall clock is behind"),
        pytest.param(MachineTime(80.0, "", 9060.0), 60.0, id="no name for this boot"),
    ],
)
def test_the_clock_goes_on_and_never_back(here: MachineTime, passed: float) -> None:
    assert time_of(CONTENT, here) == 7000.0 + passed


def test_two_boots_without_a_name_are_not_the_same_one() -> None:
    nameless = FileContent(clock=7000.0, machine=50.0, boot="", wall=9000.0, entries={})
    assert time_of(nameless, MachineTime(80.0, "", 9060.0)) == 7060.0


def test_the_clock_of_a_new_file_begins_as_unix_time() -> None:
    nameless = first_content(MachineTime(50.0, "", 9000.0))
    assert time_of(nameless, MachineTime(80.0, "", 9060.0)) == 9060.0
    new = first_content(WRITTEN)
    assert time_of(new, WRITTEN) == 9000.0
    assert time_of(new, MachineTime(51.0, "this boot", 5.0)) == 9001.0
    assert document_of(new, "any", WRITTEN) is None


@pytest.mark.parametrize(
    ("after", "kept"),
    [(0.0, b"1"), (99.9, b"1"), (100.0, None), (100.1, None)],
    ids=["at once", "just", "to then", "past"],
)
def test_a_document_is_kept_until_then(after: float, kept: bytes | None) -> None:
    content = updated(CONTENT, WRITTEN, {"one": entry_for(b"1", 7100.0)})
    here = MachineTime(50.0 + after, "this boot", 0.0)
    assert document_of(content, "one", here) == kept
    assert document_of(content, "another", here) is None
    assert list(updated(content, here, {}).entries) == ([] if kept is None else ["one"])


def test_what_is_added_takes_the_place_of_what_has_its_name_and_leaves_the_rest() -> None:
    content = updated(CONTENT, WRITTEN, {"one": entry_for(b"1", 7100.0), "two": entry_for(b"2", 7100.0)})
    content = updated(content, WRITTEN, {"two": entry_for(b"3", 7200.0)})
    assert content.entries == {"one": entry_for(b"1", 7100.0), "two": entry_for(b"3", 7200.0)}


def test_the_clocks_are_noted_when_it_is_written() -> None:
    later = MachineTime(12.0, "the next boot", 9300.0)
    assert updated(CONTENT, later, {}) == FileContent(7300.0, 12.0, "the next boot", 9300.0, {})


def test_it_is_read_as_it_was_written() -> None:
    content = updated(CONTENT, WRITTEN, {"one": entry_for(b'{"a":[1]}', 7100.0)})
    written = write_content(content)
    assert json.loads(written) == {
        "clock": 7000.0,
        "machine": 50.0,
        "boot": "this boot",
        "wall": 9000.0,
        "entries": {"one": {"until": 7100.0, "document": {"a": [1]}}},
    }
    read = read_content(written)
    assert read is not None
    assert document_of(read, "one", WRITTEN) == b'{"a":[1]}'
    assert isinstance(read.entries["one"], FileEntry)


#: A boot's name, and a document.
HOLDING = b'{"clock":1.0,"machine":1.0,"boot":"%b","wall":1.0,"entries":{"one":{"until":2.0,"document":%b}}}'


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\xff", id="no text"),
        pytest.param(b'{"clock": 1.0}', id="a part is missing"),
        pytest.param(write_content(CONTENT)[:-1] + b',"more":1}', id="a part too many"),
        pytest.param(b"[" * 100_000, id="nested"),
        pytest.param(HOLDING % (b"this boot", b"[" * 100_000), id="a nested document"),
        pytest.param(HOLDING % (b"\xff", b"1"), id="no UTF-8"),
        pytest.param(write_content(CONTENT) + b" " * LONGEST_FILE, id="longer than any that is written"),
    ],
)
def test_anything_else_is_no_content(content: bytes) -> None:
    assert read_content(content) is None


def test_the_longest_file_is_read() -> None:
    assert read_content(HOLDING % (b"this boot", b"1")) is not None
    written = write_content(CONTENT)
    assert read_content(written.ljust(LONGEST_FILE)) == CONTENT
    assert read_content(written.ljust(LONGEST_FILE + 1)) is None
