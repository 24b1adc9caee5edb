"""What the commands print, on a terminal that obeys control characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.cli.output import print_error, print_line

if TYPE_CHECKING:
    import pytest


def test_lines_are_kept_and_control_characters_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("one\n  two\x1b[2J\r\n")
    print_line("three")
    assert capsys.readouterr().out == "one\n  two?[2J?\nthree\n"


def test_an_error_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("unix:/run/\x1b]0;x\x07\nside\udcffcar.sock cannot be used")
    assert capsys.readouterr().err == "unix:/run/?]0;x? side?car.sock cannot be used\n"
