"""A step of ``check`` in words."""

from __future__ import annotations

import pytest

from sidecar.check.report import Step, step_in_words

FAILED = Step("config", "failed", "one\ntwo\x1b[2J", "config_unusable", "a cause", "something to do", 0.0042)


def test_a_step_is_a_line_and_what_is_wrong_has_its_cause_and_what_to_do_below() -> None:
    assert step_in_words(FAILED) == (
        "failed   config       one (4 ms)\n"
        "                      two?[2J\n"
        "                      cause: a cause [config_unusable]\n"
        "                      fix:   something to do\n"
    )


def test_a_step_that_was_not_taken_took_no_time() -> None:
    step = Step("dns", "skipped", "no configuration", None, None, None, 0.0)
    assert step_in_words(step) == "skipped  dns          no configuration\n"


@pytest.mark.parametrize(
    ("status", "color"), [("ok", "\x1b[32m"), ("warning", "\x1b[33m"), ("failed", "\x1b[1;31m"), ("skipped", "\x1b[2m")]
)
def test_where_there_are_colours_the_status_has_one(status: str, color: str) -> None:
    painted = step_in_words(Step("tls", status, "", None, None, None, 0.0), color=True)
    assert painted.startswith(f"{color}{status}\x1b[0m ")
