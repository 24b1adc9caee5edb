"""The writer of log lines: gathers, never waits, never raises."""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING

import pytest

from sidecar.telemetry.line_format import json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log import LogOutput
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._open = {self.reader, self.writer}

    def read(self) -> bytes:
        """All that is there now."""
        pieces = []
        while select.select((self.reader,), (), (), 0)[0] and (piece := os.read(self.reader, 65536)):
            pieces.append(piece)
        return b"".join(pieces)

    def fill(self) -> int:
        """Write until no more fits; return how much that was."""
        os.set_blocking(self.writer, False)
        total = 0
        try:
            while True:
                total += os.write(self.writer, b"#" * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)
            return total

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self._open):
            os.close(end)
            self._open.discard(end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def attached(fd: int) -> LineWriter:
    writer = LineWriter(fd)
    writer.attach(asyncio.get_running_loop())
    return writer


def test_without_a_loop_each_line_is_written_at_once(pipe: Pipe) -> None:
    LineWriter(pipe.writer).write(b"one\n")
    assert pipe.read() == b"one\n"


async def test_on_a_loop_lines_are_gathered_and_written_together_soon(pipe: Pipe) -> None:
    writer = attached(pipe.writer)
    writer.write(b"one\n")
    writer.write(b"two\n")
    assert pipe.read() == b""
    arrived = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.reader, arrived.set)
    await arrived.wait()
    asyncio.get_running_loop().remove_reader(pipe.reader)
    assert pipe.read() == b"one\ntwo\n"


async def test_an_urgent_line_takes_the_others_with_it(pipe: Pipe) -> None:
    writer = attached(pipe.writer)
    writer.write(b"one\n")
    writer.write(b"two\n", urgent=True)
    assert pipe.read() == b"one\ntwo\n"


async def test_a_full_batch_does_not_wait(pipe: Pipe) -> None:
    writer = attached(pipe.writer)
    line = b"x" * 1023 + b"\n"
    for _ in range(31):
        writer.write(line)
    assert pipe.read() == b""
    writer.write(line)
    assert pipe.read() == line * 32
    writer.close()


async def test_close_writes_what_is_left(pipe: Pipe) -> None:
    writer = attached(pipe.writer)
    writer.write(b"one\n")
    writer.close()
    assert pipe.read() == b"one\n"
    writer.write(b"two\n")
    assert pipe.read() == b"two\n"


async def test_a_reader_that_does_not_read_is_not_waited_for(pipe: Pipe) -> None:
    """The pipe stays blocking: a write of too much would hang this test."""
    filling = pipe.fill()
    writer = attached(pipe.writer)
    for _ in range(100):
        writer.write(b"x" * 1023 + b"\n", urgent=True)
    assert pipe.read() == b"#" * filling
    writer.flush()
    writer.close()
    assert pipe.read().count(b"\n") >= 60


async def test_lines_beyond_the_backlog_are_dropped_whole_and_counted(pipe: Pipe) -> None:
    pipe.fill()
    writer = attached(pipe.writer)
    line = b"x" * 1023 + b"\n"
    for _ in range(1100):
        writer.write(line)
    assert writer.dropped == 1100 - 1024
    assert not writer.has_room
    pipe.close()


async def test_what_was_dropped_is_told_once_there_is_room_again(pipe: Pipe) -> None:
    pipe.fill()
    writer = attached(pipe.writer)
    output = LogOutput(writer, json_line, FakeClock(), "info")
    for _ in range(1100):
        writer.write(b"x" * 1023 + b"\n")
    lost = writer.dropped
    while not writer.has_room:
        pipe.read()
        writer.flush()
    output.event("info", {"event": "some.event"})
    text = b""
    while b"some.event" not in text:
        text += pipe.read()
        writer.flush()
    assert b'"event":"log.dropped","lines":%d' % lost in text
    assert writer.dropped == 0
    writer.close()


def test_a_reader_that_left_is_no_error(pipe: Pipe) -> None:
    pipe.close(pipe.reader)
    writer = LineWriter(pipe.writer)
    writer.write(b"one\n")
    writer.write(b"two\n", urgent=True)
    writer.close()


def test_a_closed_descriptor_is_no_error() -> None:
    reader, fd = os.pipe()
    os.close(reader)
    os.close(fd)
    writer = LineWriter(fd)
    writer.write(b"one\n")
    writer.close()


def test_no_descriptor_is_no_error() -> None:
    writer = LineWriter(None)
    writer.write(b"one\n", urgent=True)
    writer.close()
    assert writer.dropped == 0


def test_a_descriptor_that_somebody_made_non_blocking_is_no_error(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    writer = LineWriter(pipe.writer)
    writer.write(b"one\n")
    assert pipe.read() == b"one\n"


def test_a_full_disk_loses_lines_counts_them_and_is_tried_again() -> None:
    """/dev/full fails each write with ENOSPC."""
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        writer = LineWriter(fd)
        writer.write(b"one\n")
        writer.write(b"two\n")
        writer.close()
        assert writer.dropped == 2
    finally:
        os.close(fd)


async def test_a_regular_file_gets_everything_in_one_write(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    try:
        writer = attached(fd)
        for _ in range(100):
            writer.write(b"x" * 99 + b"\n")
        writer.close()
        assert os.fstat(fd).st_size == 10_000
    finally:
        os.close(fd)


def test_after_the_loop_is_gone_lines_are_kept_for_close(pipe: Pipe) -> None:
    loop = asyncio.new_event_loop()
    writer = LineWriter(pipe.writer)
    writer.attach(loop)
    loop.close()
    writer.write(b"one\n")
    writer.close()
    assert pipe.read() == b"one\n"
