"""The writer of log lines: gathers, never waits, never raises."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import pty
import select
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sidecar.telemetry import carriers
from sidecar.telemetry.line_format import json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log_output import LogOutput
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


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    try:
        yield fd
    finally:
        os.close(fd)


def attached(fd: int, confirmation: float | None = None) -> LineWriter:
    writer = LineWriter(fd, confirmation=confirmation)
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


async def test_beyond_the_backlog_the_oldest_lines_are_dropped_whole_and_counted(pipe: Pipe) -> None:
    filling = pipe.fill()
    writer = attached(pipe.writer)
    for number in range(1100):
        writer.write(b"%04d" % number + b"x" * 1019 + b"\n")
    # What had been taken out to be written is neither dropped nor counted.
    dropped = writer.backlog.dropped
    assert 1100 - 1024 - 4 <= dropped <= 1100 - 1024
    assert not writer.backlog.has_room
    text = b""
    while text.count(b"\n") < 1100 - dropped:
        text += pipe.read()
        writer.flush()
    lines = text[filling:].splitlines()
    assert {len(line) for line in lines} == {1023}
    assert [int(line[:4]) for line in lines[-1024:]] == list(range(76, 1100))
    writer.close()


async def test_what_was_dropped_is_told_once_there_is_room_again(pipe: Pipe) -> None:
    pipe.fill()
    writer = attached(pipe.writer)
    output = LogOutput(writer, json_line, FakeClock(), "info")
    for _ in range(1100):
        writer.write(b"x" * 1023 + b"\n")
    lost = writer.backlog.dropped
    while not writer.backlog.has_room:
        pipe.read()
        writer.flush()
    output.event("info", {"event": "some.event"})
    text = b""
    while b"some.event" not in text:
        text += pipe.read()
        writer.flush()
    assert b'"event":"log.dropped","lines":%d' % lost in text
    assert writer.backlog.dropped == 0
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
    assert writer.backlog.dropped == 0


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
        assert writer.backlog.dropped == 2
    finally:
        os.close(fd)


class Disk:
    """Has room for so many bytes, as a file system that is nearly full has; a write that fits in part is cut off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fd: int, room: int) -> None:
        self.room = room
        self._fd = fd
        self._write = os.write
        monkeypatch.setattr(os, "write", self._limited)

    def _limited(self, fd: int, data: bytes | memoryview) -> int:
        if fd != self._fd:
            return self._write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(fd, bytes(data[: self.room]))
        self.room -= written
        return written


def test_a_line_that_a_full_disk_cut_off_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with opened(path) as fd:
        output = LogOutput(LineWriter(fd), json_line, FakeClock(), "info")
        disk = Disk(monkeypatch, fd, room=200)
        for number in range(9):
            output.event("info", {"event": "some.event", "number": number})
        disk.room = 10_000
        for number in range(9, 11):
            output.event("info", {"event": "some.event", "number": number})
        output.close()
    torn, lines = [], []
    for line in path.read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            torn.append(line)
    assert len(torn) == 1
    *before, nine, ten = [entry["number"] for entry in lines if "number" in entry]
    assert (before, nine, ten) == ([*range(len(before))], 9, 10)
    # The rest of nine, and a notice before each of them but the first.
    (lost,) = [entry["lines"] for entry in lines if entry["event"] == "log.dropped"]
    assert lost == (9 - len(before)) + (8 - len(before))


def test_what_a_lost_notice_told_of_is_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with opened(path) as fd:
        output = LogOutput(LineWriter(fd), json_line, FakeClock(), "info")
        disk = Disk(monkeypatch, fd, room=0)
        for _ in range(50):
            output.event("info", {"event": "some.event"})
        disk.room = 10_000
        output.event("info", {"event": "some.event"})
        output.close()
    notice, line = map(json.loads, path.read_bytes().splitlines())
    # Each of the 49 notices that were lost as well is one.
    assert (notice["event"], notice["lines"], line["event"]) == ("log.dropped", 50 + 49, "some.event")


async def test_what_a_notice_told_of_that_was_dropped_as_the_oldest_is_told_again(pipe: Pipe) -> None:
    pipe.fill()
    writer = attached(pipe.writer)
    output = LogOutput(writer, json_line, FakeClock(), "info")
    for _ in range(40):  # some of them are taken, to be written as soon as the pipe is read
        writer.write(b"x" * 1023 + b"\n")
    writer.backlog.count_dropped(7)
    output.event("info", {"event": "some.event"})
    assert writer.backlog.dropped == 0
    for _ in range(1100):
        writer.write(b"x" * 1023 + b"\n")
    assert writer.backlog.dropped >= 7 + 1142 - 1024 - 5
    text = b""
    while not writer.backlog.has_room:
        text += pipe.read()
        writer.flush()
    lost = writer.backlog.dropped
    output.event("info", {"event": "another.event"})
    while b"another.event" not in text:
        text += pipe.read()
        writer.flush()
    assert b'"event":"log.dropped","lines":%d' % lost in text
    writer.close()


async def test_a_regular_file_gets_everything(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as fd:
        writer = attached(fd)
        for number in range(10_000):
            writer.write(b"%06d\n" % number)
        writer.close()
        assert (tmp_path / "log").read_bytes() == b"".join(b"%06d\n" % number for number in range(10_000))
        assert writer.backlog.dropped == 0


def test_a_regular_file_gets_each_line_at_once_before_there_is_a_loop_and_after_it(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as fd:
        writer = LineWriter(fd)
        for written in (b"one\n", b"one\ntwo\n"):
            writer.write(written[-4:])
            assert (tmp_path / "log").read_bytes() == written
        writer.close()
        for written in (b"one\ntwo\nsix\n", b"one\ntwo\nsix\nten\n"):
            writer.write(written[-4:])
            assert (tmp_path / "log").read_bytes() == written


@pytest.mark.any_loop
async def test_a_file_system_that_hangs_is_waited_for_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, entered, write = threading.Event(), threading.Event(), os.write

    def hanging(fd: int, data: bytes) -> int:
        entered.set()
        gate.wait()
        return write(fd, data)

    with opened(tmp_path / "log") as fd:
        writer = attached(fd)
        monkeypatch.setattr(os, "write", hanging)
        writer.write(b"first\n", urgent=True)
        await asyncio.get_running_loop().run_in_executor(None, entered.wait)
        for number in range(3000):
            writer.write(b"%04d" % number + b"x" * 1019 + b"\n", urgent=True)
        assert writer.backlog.dropped == 3000 - 1024
        gate.set()
        writer.close()
        lines = (tmp_path / "log").read_bytes().splitlines()
        assert lines[0] == b"first"
        assert [int(line[:4]) for line in lines[1:]] == list(range(3000 - 1024, 3000))


def test_a_file_system_that_hangs_holds_up_the_end_but_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, write, waits = threading.Event(), os.write, []

    def hanging(fd: int, data: bytes) -> int:
        gate.wait()
        return write(fd, data)

    def wait_for(self: threading.Condition, predicate: object, timeout: float | None = None) -> bool:
        waits.append(timeout)
        return False

    with opened(tmp_path / "log") as fd:
        monkeypatch.setattr(os, "write", hanging)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Condition, "wait_for", wait_for)
            writer = LineWriter(fd)
            for _ in range(5):
                writer.write(b"line\n")
            writer.close()
        assert waits == [1.0]
        gate.set()
        while (tmp_path / "log").read_bytes().count(b"\n") < 5:
            time.sleep(0.001)


async def test_a_terminal_that_nobody_reads_is_waited_for_by_nobody() -> None:
    """A terminal takes some thousand bytes; each further write waits until somebody reads."""
    reader, fd = pty.openpty()
    try:
        writer = attached(fd)
        for _ in range(3000):
            writer.write(b"x" * 1022 + b"\n", urgent=True)
        assert writer.backlog.dropped > 1000
        # Now somebody reads: the writer's thread goes on by itself. All is read, so that the thread has nothing
        # left to write once the descriptor's number may be somebody else's.
        await asyncio.to_thread(_read_lines, reader, 3000 - writer.backlog.dropped)
        writer.close()
    finally:
        os.close(fd)
        os.close(reader)


def _read_lines(fd: int, wanted: int) -> None:
    lines = 0
    while lines < wanted:
        lines += os.read(fd, 65536).count(b"\n")


async def test_a_socket_that_nobody_reads_is_not_waited_for() -> None:
    """systemd gives services a stream socket to its journal."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = attached(ours.fileno())
        for number in range(3000):
            writer.write(b"%04d" % number + b"x" * 1019 + b"\n", urgent=True)
        assert 0 < writer.backlog.dropped < 3000
        lines, data = 3000 - writer.backlog.dropped, b""
        while data.count(b"\n") < lines:
            data += theirs.recv(65536)
            writer.flush()
        numbers = [int(line[:4]) for line in data.splitlines()]
        assert numbers == sorted(numbers)
        assert numbers[-1] == 2999
        writer.close()
        theirs.close()
        writer.write(b"nobody is there\n")  # no error
        del writer
        gc.collect()
        assert os.fstat(ours.fileno())  # the descriptor is left to its owner


async def test_a_pipe_that_another_program_fills_meanwhile_is_not_waited_for(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between poll() and write() the pipe gets full."""
    filling = pipe.fill()
    monkeypatch.setattr(carriers, "_writable", lambda fd, timeout: True)
    writer = attached(pipe.writer)
    writer.write(b"one\n", urgent=True)
    assert pipe.read() == b"#" * filling
    writer.flush()
    assert pipe.read() == b"one\n"


async def test_where_the_kernel_knows_no_write_that_does_not_wait_poll_decides(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwritev(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "pwritev", pwritev)
    writer = attached(pipe.writer)
    writer.write(b"one\n", urgent=True)
    assert pipe.read() == b"one\n"
    filling = pipe.fill()
    writer.write(b"two\n", urgent=True)
    assert pipe.read() == b"#" * filling
    writer.flush()
    assert pipe.read() == b"two\n"


async def test_a_pipe_gets_whole_lines_so_that_those_of_two_programs_do_not_mix(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []

    def send(_: object, fd: int, data: memoryview) -> int:
        pieces.append(bytes(data))
        return len(data)

    monkeypatch.setattr(carriers.DirectCarrier, "_send", send)
    writer = attached(pipe.writer)
    for length in (1500, 1500, 1500, 200, 4096, 1):
        writer.write(b"x" * (length - 1) + b"\n")
    writer.flush()
    assert [len(piece) for piece in pieces] == [3000, 1700, 4096, 1]


def test_without_a_thread_to_be_had_lines_wait_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with opened(tmp_path / "log") as fd:
        writer = LineWriter(fd)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            writer.write(b"one\n")
        assert (tmp_path / "log").read_bytes() == b""
        writer.write(b"two\n")
        assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
        writer.close()


def test_after_the_loop_is_gone_lines_are_kept_for_close(pipe: Pipe) -> None:
    loop = asyncio.new_event_loop()
    writer = LineWriter(pipe.writer)
    writer.attach(loop)
    loop.close()
    writer.write(b"one\n")
    writer.close()
    assert pipe.read() == b"one\n"


# --- confirmations ---------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_a_confirmation_means_that_the_line_is_out(pipe: Pipe, tmp_path: Path) -> None:
    for _ in range(50):
        with opened(tmp_path / "log") as fd:
            writer = attached(fd)
            for number in range(3):
                writer.write(b"line\n")
                await writer.confirm()
                assert (tmp_path / "log").read_bytes().count(b"\n") == number + 1
            writer.close()
        (tmp_path / "log").unlink()
    writer = attached(pipe.writer)
    writer.write(b"line\n")
    await writer.confirm()
    assert pipe.read() == b"line\n"
    await writer.confirm()


@pytest.mark.any_loop
async def test_a_file_system_that_hangs_costs_one_confirmation_until_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, write = threading.Event(), os.write

    def hanging(fd: int, data: bytes) -> int:
        gate.wait()
        return write(fd, data)

    with opened(tmp_path / "log") as fd:
        writer = attached(fd, confirmation=0.01)
        monkeypatch.setattr(os, "write", hanging)
        writer.write(b"one\n", urgent=True)
        await writer.confirm()
        assert (tmp_path / "log").read_bytes() == b""
        # The next one waits for nothing: it ends in the pass of the loop in which it began.
        with pytest.raises(StopIteration):
            writer.confirm().send(None)
        gate.set()
        while writer._stuck:
            await asyncio.sleep(0)
        writer.write(b"two\n")
        await writer.confirm()
        assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
        writer.close()


async def test_a_pipe_that_is_read_late_confirms_late(pipe: Pipe) -> None:
    writer = attached(pipe.writer)
    for _ in range(200):
        writer.write(b"x" * 1023 + b"\n")
    confirmation = asyncio.create_task(writer.confirm())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not confirmation.done()
    read = b""
    while not confirmation.done():
        read += pipe.read()
        await asyncio.sleep(0.001)
    assert len(read + pipe.read()) == 200 * 1024


@pytest.mark.any_loop
async def test_lines_that_are_lost_are_confirmed_too(pipe: Pipe) -> None:
    """A reader that is gone will never have them."""
    writer = attached(pipe.writer)
    pipe.close(pipe.reader)
    writer.write(b"line\n", urgent=True)
    await writer.confirm()
    assert writer.backlog.dropped == 1


async def test_without_a_descriptor_or_a_loop_there_is_nothing_to_wait_for(pipe: Pipe) -> None:
    await attached_to_nothing().confirm()
    await LineWriter(pipe.writer).confirm()


def attached_to_nothing() -> LineWriter:
    writer = LineWriter(None)
    writer.attach(asyncio.get_running_loop())
    return writer
