"""Kinds of values: how numbers, booleans, texts, secrets and lists may be written."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.errors import InvalidValue
from sidecar.config.values import (
    BOOLEAN,
    CLIENT_ID,
    MODE,
    PATH,
    PORT,
    Kind,
    choice,
    duration,
    integer,
    items,
    secret,
    size,
    type_name,
)

POSITIVE = duration(0.001)
ANY_SIZE = size()
LEVEL = choice("debug", "info")
NAMES = items(CLIENT_ID, minimum=1)


def from_text(kind: Kind[Any], text: str) -> Any:
    """Read ``text`` as a variable's."""
    return kind.parse(kind.from_text(text))


# --- other numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "port"), [(0, 0), (8080, 8080), (65535, 65535), ("off", None)])
def test_a_port_is_a_number_or_off(value: object, port: int | None) -> None:
    assert PORT.parse(value) == port


@pytest.mark.parametrize("value", [-1, 65536, "8080", "OFF", "", True, False, 80.0, None])
def test_what_is_no_port_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue):
        PORT.parse(value)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("8080", 8080), ("off", None)])
def test_a_port_may_come_as_text(text: str, port: int | None) -> None:
    assert from_text(PORT, text) == port


@pytest.mark.parametrize("text", [" 8080", "8080\n", "+8080", "8_080", "0x50", "8080.0", "²", "none", "9" * 5000])
def test_text_that_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        from_text(PORT, text)


def test_an_integer_has_bounds() -> None:
    kind = integer(1, 10)
    assert [kind.parse(1), kind.parse(10), from_text(kind, "7")] == [1, 10, 7]
    for value in (0, 11, True, 1.0, "1"):
        with pytest.raises(InvalidValue):
            kind.parse(value)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_text_of_a_boolean(text: str, value: bool) -> None:
    assert from_text(BOOLEAN, text) is value


@pytest.mark.parametrize("text", ["True", "TRUE", "yes", "on", " true", "2", "t"])
def test_other_spellings_of_a_boolean_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a boolean"):
        from_text(BOOLEAN, text)


@pytest.mark.parametrize(
    ("value", "complaint"), [("true", "is a string"), (1, "is an integer"), (0.0, "is a float"), ([], "is an array")]
)
def test_toml_has_booleans_of_its_own(value: object, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        BOOLEAN.parse(value)


@pytest.mark.parametrize(("text", "mode"), [("0600", 0o600), ("600", 0o600), ("0777", 0o777), ("000", 0)])
def test_a_mode_is_octal_digits(text: str, mode: int) -> None:
    assert MODE.parse(text) == mode


@pytest.mark.parametrize("value", [600, 0o600, "0o600", "0800", "1600", "60", "00600", "-600", "٦٠٠", ""])
def test_a_mode_that_could_be_misread_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue):
        MODE.parse(value)


# --- strings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (5, "is an integer"),
        ({}, "is a table"),
        (dt.date(2026, 1, 1), "is a date or time"),
        ("", "is empty"),
        (" key", "whitespace around"),
        ("key ", "whitespace around"),
        ("key\n", "whitespace around"),
        ("key\u00a0", "whitespace around"),
        ("\tkey", "whitespace around"),
        ("ke\ty", "control character"),
        ("ke\ny", "control character"),
        ("ke\x00y", "control character"),
        ("ke\x7fy", "control character"),
        ("ke\u0085y", "control character"),
        ("\ufeffkey", "invisible"),
        ("ke\u200by", "invisible"),
        ("ke\u202ey", "invisible"),
        ("ke\udcffy", "invisible"),
        ("ke\u00a0y", "invisible"),
        ("ke y", "space in it"),
        ("kéy", "not ASCII"),
        ("k", "too short"),
    ],
)
def test_a_secret_that_is_almost_right_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        secret("a key", minimum=2).parse(value)


def test_a_secret_is_wrapped() -> None:
    value = secret("a key").parse("hunter2")
    assert (value.reveal(), repr(value)) == ("hunter2", "***")


def test_a_password_may_have_spaces_and_any_letters() -> None:
    assert secret("a password", spaces=True, ascii_only=False).parse("pässword with spaces").reveal()


@pytest.mark.parametrize("text", ["acme", "sdk-unit-tests", "a.b_c~d", "0", "A" * 100])
def test_client_ids(text: str) -> None:
    assert CLIENT_ID.parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "a:b", "a/b", "a b", " a", "a\n", "a%2f", "é", "a?b", "a#b", "a\\b", "a@b", ".", "..", "A" * 101]
)
def test_a_client_id_that_would_change_a_url_or_credentials_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        CLIENT_ID.parse(text)


def test_a_choice_names_the_nearest() -> None:
    assert LEVEL.parse("info") == "info"
    with pytest.raises(InvalidValue, match=r"the nearest is info\)"):
        LEVEL.parse("INFO")


def test_a_path_is_not_expanded_by_us() -> None:
    assert PATH.parse("a/b") == Path("a/b")
    with pytest.raises(InvalidValue, match="only a shell"):
        PATH.parse("~/key")


# --- arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "entries"), [("a", ("a",)), ("a,b", ("a", "b")), ("a , b", ("a", "b"))])
def test_an_array_is_comma_separated_in_text(text: str, entries: tuple[str, ...]) -> None:
    assert from_text(NAMES, text) == entries


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,,b", r"entry \(number 2\) that is empty"),
        ("a,", r"entry \(number 2\) that is empty"),
        ("a,b:c", r"entry \(number 2\) that has a character"),
    ],
)
def test_a_bad_entry_is_told_by_its_number(text: str, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        from_text(NAMES, text)


def test_numbers_in_an_array_may_come_as_text() -> None:
    kind = items(integer(0, 9))
    assert from_text(kind, "1, 2") == (1, 2)
    with pytest.raises(InvalidValue, match=r"entry \(number 2\) that is not a whole number"):
        from_text(kind, "1,x")


@pytest.mark.parametrize(("value", "complaint"), [("a", "is a string"), ({}, "is a table"), ([], "is an empty array")])
def test_what_is_no_array_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        NAMES.parse(value)


def test_an_array_may_be_one_bare_string_where_that_is_said() -> None:
    assert items(CLIENT_ID, or_one=True).parse("a") == ("a",)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("x", "a string"),
        (True, "a boolean"),
        (1, "an integer"),
        (1.0, "a float"),
        ([], "an array"),
        ({}, "a table"),
        (dt.time(1), "a date or time"),
    ],
)
def test_types_are_named_as_toml_does(value: object, name: str) -> None:
    assert type_name(value) == name


KINDS = [
    BOOLEAN, CLIENT_ID, MODE, PATH, PORT, LEVEL, NAMES, POSITIVE, ANY_SIZE,
    integer(0, 5), items(integer(0, 5)), secret("s"),
]  # fmt: skip
TOML = st.recursive(
    st.text() | st.integers() | st.floats() | st.booleans() | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(KINDS), TOML)
def test_no_toml_value_makes_a_kind_raise_anything_but_unfit(kind: Kind[Any], value: object) -> None:
    with contextlib.suppress(InvalidValue):
        kind.parse(value)


@given(st.sampled_from(KINDS), st.text(min_size=1))
def test_no_text_makes_a_kind_raise_anything_but_unfit(kind: Kind[Any], text: str) -> None:
    with contextlib.suppress(InvalidValue):
        from_text(kind, text)
