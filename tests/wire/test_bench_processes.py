"""What the benchmark says of processes: their CPU time, their memory, and that none is left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import children
from benchmarks.children import Child, ChildError, Launch
from benchmarks.measure.cores import Cores, busy_seconds, pinned
from benchmarks.measure.processes import cpu_ns, memory, peak, reset_peak, tree

CORE = min(os.sched_getaffinity(0))
WORK = "import threading, time, sys\ndef burn():\n  x = 0\n  while time.thread_time() < 0.15: x += 1\n"
#: Uses CPU time in a thread that ends, says how much the process used, and waits.
BURNT = f"{WORK}thread = threading.Thread(target=burn); thread.start(); thread.join(); burn()\n"
BURNT += "print(time.process_time_ns(), flush=True); sys.stdin.read()"
#: Says so, waits, has much memory for a moment, says so, and waits.
SWELLING = "import sys\nprint(1, flush=True); sys.stdin.readline()\nx = bytearray(50_000_000); del x\n"
SWELLING += "print(2, flush=True); sys.stdin.read()"
PARENT = "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
PARENT += "print(child.pid, flush=True)\n"


def python(code: str) -> Launch:
    return Launch((sys.executable, "-c", code))


def test_cpu_time_is_what_the_process_itself_counts_ended_threads_included() -> None:
    with subprocess.Popen([sys.executable, "-c", BURNT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        counted = int(process.stdout.readline())
        seen = cpu_ns([process.pid])
        process.communicate()
    assert counted >= 300_000_000
    # A little more was used between its look at the clock and ours.
    assert counted <= seen < counted + 50_000_000


def test_cpu_time_of_a_process_that_is_gone_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_ns([process.pid])


def test_memory_and_its_peak() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SWELLING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        before = memory([process.pid])
        reset_peak([process.pid])
        assert peak([process.pid]) < before.resident + 5_000_000
        process.stdin.write(b"\n")
        process.stdout.readline()
        assert peak([process.pid]) > before.resident + 45_000_000
        assert memory([process.pid]).resident < before.resident + 10_000_000
        process.stdin.close()
    assert 0 < before.proportional <= before.resident


def test_a_child_takes_its_descendants_with_it(tmp_path: Path) -> None:
    with Child("parent", python(PARENT + "child.wait()"), core=CORE, directory=tmp_path) as child:
        grandchild = wait_for_number(child)
        assert child.pids() == tuple(tree(child.pid)) == (child.pid, grandchild)
        assert os.sched_getaffinity(grandchild) == {CORE}
    await_end(child.pid)
    await_end(grandchild)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_PATIENCE", 0.1)
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PARENT + "child.wait()"
    with Child("deaf", python(code), core=CORE, directory=tmp_path) as child:
        grandchild = wait_for_number(child)
    await_end(child.pid)
    await_end(grandchild)


def test_a_child_that_ends_by_itself_is_noticed_and_its_last_words_are_told(tmp_path: Path) -> None:
    with Child("short", python("import sys; sys.exit('out of luck')"), core=CORE, directory=tmp_path) as child:
        with pytest.raises(ChildError, match="short ended with 1: out of luck"):
            child.wait_for_line("ready")


def test_children_get_nothing_of_our_environment_but_what_is_neutral(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_LISTEN_PORT", "1")
    code = "import os; print('SIDECAR_LISTEN_PORT' in os.environ, os.environ['OURS'], flush=True)"
    launch = Launch((sys.executable, "-c", code), {"OURS": "yes"})
    with Child("printing", launch, core=CORE, directory=tmp_path) as child:
        with contextlib.suppress(ChildError):
            child.wait_for_line("never")
    assert child.output.read_text() == "False yes\n"


def test_pinning_ends(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    with pinned(CORE):
        assert os.sched_getaffinity(0) == {CORE}
    assert os.sched_getaffinity(0) == before


def test_each_core_is_counted_once() -> None:
    assert Cores(peer=0, upstream=1, callers=1).used == (0, 1)
    assert Cores(peer=4, upstream=5, callers=6).used == (4, 5, 6)
    busy, stolen = busy_seconds([CORE])
    assert busy >= stolen >= 0
    assert busy > 0


def wait_for_number(child: Child) -> int:
    """Return the number that the child prints."""
    while not (said := child.output.read_text()).endswith("\n"):
        child.check_that_it_runs()
    return int(said)


def await_end(pid: int) -> None:
    """Return once a process that was killed has ended: the kernel takes a moment, and so may whoever adopted it."""
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
