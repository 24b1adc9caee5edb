"""Rows for a terminal, with and without colours."""

from __future__ import annotations

import pytest

from sidecar.core.rows import Row, Style, color_wanted, written


def test_labels_have_a_column_of_their_own() -> None:
    assert written(Row("token", "valid"), 10, color=False) == "token      valid"
    assert written(Row("", "more of it"), 10, color=False) == "           more of it"
    assert written(Row("a longer label", "text"), 4, color=False) == "a longer label text"
    assert written(Row("nothing", ""), 10, color=False) == "nothing"


@pytest.mark.parametrize("style", Style)
def test_the_label_alone_is_coloured_and_only_where_that_is_wanted(style: Style) -> None:
    row = Row("failed", "tls", style)
    assert written(row, 8, color=True) == f"{style}failed\x1b[0m   tls"
    assert written(row, 8, color=False) == "failed   tls"


def test_a_row_without_label_or_style_has_no_colour() -> None:
    assert written(Row("", "text", Style.BAD), 2, color=True) == "   text"
    assert written(Row("a", "text"), 2, color=True) == "a  text"


def test_what_comes_from_elsewhere_steers_no_terminal() -> None:
    assert written(Row("a\x1b[2J", "b\x1b[31m\nc"), 4, color=True) == "a?[2J b?[31m?c"


@pytest.mark.parametrize(
    ("environ", "on_a_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"TERM": "xterm-256color"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": "False"}, True, False),
        ({"FORCE_COLOR": ""}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, True, False),
    ],
)
def test_colour_is_for_terminals_unless_a_variable_says_otherwise(
    environ: dict[str, str], on_a_terminal: bool, elsewhere: bool
) -> None:
    assert color_wanted(environ, terminal=True) is on_a_terminal
    assert color_wanted(environ, terminal=False) is elsewhere
