"""A terminal that is closed ends what was started in it, and the first process of a container ends at SIGTERM."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_cli_run import settings
from tests.support.ports import free_port
from tests.support.sidecar import COMMAND, Command, command_on

if TYPE_CHECKING:
    from collections.abc import Iterator

PID_NAMESPACES = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare") is not None


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


class Terminal:
    """A shell in a terminal of its own, as a person has it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            with suppress(OSError):
                os.execvpe("bash", ["bash", "--norc", "-i"], environ)
            os._exit(127)

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._master)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def healthy(admin: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a bash")
@pytest.mark.parametrize(
    ("line", "lives", "loop"),
    [
        ("$SIDECAR run", False, "uvloop"),
        ("$SIDECAR run", False, "asyncio"),
        ("$SIDECAR run &", False, "uvloop"),
        ("exec $SIDECAR run", False, "asyncio"),
        ("exec $SIDECAR wrap -- sleep 300", False, "uvloop"),
        ("exec $SIDECAR wrap -- sleep 300", False, "asyncio"),
        ("$SIDECAR wrap -- sleep 300", False, "uvloop"),
        ("nohup $SIDECAR run >/dev/null 2>&1 & echo $! >$PID", True, "uvloop"),
        ("nohup $SIDECAR run >/dev/null 2>&1 & echo $! >$PID", True, "asyncio"),
    ],
)
def test_closing_the_terminal_ends_what_was_started_in_it(
    line: str, lives: bool, loop: str, upstream: str, tmp_path: Path
) -> None:
    admin = free_port()
    pid_file = tmp_path / "pid"
    command = tmp_path / "sidecar"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(command_on(loop))} "$@"\n')
    command.chmod(0o700)
    environ = settings(
        upstream,
        PATH=os.environ["PATH"],
        SIDECAR_ADMIN_PORT=str(admin),
        SIDECAR=str(command),
        PID=str(pid_file),
        HOME="/",
    )
    with ExitStack() as stack:
        terminal = Terminal(environ)
        stack.callback(terminal.end)
        terminal.type(line)
        while not healthy(admin):
            time.sleep(0.05)
        terminal.close()
        if not lives:
            while healthy(admin):
                time.sleep(0.05)
            return
        process = int(pid_file.read_text())
        stack.callback(os.kill, process, signal.SIGTERM)
        os.waitid(os.P_PID, terminal.pid, os.WEXITED | os.WNOWAIT)  # the shell has told its jobs by then
        os.kill(process, signal.SIGHUP)  # and somebody asks to read keys again: no end either
        for _ in range(5):
            assert healthy(admin)


@pytest.mark.skipif(not PID_NAMESPACES, reason="needs root and unshare, to be the first process of a namespace")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
@pytest.mark.parametrize("arguments", [("wait", "--timeout", "300"), ("check",), ("status",)])
def test_the_first_process_of_a_container_ends_at_a_signal(arguments: tuple[str, ...], number: signal.Signals) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = str(silent.getsockname()[1])
        environ = settings(f"http://127.0.0.1:{port}", PATH=os.environ["PATH"], SIDECAR_ADMIN_PORT=port)
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--", str(COMMAND), *arguments]
        with subprocess.Popen(unshare, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            silent.settimeout(30)
            asked, _ = silent.accept()  # it is at work
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            with asked:
                os.kill(int(children.split()[0]), number)
                assert process.wait(20) == 128 + number
