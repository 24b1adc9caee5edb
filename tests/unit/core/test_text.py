"""Text from elsewhere, as it is printed; numbers, durations and sentences in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.text import capital, count, duration, milliseconds, printable, printable_name, sentence, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Zürich – 東京 ok", "Zürich – 東京 ok"),
        ("\x1b]0;owned\x07", "?]0;owned?"),
        pytest.param("\x9b31m", "?31m", id="the 8-bit escape"),
        ("one\r\ntwo\tthree", "one??two?three"),
        pytest.param("a\u202eb\u2066c", "a?b?c", id="directions turned"),
        pytest.param("\ud800\udcff", "??", id="surrogates, as names of files have them"),
    ],
)
def test_what_is_not_printable_becomes_a_question_mark(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_more_than_the_limit_is_kept() -> None:
    assert printable("abcdef", 3) == "abc"
    assert printable("\n\n\n", 2) == "??"
    assert printable("abc", 3) == "abc"
    assert printable("x" * 10_000) == "x" * 10_000


@given(st.text(), st.none() | st.integers(0, 50))
def test_whatever_comes_is_printable_and_keeps_its_place(text: str, limit: int | None) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) == min(len(text), len(text) if limit is None else limit)
    assert all(after in (before, "?") for before, after in zip(text, shown, strict=False))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/etc/ca.pem", "/etc/ca.pem"),
        (Path("clés/ca.pem"), "clés/ca.pem"),
        ("a\nb\x1b[2J", r"'a\nb\x1b[2J'"),
        ("a\udcff", r"'a\udcff'"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "…"),
        ("\n" * 201, "'" + r"\n" * 200 + r"\u2026'"),
    ],
)
def test_a_name_that_is_not_printable_is_escaped(name: str | Path, shown: str) -> None:
    assert printable_name(name) == shown


def test_a_name_is_cut_after_as_much_as_is_asked_for() -> None:
    assert printable_name("abcdef", 3) == "abc…"
    assert printable_name("abc", 3) == "abc"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (86_400 * 3 + 5, "3 d 5 s")],
)
def test_durations_have_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, ("call",), "1 call"),
        (0, ("call",), "0 calls"),
        (1, ("try", "tries"), "1 try"),
        (2, ("try", "tries"), "2 tries"),
    ],
)
def test_a_noun_agrees_with_its_number(number: int, noun: tuple[str, ...], said: str) -> None:
    assert count(number, *noun) == said


def test_words_become_sentences() -> None:
    assert capital("the host") == "The host"
    assert sentence("the name is X") == "The name is X."
    assert sentence("the host is gone") == sentence("The host is gone.") == "The host is gone."


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"),
        (5, "5 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (2_202_010, "2.1 MiB"),
        (10_485_760, "10 MiB"),
        (11_219_763, "11 MiB"),
        (67_108_864, "64 MiB"),
        (3 * 1024**3, "3 GiB"),
        (5000 * 1024**3, "5000 GiB"),
    ],
)
def test_bytes_in_a_unit_that_people_read(number: int, words: str) -> None:
    assert size(number) == words


def test_large_counts_have_their_thousands_apart() -> None:
    assert count(1204, "call") == "1,204 calls"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0.4219, "0.42 ms"),
        (12.36, "12.4 ms"),
        (152.4, "152 ms"),
        (999.4, "999 ms"),
        (1000, "1.00 s"),
        (1211, "1.21 s"),
        (60_000, "60.0 s"),
    ],
)
def test_milliseconds_with_the_digits_that_matter(number: float, words: str) -> None:
    assert milliseconds(number) == words
