"""The process itself gives nothing away: no core file, no look into its memory or environment, no secret in argv."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import COMMAND, Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) and /proc are Linux's")

PR_GET_DUMPABLE = 3
PR_CAPBSET_DROP = 24
#: More than Linux has; those that it lacks are refused, which is as good.
CAPABILITIES = range(64)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


def without_capabilities() -> None:
    """Leave root's name to the program that is executed next, but none of root's powers (capabilities(7))."""
    prctl = ctypes.CDLL(None).prctl
    for capability in CAPABILITIES:
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture(scope="module")
def unprivileged() -> dict[str, Any]:
    """Keywords that make Popen run a program as an ordinary user would, as which this one may be running already."""
    return {} if os.geteuid() else {"preexec_fn": without_capabilities}


def settings(upstream: str, **more: str) -> dict[str, str]:
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "0",
        "PATH": os.environ["PATH"],
        **more,
    }


def started(command: list[str | Path], first_line: bytes, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program and wait until it has printed its first line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", **options)
    assert process.stdout is not None
    if not process.stdout.readline().startswith(first_line):
        end(process)
        pytest.fail(f"{command[0]} did not start")
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def readable(pid: int, name: str, user: dict[str, Any]) -> bool:
    """Whether that user may read a file of ``/proc/PID``."""
    return subprocess.run(["cat", f"/proc/{pid}/{name}"], **user, capture_output=True, check=False).returncode == 0


def test_no_core_file_would_be_written_and_the_limit_cannot_be_raised_again(upstream: str) -> None:
    with Sidecar(upstream) as sidecar:
        limits = Path(f"/proc/{sidecar.pid}/limits").read_text()
    assert re.search(r"^Max core file size\s+0\s+0 ", limits, re.MULTILINE)


@pytest.mark.parametrize("name", ["run", "demo", "wrap"])
def test_another_program_of_the_same_user_cannot_read_its_environment(
    upstream: str, name: str, unprivileged: dict[str, Any]
) -> None:
    """It may hold the API key."""
    environ = settings(upstream)
    plain = started(["sh", "-c", "echo up; read line"], b"up", env=environ, stdin=subprocess.PIPE, **unprivileged)
    tail: list[str | Path] = ["--", "sh", "-c", "echo up; read line"] if name == "wrap" else []
    first = b"up" if name == "wrap" else b"ready "
    ports = ["--port", "0", "--admin-port", "0"] if name == "demo" else []
    sidecar = started([COMMAND, name, *ports, *tail], first, env=environ, stdin=subprocess.PIPE, **unprivileged)
    try:
        assert readable(plain.pid, "environ", unprivileged)  # so the test can tell
        assert not readable(sidecar.pid, "environ", unprivileged)
        assert not readable(sidecar.pid, "maps", unprivileged)
    finally:
        for process in (plain, sidecar):
            assert process.stdin is not None
            process.stdin.close()
            end(process)


def test_the_wrapped_command_can_be_looked_into_as_ever_but_has_no_secret(
    upstream: str, unprivileged: dict[str, Any]
) -> None:
    command: list[str | Path] = [COMMAND, "wrap", "--", "sh", "-c", "cat /proc/self/environ; cat /proc/$PPID/environ"]
    run = subprocess.run(
        command,
        env=settings(upstream),
        **unprivileged,
        capture_output=True,
        cwd="/",
        check=False,
    )
    assert b"MANGOPAY_BASE_URL=http://127.0.0.1:" in run.stdout
    assert CANARY_API_KEY.encode() not in run.stdout
    assert b"/environ: Permission denied" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "first"),
    [("run", b"ready "), ("demo --port 0 --admin-port 0", b"ready "), ("wrap sh -c 'echo up; cat'", b"up")],
)
def test_a_crash_leaves_no_core_even_without_a_limit(
    upstream: str, arguments: str, first: bytes, tmp_path: Path
) -> None:
    """As it is where the kernel pipes cores to a program: that one is told of every crash."""

    def crash(command: str, line: bytes) -> bool:
        """Run a command without a limit on cores, and crash it; return whether a core was made."""
        shell = f"ulimit -S -c $(ulimit -H -c); cd '{tmp_path}'; echo up; exec {command}"
        process = started(["sh", "-c", shell], b"up", env=settings(upstream), stdin=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            assert process.stdout.readline().startswith(line)
            process.send_signal(signal.SIGSEGV)
            _, status = os.waitpid(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            process.stdin.close()
            end(process)
        assert process.returncode == -signal.SIGSEGV
        return os.WCOREDUMP(status)

    crash("sh -c 'echo up; read line'", b"up")  # leaves one, unless this system makes none at all
    for core in tmp_path.iterdir():
        core.unlink()
    code = "import resource, sys; resource.setrlimit = lambda *_: 0; from sidecar.cli import main; main(sys.argv[1:])"
    assert not crash(f"'{sys.executable}' -c '{code}' {arguments}", first)
    assert list(tmp_path.iterdir()) == []


def test_a_key_from_a_file_is_in_neither_environment_nor_arguments(upstream: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(CANARY_API_KEY)
    environ = {**settings(upstream), "SIDECAR_MANGOPAY_API_KEY": "", "SIDECAR_MANGOPAY_API_KEY_FILE": str(key)}
    with Command("run", environ=environ) as command:
        command.wait_for("^ready ")
        for name in ("cmdline", "comm") if os.geteuid() else ("cmdline", "comm", "environ"):
            assert CANARY_API_KEY.encode() not in Path(f"/proc/{command.pid}/{name}").read_bytes()


def forbidding(code: str) -> str:
    """Run Python code that may call ``forbid_core_dumps`` and knows prctl; return what it prints."""
    program = "import ctypes, sys; from sidecar.cli.process import forbid_core_dumps; prctl = ctypes.CDLL(None).prctl;"
    run = subprocess.run([sys.executable, "-c", program + code], capture_output=True, check=True)
    assert run.stderr == b""
    return run.stdout.decode().strip()


def test_the_process_is_not_dumpable_from_then_on() -> None:
    look = f"prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0)"
    assert forbidding(f"print({look}); forbid_core_dumps(); print({look})") == "1\n0"


@pytest.mark.parametrize(
    "arguments",
    [
        *(("check",), ("status",), ("wait", "--timeout", "0"), ("reconcile", "--log", "/dev/null")),
        ("csr", "--client-id", "acme", "--out", "/dev/null/nowhere"),
    ],
)
def test_every_command_that_reads_or_makes_a_key_forbids_core_dumps(arguments: tuple[str, ...]) -> None:
    """Those that serve are looked at while they run; all of these fail, which is no matter."""
    code = (
        "import contextlib, os, resource; from sidecar.cli import main\n"
        "with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit): main(sys.argv[1:])\n"
        f"print(resource.getrlimit(resource.RLIMIT_CORE), prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0))"
    )
    program = f"import ctypes, sys; prctl = ctypes.CDLL(None).prctl\n{code}"
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SIDECAR_")}
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, check=True, env=environ, text=True
    )
    assert run.stdout == "(0, 0) 0\n"


def test_a_python_without_ctypes_does_without() -> None:
    code = (
        "import resource; sys.modules['ctypes'] = None; forbid_core_dumps();"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert forbidding(code) == "(0, 0)"
