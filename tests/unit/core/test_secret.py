"""A value that must not be seen."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from sidecar.core.secret import Secret

SECRET = Secret("canary")


def test_it_shows_itself_only_on_purpose() -> None:
    assert SECRET.reveal() == "canary"


@pytest.mark.parametrize(
    "shown",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>20}",
        f"{SECRET:>20}",
        "{0} {0!r}".format(SECRET),  # noqa: UP032 - another way to be formatted
        repr([SECRET]),
    ],
)
def test_no_formatting_shows_it(shown: str) -> None:
    assert "***" in shown
    assert "canary" not in shown


def test_every_formatting_gives_the_same_three_asterisks() -> None:
    secret = Secret("canary")
    assert [str(secret), repr(secret), f"{secret}", f"{secret:>20}"] == ["***"] * 4


def test_it_cannot_be_pickled_or_copied() -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a Secret cannot be pickled or copied") as caught:
            attempt(SECRET)
        assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_it_cannot_become_json_by_accident() -> None:
    with pytest.raises(TypeError):
        json.dumps({"key": SECRET})


def test_it_has_no_dictionary_to_dump() -> None:
    with pytest.raises(TypeError):
        vars(SECRET)


def test_equal_values_are_equal_secrets() -> None:
    assert Secret("é") == Secret("é")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert hash(Secret("a")) != hash(Secret("b"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != Secret("")


def test_it_is_not_equal_to_its_own_text() -> None:
    assert SECRET != "canary"
    assert SECRET not in {"canary": 1}
