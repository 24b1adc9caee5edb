"""Showing something again and again, and how that ends."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.cli import watch as module
from sidecar.cli.command import CommandError
from sidecar.cli.watch import PAUSE, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _sigterm_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class Pictures:
    """What there is to see, one after the other; after the last one somebody ends it."""

    def __init__(self, *pictures: str | CommandError, end: Callable[[], None]) -> None:
        self._pictures = list(pictures)
        self._end = end
        self.pauses: list[float] = []

    def look(self) -> str:
        picture = self._pictures.pop(0)
        if isinstance(picture, CommandError):
            raise picture
        return picture

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if not self._pictures:
            self._end()


def interrupt() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, [])  # a handler has run by then, if there is one


@pytest.mark.parametrize("end", [interrupt, terminate])
def test_it_is_block_after_block_where_nobody_looks_and_ends_with_0(
    end: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = Pictures("one\n", "two\nlines\n", end=end)
    assert watch(pictures.look, pause=pictures.pause) == 0
    assert capsys.readouterr().out == "one\n\ntwo\nlines\n"
    assert pictures.pauses == [PAUSE, PAUSE]


def test_on_a_terminal_it_is_drawn_in_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_terminal", lambda stream: stream is sys.stdout)
    monkeypatch.setenv("LINES", "3")
    monkeypatch.setenv("COLUMNS", "80")
    pictures = Pictures("long\nlines\n", "short\n", end=interrupt)
    watch(pictures.look, pause=pictures.pause)
    assert capsys.readouterr().out == "\n\n\n\x1b[Hlong\x1b[K\nlines\x1b[K\n\x1b[J\x1b[Hshort\x1b[K\n\x1b[J"


def test_what_cannot_be_had_for_a_while_is_told_and_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = Pictures("one\n", CommandError("no sidecar\x1b[2J answers"), "two\n", end=interrupt)
    assert watch(pictures.look, pause=pictures.pause) == 0
    assert capsys.readouterr().out == (
        "one\n\nno sidecar?[2J answers\n(asking again every 2 s; Ctrl-C ends this)\n\ntwo\n"
    )


def test_it_ends_when_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        pictures = Pictures("one\n", "two\n", end=interrupt)
        assert watch(pictures.look, pause=pictures.pause) == 0
    assert pictures.pauses == []
