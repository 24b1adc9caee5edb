"""Reading files: several, packed, torn, from a pipe."""

from __future__ import annotations

import gzip
import io
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.core.reconciliation.log_lines import LONGEST_LINE
from sidecar.reconcile.logs import LogError, read_logs
from tests.unit.core.reconciliation.test_log_lines import FORMATS, logged, record

if TYPE_CHECKING:
    from pathlib import Path

OURS: Final = logged(record(outcome=None, error=None, status=200))


def line(number: int, form: str = "json") -> bytes:
    return logged(record(id=f"abcdefgh-{number:06}"), FORMATS[form])


def written(tmp_path: Path, name: str, content: bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def test_rotated_and_packed_logs_of_many_pods_are_read_as_one(tmp_path: Path) -> None:
    names = [
        written(tmp_path, "app.log", OURS + line(1)),
        written(tmp_path, "app.log.1", b"\n" + line(2, "ecs") + b"noise\n"),
        written(tmp_path, "app.log.2.gz", gzip.compress(line(3, "gcp")) + gzip.compress(line(4))),
        written(tmp_path, "packed-without-a-name-for-it", gzip.compress(line(5))),
    ]
    reading = read_logs([*names, names[0]])
    assert [each.id[-1] for each in reading.calls] == ["1", "2", "3", "4", "5"]
    assert (reading.files, reading.lines, reading.ours, reading.broken) == (4, 8, 6, 0)


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_a_dash_is_stdin(pack: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(pack)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(pack(line(1) + line(2))))))
    assert len(read_logs(["-", "-"]).calls) == 2


def test_a_stdin_that_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(LogError, match=r"^cannot read stdin: it is closed: name a file, or pipe the log in$"):
        read_logs(["-"])


def test_a_named_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, line(1))
    os.close(writing)
    try:
        assert len(read_logs([f"/dev/fd/{reading}"]).calls) == 1
    finally:
        os.close(reading)


def test_torn_lines_are_counted_and_told_those_first_that_may_hide_a_call(tmp_path: Path) -> None:
    torn = [OURS[:40] + b"\n"] * 7
    name = written(tmp_path, "torn.log", b"".join([*torn, line(1)[:-20] + b"\n", line(2)]))
    reading = read_logs([name])
    assert (reading.broken, reading.broken_unknown, len(reading.calls)) == (8, 1, 1)
    assert reading.broken_at == [f"{name}:{number}" for number in (8, 1, 2, 3, 4)]


def test_a_packed_file_that_ends_too_early_may_hide_a_call(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(line(number) for number in range(100)))
    name = written(tmp_path, "cut.gz", packed[:-30])
    assert read_logs([name]).broken_unknown == 1
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    assert read_logs([written(tmp_path, "damaged.gz", bytes(damaged))]).broken_unknown >= 1


def test_a_line_without_an_end_takes_no_memory_and_the_next_one_is_read(tmp_path: Path) -> None:
    endless = b'{"outcome":"unknown","x":"' + b"x" * (3 * LONGEST_LINE) + b'"}\n'
    reading = read_logs([written(tmp_path, "long.log", endless + line(1))])
    assert (reading.lines, reading.broken_unknown, len(reading.calls)) == (2, 1, 1)


def test_lines_that_were_never_written_are_counted(tmp_path: Path) -> None:
    lost = b'{"timestamp":"2026-11-29T00:00:00.000Z","level":"warning","event":"log.dropped","lines":3}\n'
    later = lost.replace(b"29T00", b"29T12")
    reading = read_logs([written(tmp_path, "a.log", lost + later + b'{"event":"log.dropped","lines":1}\n')])
    noon = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
    # Of when it cannot be told for when, it always counts.
    assert [reading.lines_dropped(since) for since in (None, noon, noon + 1)] == [7, 4, 1]


def test_a_log_for_people_is_refused_with_what_to_do(tmp_path: Path) -> None:
    from sidecar.telemetry.line_format import console_line

    name = written(tmp_path, "people.log", OURS + logged(record(), lambda entry: console_line(entry, color=False)))
    with pytest.raises(LogError, match=r"people\.log, line 2, .*SIDECAR_LOG_FORMAT=json"):
        read_logs([name])


@pytest.mark.parametrize(
    ("magic", "command"), [(b"\x28\xb5\x2f\xfd", "zstdcat"), (b"\xfd7zXZ\0", "xzcat"), (b"BZh9", "bzcat")]
)
def test_what_is_packed_otherwise_is_refused_with_what_to_do(tmp_path: Path, magic: bytes, command: str) -> None:
    with pytest.raises(LogError, match=f"{command} .*--log -"):
        read_logs([written(tmp_path, "packed", magic + bytes(100))])


def test_a_log_in_utf_16_is_refused_with_what_to_do(tmp_path: Path) -> None:
    name = written(tmp_path, "powershell.log", b"\xff\xfe" + line(1).decode().encode("utf-16-le"))
    with pytest.raises(LogError, match=r"iconv -f UTF-16 -t UTF-8 .*--log -"):
        read_logs([name])


def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"cannot read .*/missing\?\.log: No such file"):
        read_logs([str(tmp_path / "missing\x1b.log")])
    with pytest.raises(LogError, match="Is a directory"):
        read_logs([str(tmp_path)])


def test_an_empty_log_has_nothing(tmp_path: Path) -> None:
    reading = read_logs([written(tmp_path, "empty.log", b""), written(tmp_path, "empty.gz", gzip.compress(b""))])
    assert (reading.files, reading.lines, reading.calls) == (2, 0, [])
