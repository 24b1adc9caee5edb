"""``wrap``: signals find their way to the command, and nothing outlives anything that it should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.ports import free_port
from tests.support.sidecar import COMMAND, Command
from tests.support.wrapping import ended, settings, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="macOS has no way to tie a process to its parent")
PYTHON = sys.executable
#: Says that it runs, and ends by a status of its own at the signal that is its argument.
AT_SIGNAL = """
import signal, sys, time
signal.signal(int(sys.argv[1]), lambda *_: sys.exit(40))
print("up", flush=True)
while True:
    time.sleep(0.05)  # a signal just before a longer one would be noticed at its end only
"""
#: Says that it runs, and at SIGUSR1 how many SIGINT it had before.
COUNTING = """
import os, signal, sys, time
count = 0
def one(*_):
    global count
    count += 1
    os.write(1, b"counted\\n")
signal.signal(signal.SIGINT, one)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(f"had {count}"))
print("up", flush=True)
while True:
    time.sleep(0.05)
"""
#: Leaves a call of its own child behind, and ends.
LEAVES_A_CALL = """
import os, sys, time, urllib.request
url = os.environ["MANGOPAY_BASE_URL"]
if os.fork() == 0:
    os.close(1)
    os.close(2)
    urllib.request.urlopen(url + "/v2.01/acme/users")
    os._exit(0)
while b"requests_in_flight 1\\n" not in urllib.request.urlopen(sys.argv[1] + "/metrics").read():
    time.sleep(0.01)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


@pytest.fixture(scope="module")
def without_token() -> Iterator[str]:
    """A Mangopay that never answers a token request."""
    with Command("emulator", "--port", "0", "--fault", "hang token") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: reaped after the file was opened
        return True


def until(condition: Callable[[], bool]) -> None:
    """Wait; the test fails by its own time limit."""
    while not condition():
        time.sleep(0.01)


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_a_signal_is_passed_on_to_the_command(upstream: str, name: str) -> None:
    number = signal.Signals[name]
    with wrap("--", PYTHON, "-c", AT_SIGNAL, str(int(number)), environ=settings(upstream)) as command:
        command.wait_for("^up$")
        assert command.stop(number) == 40
        assert command.complaints == []


def test_a_command_that_a_signal_ends_is_told_by_the_status(upstream: str) -> None:
    with wrap("--", PYTHON, "-c", AT_SIGNAL, str(int(signal.SIGUSR1)), environ=settings(upstream)) as command:
        command.wait_for("^up$")
        assert command.stop(signal.SIGTERM) == 128 + signal.SIGTERM


def test_a_signal_while_the_sidecar_starts_ends_it_without_running_the_command(without_token: str) -> None:
    with wrap("--", "echo", "ran", environ=settings(without_token)) as command:
        command.wait_for("listener.ready", stream="stderr")
        assert command.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        assert command.stdout == ""


def test_what_was_ignored_stays_ignored(upstream: str) -> None:
    """As nohup wants it: neither the sidecar nor the command minds SIGHUP."""
    ignoring = f"trap '' HUP; exec '{COMMAND}' wrap -- sh -c 'kill -s HUP $PPID; kill -s HUP $$; echo survived'"
    run = subprocess.run(ignoring, shell=True, env=settings(upstream), capture_output=True, check=False)
    assert (run.returncode, run.stdout) == (0, b"survived\n")


def test_a_command_that_signals_its_whole_group_does_not_get_its_signal_back(upstream: str) -> None:
    """``kill 0`` is how scripts tidy up."""
    script = "trap 'echo had one' TERM; kill -s TERM 0; sleep 0.3; exit 5"
    status, stdout, _ = ended("--", "sh", "-c", script, environ=settings(upstream))
    assert (status, stdout) == (5, "had one\n")


#: As behind sudo: this user may not signal the command (kill(2): EPERM).
NOT_ALLOWED = """
import os, sys
from sidecar.cli import main
def kill(pid, number):
    raise PermissionError(1, "Operation not permitted")
os.kill = kill
main(sys.argv[1:])
"""


def test_a_command_that_may_not_be_signalled_is_told_and_waited_for(upstream: str) -> None:
    program = [PYTHON, "-c", NOT_ALLOWED, "wrap", "--", "sh", "-c", "echo up; read line; exit 7"]
    environ = settings(upstream, SIDECAR_LOG_LEVEL="error")
    with subprocess.Popen(
        program, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline().startswith("SIGTERM cannot be passed on: the command runs as another user")
        _, more = process.communicate("\n", timeout=40)
    assert (process.returncode, more) == (7, "")


#: As macOS is: who sent a signal is not told there, so it is guessed.
WITHOUT_SENDERS = "import signal, sys; del signal.sigwaitinfo; from sidecar.cli import main; main(sys.argv[1:])"


@linux_only
@pytest.mark.parametrize("program", [[COMMAND], [PYTHON, "-c", WITHOUT_SENDERS]], ids=["Linux", "macOS"])
def test_ctrl_c_reaches_the_command_once(upstream: str, program: list[str | Path]) -> None:
    """The terminal gives it to the command by itself; to pass it on as well would look like an impatient user."""
    master, slave = os.openpty()
    into_terminal = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [PYTHON, "-c", into_terminal, *program, "wrap", "--", PYTHON, "-c", COUNTING],
        env=settings(upstream),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.write(master, b"\x03")
        assert process.stdout.readline() == b"counted\n"  # the terminal takes its time
        process.send_signal(signal.SIGUSR1)
        _, stderr = process.communicate(timeout=30)
        assert b"\nhad 1\n" in b"\n" + stderr
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("program", [[COMMAND], [PYTHON, "-c", WITHOUT_SENDERS]], ids=["Linux", "macOS"])
def test_a_sigint_from_a_process_is_passed_on(upstream: str, program: list[str | Path]) -> None:
    process = subprocess.Popen(
        [*program, "wrap", "--", PYTHON, "-c", COUNTING],
        env=settings(upstream),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"counted\n"
        process.send_signal(signal.SIGUSR1)
        _, stderr = process.communicate(timeout=30)
        assert b"had 1" in stderr.splitlines()
    finally:
        process.kill()
        process.wait()


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_sidecar_is_gone_when_the_command_has_ended(upstream: str) -> None:
    environ = settings(upstream, SIDECAR_LISTEN_PORT=str(free_port()))
    with wrap("--", "printenv", "MANGOPAY_BASE_URL", environ=environ) as command:
        assert command.wait() == 0
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(command.stdout.strip())
        assert [line["event"] for line in command.log][-2:] == ["shutdown.started", "shutdown.drained"]
        assert command.complaints == []


def test_calls_that_the_command_left_behind_are_finished_first(upstream: str) -> None:
    admin = free_port()
    with Command("emulator", "--port", "0", "--fault", "pass api answer_delay=4") as slow:
        url = slow.wait_for(r"^ready emulator=(\S+)$")[1]
        environ = settings(url, SIDECAR_ADMIN_PORT=str(admin))
        with wrap("--", PYTHON, "-c", LEAVES_A_CALL, f"http://127.0.0.1:{admin}", environ=environ) as command:
            assert command.wait() == 3
            (call,) = [line for line in command.log if line["event"] == "request"]
            assert (call["status"], "caller" in call) == (200, False)
            assert command.log[-1]["complete"] is True


def test_a_signal_while_it_finishes_them_ends_it_at_once_with_the_command_s_status() -> None:
    admin = free_port()
    with Command("emulator", "--port", "0", "--fault", "hang api") as hanging:
        url = hanging.wait_for(r"^ready emulator=(\S+)$")[1]
        environ = settings(url, SIDECAR_ADMIN_PORT=str(admin), SIDECAR_SHUTDOWN_DRAIN="1h")
        with wrap("--", PYTHON, "-c", LEAVES_A_CALL, f"http://127.0.0.1:{admin}", environ=environ) as command:
            command.wait_for("shutdown.started", stream="stderr")
            assert command.stop(signal.SIGTERM) == 3


@linux_only
def test_the_command_does_not_outlive_a_sidecar_that_was_killed(upstream: str) -> None:
    with wrap(
        "--", "sh", "-c", "trap '' TERM HUP INT; echo pid $$; while :; do sleep 1; done", environ=settings(upstream)
    ) as command:
        pid = int(command.wait_for(r"^pid (\d+)$")[1])
        os.kill(command.pid, signal.SIGKILL)
        until(lambda: is_gone(pid))


@linux_only
def test_a_child_that_was_never_started_does_not_outlive_it_either(without_token: str) -> None:
    with wrap("--", "echo", "ran", environ=settings(without_token)) as command:
        command.wait_for("listener.ready", stream="stderr")
        pid = int(Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text())
        os.kill(command.pid, signal.SIGKILL)
        until(lambda: is_gone(pid))


@linux_only
def test_as_the_first_process_of_a_container_it_reaps_orphans(upstream: str) -> None:
    line = "unshare --pid --fork --mount-proc"
    if subprocess.run(f"{line} true", shell=True, capture_output=True, check=False).returncode:
        pytest.skip("no right to make a namespace")
    # Up to 5 s for the orphan to be reaped.
    left = "cat /proc/[0-9]*/stat | grep -c ' Z '"
    script = f"(sleep 0.1 &) ; sleep 0.5; for _ in $(seq 50); do {left} >&2 || break; sleep 0.1; done; {left}; exit 6"
    run = subprocess.run(
        [*line.split(), COMMAND, "wrap", "--", "sh", "-c", script],
        env={**settings(upstream), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (6, b"0\n"), run.stderr
