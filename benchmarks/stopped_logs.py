"""A log target that takes nothing for a minute: is a call later than usual, and are the lost lines counted?

``python -m benchmarks.stopped_logs``, a part of ``make soak``. The sidecar and the emulator are processes of their own.
stderr is a pipe, a socket, a terminal, and a file; nobody reads the first three, and the file's file system is frozen
(fsfreeze(8), for root alone). A second sidecar with a pipe that is read gets as many calls at the same time: that tells
what is usual on this machine. The exit status is 1 if calls failed, if the 99th percentile of their time was higher
than usual, or if a line is neither there nor counted in ``log.dropped``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import threading
import tty
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks import soak
from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import ABSENT, Command, command_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KINDS: Final = ("pipe", "socket", "terminal", "file")
#: How much slower a call may be while the target stands still: what another program on the machine adds.
MOST_FACTOR: Final = 2.0
MOST_SECONDS: Final = 0.02
#: Bytes that a sidecar keeps for a target, and more than the system does besides: a stop that is longer loses lines.
_KEPT: Final = 2 * 1024 * 1024
_LINE: Final = 350


@dataclass(frozen=True)
class Plan:
    """So many seconds the target stands still, under so many calls a second."""

    seconds: float = 60.0
    rate: float = 100.0
    callers: int = 20

    @property
    def before(self) -> float:
        """Seconds of load before the target stops: until all is warm."""
        return min(5.0, self.seconds)

    @property
    def after(self) -> float:
        """Seconds of load after the target goes on."""
        return min(5.0, self.seconds)


@dataclass(frozen=True)
class Result:
    """What was seen with one kind of target."""

    kind: str
    calls: int
    failed: int
    #: Seconds that calls took while the target stood still, sorted: the other sidecar's, and this one's.
    usual: Sequence[float]
    stopped: Sequence[float]
    #: ``request`` lines that arrived, and lines that the log says were dropped.
    lines: int
    dropped: int

    def wrong(self, plan: Plan) -> Iterator[str]:
        """Yield a sentence for each promise that was broken."""
        if self.failed:
            yield f"{self.kind}: {self.failed} calls failed"
        usual, stopped = percentile(self.usual, 0.99), percentile(self.stopped, 0.99)
        if stopped > max(MOST_FACTOR * usual, usual + MOST_SECONDS):
            yield f"{self.kind}: the 99th percentile is {stopped * 1000:.1f} ms, usual are {usual * 1000:.1f} ms"
        if self.lines + self.dropped < self.calls:
            yield f"{self.kind}: {self.calls - self.lines - self.dropped} lines are neither there nor counted"
        if not self.dropped and plan.seconds * plan.rate * _LINE > _KEPT:
            yield f"{self.kind}: nothing was dropped, so the target did not stand still"

    def row(self) -> str:
        """Return its row of the table."""
        times = (percentile(took, share) for took in (self.usual, self.stopped) for share in (0.5, 0.99, 1.0))
        numbers = " ".join(f"{seconds * 1000:8.1f}" for seconds in times)
        return f"{self.kind:<9} {self.calls:7} {self.failed:6} {numbers} {self.lines:7} {self.dropped:7}"


HEADLINE: Final = (
    f"{'stderr':<9} {'calls':>7} {'failed':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} "
    f"{'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'lines':>7} {'dropped':>7}\n"
    f"{'':<25}{'usual':>25} {'stopped':>26}"
)


def percentile(took: Sequence[float], share: float) -> float:
    """Return the time that a share of all calls did not exceed; ``took`` is sorted."""
    return took[min(len(took) - 1, int(len(took) * share))] if took else 0.0


# --- targets ---------------------------------------------------------------------------------------------------------


class Target(Protocol):
    """What the sidecar's stderr is."""

    @property
    def fd(self) -> int:
        """What the sidecar gets."""

    def stop(self) -> None:
        """Take nothing any more."""

    def go_on(self) -> None:
        """Take everything again."""

    def text(self) -> bytes:
        """Return all that came; the sidecar has ended."""


class Unread:
    """A descriptor whose reader can be stopped: a thread here, which reads or does not."""

    def __init__(self, reader: int, writer: int, exits: ExitStack) -> None:
        self.fd: Final = writer
        self._reader: Final = reader
        self._pieces: Final[list[bytes]] = []
        self._reads: Final = threading.Event()
        self._reads.set()
        self._over = False
        self._thread: Final = threading.Thread(target=self._read, name="log reader", daemon=True)
        self._thread.start()
        exits.callback(self._end)

    def stop(self) -> None:
        """Do not read."""
        self._reads.clear()

    def go_on(self) -> None:
        """Read again."""
        self._reads.set()

    def text(self) -> bytes:
        """Read what is left, and return everything."""
        self._end()
        while select.select([self._reader], [], [], 0)[0] and (piece := os.read(self._reader, 65536)):
            self._pieces.append(piece)
        return b"".join(self._pieces)

    def _read(self) -> None:
        while not self._over:
            self._reads.wait()
            if select.select([self._reader], [], [], 0.05)[0] and self._reads.is_set():
                self._pieces.append(os.read(self._reader, 65536))

    def _end(self) -> None:
        self._over = True
        self._reads.set()
        self._thread.join()


class FrozenFile:
    """A file on a file system of its own, which is frozen: whoever writes waits until it thaws."""

    def __init__(self, exits: ExitStack) -> None:
        directory = Path(exits.enter_context(TemporaryDirectory(prefix="stopped-log-")))
        image, self._mounted = directory / "image", directory / "mounted"
        self._mounted.mkdir()
        image.write_bytes(b"")
        os.truncate(image, 32 * soak.MIB)
        _command("mkfs.ext4", "-q", "-F", image)
        _command("mount", "-o", "loop", image, self._mounted)
        exits.callback(_command, "umount", self._mounted)
        self._path: Final = self._mounted / "log"
        self.fd: Final = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        exits.callback(os.close, self.fd)
        exits.callback(self.go_on)
        self._frozen = False

    @staticmethod
    def possible() -> bool:
        """Whether this user may make one."""
        return os.geteuid() == 0 and Path("/dev/loop-control").exists() and shutil.which("fsfreeze") is not None

    def stop(self) -> None:
        """Freeze it."""
        _command("fsfreeze", "--freeze", self._mounted)
        self._frozen = True

    def go_on(self) -> None:
        """Thaw it."""
        if self._frozen:
            self._frozen = False
            _command("fsfreeze", "--unfreeze", self._mounted)

    def text(self) -> bytes:
        """Return what is in the file."""
        return self._path.read_bytes()


def _command(*words: str | Path) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def target(kind: str, exits: ExitStack) -> Target:
    """Make a target of a kind."""
    if kind == "file":
        return FrozenFile(exits)
    if kind == "socket":
        ours, theirs = socket.socketpair()
        exits.enter_context(ours)
        exits.enter_context(theirs)
        return Unread(ours.fileno(), theirs.fileno(), exits)
    reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    exits.callback(os.close, reader)
    exits.callback(os.close, writer)
    if kind == "terminal":
        tty.setraw(writer)
    return Unread(reader, writer, exits)


# --- the measurement -------------------------------------------------------------------------------------------------


async def measure(kind: str, plan: Plan, loop: str = "uvloop") -> Result:
    """Stop a target of this kind under load, in front of processes of its own on that event loop."""
    with ExitStack() as exits:
        emulator = exits.enter_context(Command("emulator", "--port", "0"))
        url = emulator.wait_for(r"^ready emulator=(.*)$")[1]
        log = target(kind, exits)
        process, port = _start(url, log.fd, loop, exits)
        _, other_port = _start(url, target("pipe", exits).fd, loop, exits)
        # The same load for both, with other keys.
        plans = [soak.Plan(rate=plan.rate, aborts=0.0, callers=plan.callers, seed=seed) for seed in (1, 2)]
        report, other = reports = [soak.Report(each) for each in plans]
        enough = asyncio.Event()
        ports = (port, other_port)
        loads = [soak.load(each.plan, where, each, enough) for each, where in zip(reports, ports, strict=True)]
        load = asyncio.gather(*loads)
        await asyncio.sleep(plan.before)
        await asyncio.to_thread(log.stop)
        report.took, other.took = [], []
        await asyncio.sleep(plan.seconds)
        stopped, usual = report.took, other.took
        report.took = []
        await asyncio.to_thread(log.go_on)
        await asyncio.sleep(plan.after)
        enough.set()
        await load
        process.terminate()
        await asyncio.to_thread(process.wait, 40)
        entries = [json.loads(line) for line in log.text().splitlines() if line.startswith(b"{")]
    lines = sum(entry["event"] == "request" for entry in entries)
    dropped = sum(entry["lines"] for entry in entries if entry["event"] == "log.dropped")
    return Result(kind, report.calls, report.failed.total(), sorted(usual), sorted(stopped), lines, dropped)


def _start(upstream: str, stderr: int, loop: str, exits: ExitStack) -> tuple[subprocess.Popen[bytes], int]:
    environ = {
        "PATH": os.environ["PATH"],
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_HOST": "127.0.0.1",
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "off",
        "SIDECAR_LOG_FORMAT": "json",
    }
    process = subprocess.Popen(command_on(loop, "run"), env=environ, stdout=subprocess.PIPE, stderr=stderr)
    exits.enter_context(process)
    exits.callback(process.kill)
    assert process.stdout is not None
    ready = dict(word.split("=") for word in process.stdout.readline().decode().split()[1:])
    return process, int(ready["proxy"].rpartition(":")[2])


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopped_logs", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="that each target stands still")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="calls a second")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of target; may be repeated; default: all")
    parser.add_argument("--loop", choices=ABSENT, default="uvloop", help="which event loop the sidecar runs on")
    given = parser.parse_args()
    plan = Plan(given.seconds, given.rate)
    print(HEADLINE)
    wrong: list[str] = []
    for kind in given.kind or KINDS:
        if kind == "file" and not FrozenFile.possible():
            print("file      not measured: only root can freeze a file system")
            continue
        result = asyncio.run(measure(kind, plan, given.loop))
        print(result.row(), flush=True)
        wrong += result.wrong(plan)
    for sentence in wrong:
        print(f"FAILED: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
