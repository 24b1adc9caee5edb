"""The line that shows how far ``reconcile`` is: on a terminal alone."""

from __future__ import annotations

import io
import sys

import pytest

from sidecar.cli.reconcile import _Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> _Progress:
    monkeypatch.setattr(sys, "stderr", stream)
    return _Progress()


def test_it_is_one_line_that_is_written_over_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    progress = shown(monkeypatch, terminal)
    progress.show(0, 12)
    progress.show_wait("waits 2 s until it can be asked again")
    progress.show(1, 12)
    progress.clear()
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "asked for 0 of 12 keys",
        "asked for 0 of 12 keys; waits 2 s until it can be asked again",
        "asked for 1 of 12 keys",
        "",
    ]


def test_what_is_waited_for_before_the_first_key_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    progress = shown(monkeypatch, terminal)
    progress.show(0, 0)
    progress.show_wait("waits\x1b[2J")
    assert terminal.getvalue() == "\r\x1b[Kwaits?[2J"


@pytest.mark.parametrize("stream", [None, io.StringIO(), Broken()])
def test_nobody_else_sees_it(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    progress = shown(monkeypatch, stream)
    progress.show(1, 2)
    progress.clear()
    assert stream is None or stream.getvalue() == ""
