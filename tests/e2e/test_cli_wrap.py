"""``wrap``: a command that finds the sidecar ready, is left alone otherwise, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.cli.child import child_environment
from tests.support.canary import CANARY_API_KEY
from tests.support.port_holder import in_use
from tests.support.ports import free_port
from tests.support.sidecar import COMMAND, Command
from tests.support.wrapping import ended, settings, taken, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PYTHON = sys.executable


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


@pytest.fixture(scope="module")
def without_token() -> Iterator[str]:
    """A Mangopay that never answers a token request."""
    with Command("emulator", "--port", "0", "--fault", "hang token") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


# --- the command's world ---------------------------------------------------------------------------------------------


def test_the_command_finds_a_sidecar_that_is_ready(upstream: str) -> None:
    code = "import os, urllib.request as u;print(u.urlopen(os.environ['MANGOPAY_BASE_URL'] + '/v2.01/_/users').status)"
    # A proxy where none is: loopback must not go through it.
    environ = settings(upstream, http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1")
    status, stdout, stderr = ended("--", PYTHON, "-c", code, environ=environ)
    assert (status, stdout) == (0, "200\n")
    (call,) = [line for line in map(json.loads, stderr.splitlines()) if line["event"] == "request"]
    assert (call["status"], call["token_wait_ms"]) == (200, 0.0)


def test_the_environment_is_kept_but_for_the_sidecar_s_own(upstream: str) -> None:
    given = {"KEPT": "as it is", "MANGOPAY_CLIENT_ID": "acme", "LC_ALL": "C.UTF-8"}
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    _, stdout, _ = ended("--", PYTHON, "-c", code, environ=settings(upstream, **given))
    seen: dict[str, str] = json.loads(stdout)
    assert {name: seen[name] for name in given} == given
    assert not [name for name in seen if name.startswith("SIDECAR_")]
    added = seen.keys() - given.keys() - os.environ.keys() - {"PYTHONWARNINGS"}
    assert added <= {"MANGOPAY_BASE_URL", "NO_PROXY", "no_proxy"}
    assert CANARY_API_KEY not in stdout


LOOPBACK = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("given", "upper", "lower"),
    [
        ({}, LOOPBACK, LOOPBACK),
        ({"NO_PROXY": "corp.example"}, f"corp.example,{LOOPBACK}", f"corp.example,{LOOPBACK}"),
        ({"no_proxy": "corp.example"}, f"corp.example,{LOOPBACK}", f"corp.example,{LOOPBACK}"),
        ({"NO_PROXY": "a", "no_proxy": "b"}, f"a,{LOOPBACK}", f"b,{LOOPBACK}"),
        ({"NO_PROXY": "a", "no_proxy": ""}, f"a,{LOOPBACK}", LOOPBACK),
        ({"NO_PROXY": "a, localhost,"}, "a, localhost,127.0.0.1,::1", "a, localhost,127.0.0.1,::1"),
        ({"NO_PROXY": LOOPBACK}, LOOPBACK, LOOPBACK),
        ({"NO_PROXY": "*"}, "*", "*"),
    ],
)
def test_loopback_is_added_to_what_goes_without_a_proxy(given: dict[str, str], upper: str, lower: str) -> None:
    environment = child_environment(given, "http://127.0.0.1:8080")
    assert environment == {"MANGOPAY_BASE_URL": "http://127.0.0.1:8080", "NO_PROXY": upper, "no_proxy": lower}


@pytest.mark.parametrize(
    ("base_url", "host"),
    [("http://10.1.2.3:8080", "10.1.2.3"), ("http://[fd00::1]:1", "fd00::1"), ("http://sidecar", "sidecar")],
)
def test_an_address_that_is_not_loopback_is_added_too(base_url: str, host: str) -> None:
    assert child_environment({}, base_url)["NO_PROXY"] == f"{LOOPBACK},{host}"


def test_a_script_that_names_no_interpreter_is_run_by_a_shell(upstream: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "$1 $MANGOPAY_BASE_URL"\n')
    script.chmod(0o755)
    status, stdout, _ = ended("--", str(script), "given", environ=settings(upstream))
    assert (status, stdout[:22]) == (0, "given http://127.0.0.1")


def test_the_configuration_may_come_from_stdin(upstream: str) -> None:
    """The command finds stdin at its end then."""
    content = f'[mangopay]\nenvironment = "emulator"\nclient_id = "acme"\nbase_url = "{upstream}"\n'
    environ = {name: text for name, text in settings(upstream).items() if "CLIENT_ID" not in name}
    run = subprocess.run(
        [COMMAND, "wrap", "--config", "/dev/stdin", "--", "cat"],
        env=environ,
        input=content,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_input_and_output_are_the_command_s_own(upstream: str) -> None:
    """What it reads and writes is passed through as it is, and nothing else gets onto stdout."""
    text = bytes(range(256)) * 1000
    run = subprocess.run(
        [COMMAND, "wrap", "--", "cat"], env=settings(upstream), input=text, capture_output=True, check=True
    )
    assert run.stdout == text


def test_whoever_reads_the_command_s_output_sees_it_close_it(upstream: str) -> None:
    """The sidecar holds no end of the pipe: the reader is not kept waiting until it is gone too."""
    code = "import os, time; os.write(1, b'all'); os.close(1); os.read(0, 1)"
    process = subprocess.Popen(
        [COMMAND, "wrap", "--", PYTHON, "-c", code],
        env=settings(upstream),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.read() == b"all"
        assert process.poll() is None
        process.communicate(b"x")
    assert process.returncode == 0


def test_a_closed_stdout_stays_closed_for_the_command(upstream: str) -> None:
    code = "import sys; sys.exit(3 if sys.stdout is None else 4)"
    line = f"exec '{COMMAND}' wrap -- '{PYTHON}' -c '{code}' >&-"
    run = subprocess.run(line, shell=True, env=settings(upstream), capture_output=True, check=False)
    assert run.returncode == 3


def test_limits_and_signals_are_as_if_the_command_ran_alone(upstream: str) -> None:
    """The sidecar allows itself no core file, and Python ignores SIGPIPE: neither is the command's business."""
    shown = "ulimit -S -c; ulimit -H -c; kill -s PIPE $$"
    line = f"ulimit -S -c $(ulimit -H -c); exec '{COMMAND}' wrap -- sh -c '{shown}'"
    run = subprocess.run(line, shell=True, env=settings(upstream), capture_output=True, check=False)
    soft, hard = run.stdout.decode().split()
    expected = subprocess.run("ulimit -H -c", shell=True, capture_output=True, check=True).stdout.decode().strip()
    assert (soft, hard) == (expected, expected)
    assert run.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("arguments", [["--", "printf", "%s", "--help"], ["printf", "%s", "--help"]])
def test_options_behind_the_command_are_the_command_s(upstream: str, arguments: list[str]) -> None:
    assert ended(*arguments, environ=settings(upstream))[:2] == (0, "--help")


# --- ports -----------------------------------------------------------------------------------------------------------


def base_url(*arguments: str | Path, environ: Mapping[str, str]) -> str:
    status, stdout, stderr = ended(*arguments, "--", "printenv", "MANGOPAY_BASE_URL", environ=environ)
    assert status == 0, stderr
    return stdout.strip()


def without_ports(upstream: str) -> dict[str, str]:
    ports = {"SIDECAR_LISTEN_PORT", "SIDECAR_ADMIN_PORT"}
    return {name: value for name, value in settings(upstream).items() if name not in ports}


def test_the_usual_ports_are_given_up_for_free_ones_if_they_are_in_use(upstream: str) -> None:
    with (
        taken(18080, 19090),
        wrap("--", "printenv", "MANGOPAY_BASE_URL", environ=without_ports(upstream)) as run,
    ):
        assert run.wait() == 0, run.stderr
        assert run.stdout.strip() not in ("http://127.0.0.1:18080", "")
        moved = [str(line["message"]) for line in run.log if line["event"] == "listener.moved"]
        assert moved == [f"{in_use(port)}: a free one is taken in its place" for port in (19090, 18080)]


def test_a_port_in_a_variable_is_used(upstream: str) -> None:
    port = free_port()
    assert base_url(environ=settings(upstream, SIDECAR_LISTEN_PORT=str(port))) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("by_variable", [True, False])
def test_ports_in_the_file_are_used(upstream: str, by_variable: bool, tmp_path: Path) -> None:
    proxy, admin = free_port(), free_port()
    file = tmp_path / "sidecar.toml"
    file.write_text(f"[listen]\nport = {proxy}\n[admin]\nport = {admin}\n")
    environ = without_ports(upstream) | ({"SIDECAR_CONFIG": str(file)} if by_variable else {})
    arguments: list[str | Path] = [] if by_variable else ["--config", file]
    with wrap(*arguments, "--", "sleep", "60", environ=environ) as command:
        command.wait_for("token.refreshed", stream="stderr")
        (ready,) = [line for line in command.log if line["event"] == "listener.ready"]
        assert (ready["proxy"], ready["admin"]) == (f"http://127.0.0.1:{proxy}", f"http://127.0.0.1:{admin}")


def test_a_configuration_in_a_pipe_is_read_once(upstream: str) -> None:
    """As the shell's ``--config <(…)`` gives it."""
    port = free_port()
    reader, writer = os.pipe()
    os.write(writer, f"[listen]\nport = {port}\n[admin]\nport = 0\n".encode())
    os.close(writer)
    run = subprocess.run(
        [COMMAND, "wrap", "--config", f"/dev/fd/{reader}", "--", "printenv", "MANGOPAY_BASE_URL"],
        env=without_ports(upstream),
        pass_fds=(reader,),
        capture_output=True,
        check=True,
    )
    os.close(reader)
    assert run.stdout == f"http://127.0.0.1:{port}\n".encode()


def test_what_a_configuration_in_a_pipe_leaves_out_is_as_in_a_file(upstream: str) -> None:
    """It logs warnings and errors only, and takes a free port where the usual one is in use."""
    reader, writer = os.pipe()
    os.write(writer, b"[admin]\nport = 0\n")
    os.close(writer)
    unset = {"SIDECAR_LISTEN_PORT", "SIDECAR_ADMIN_PORT", "SIDECAR_LOG_LEVEL"}
    with taken(18080):
        run = subprocess.run(
            [COMMAND, "wrap", "--config", f"/dev/fd/{reader}", "--", "printenv", "MANGOPAY_BASE_URL"],
            env={name: value for name, value in settings(upstream).items() if name not in unset},
            pass_fds=(reader,),
            capture_output=True,
            check=True,
        )
    os.close(reader)
    assert run.stdout.strip() not in (b"http://127.0.0.1:18080", b"")
    assert {json.loads(line)["event"] for line in run.stderr.splitlines()} <= {"listener.moved", "config.emulator"}


def test_a_listener_on_every_address_is_given_as_loopback(upstream: str) -> None:
    assert base_url(environ=settings(upstream, SIDECAR_LISTEN_HOST="0.0.0.0")).startswith("http://127.0.0.1:")


def test_it_works_without_an_admin_port(upstream: str) -> None:
    assert base_url(environ=settings(upstream, SIDECAR_ADMIN_PORT="off")).startswith("http://127.0.0.1:")


# --- exit statuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shell", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -s KILL $$", 137), ("kill -s TERM $$", 143), ("kill -s INT $$", 130)],
)
def test_the_status_is_the_command_s_own(upstream: str, shell: str, status: int) -> None:
    assert ended("--", "sh", "-c", shell, environ=settings(upstream))[0] == status


def test_a_command_that_is_not_found_is_127_and_not_repeated(upstream: str) -> None:
    """It may be a key: people write NAME=VALUE in front of a command."""
    status, _, stderr = ended("--", f"MANGOPAY_API_KEY={CANARY_API_KEY}", "sh", environ=settings(upstream))
    assert status == 127
    assert "the command after -- is not found" in stderr
    assert CANARY_API_KEY not in stderr


@pytest.mark.parametrize("what", ["a file", "a directory", "no program"])
def test_a_command_that_cannot_be_run_is_126(upstream: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "command"
    if what == "a directory":
        file.mkdir()
    else:
        file.write_bytes(b"\x7fELF but not really")
        file.chmod(0o644 if what == "a file" else 0o755)
    status, _, stderr = ended("--", file, environ=settings(upstream))
    assert status == 126
    assert "the command after -- cannot be run" in stderr


@pytest.mark.parametrize(
    ("arguments", "more", "words"),
    [
        ([], {"SIDECAR_LISTEN_PROT": "1"}, "SIDECAR_LISTEN_PORT"),
        (["--config", "/nowhere.toml"], {}, "/nowhere.toml"),
        ([], {"SIDECAR_LISTEN_PORT": "off", "SIDECAR_LISTEN_UNIX_SOCKET": "s"}, "set SIDECAR_LISTEN_PORT to a port"),
        (["--prot"], {}, "no such option"),
        (["--timeout", "soon"], {}, "--timeout"),
    ],
)
def test_a_sidecar_that_cannot_start_is_125_and_one_line_and_the_command_is_not_run(
    upstream: str, arguments: list[str], more: dict[str, str], words: str
) -> None:
    status, stdout, stderr = ended(*arguments, "--", "echo", "ran", environ=settings(upstream, **more))
    assert (status, stdout) == (125, "")
    assert words in stderr
    assert stderr.count("\n") == 1


def test_a_port_in_use_is_125(upstream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        environ = settings(upstream, SIDECAR_LISTEN_PORT=port, SIDECAR_LISTEN_HOST="127.0.0.1")
        status, stdout, stderr = ended("--", "echo", "ran", environ=environ)
    assert (status, stdout) == (125, "")
    assert stderr.endswith(f"{in_use(port)}: set SIDECAR_LISTEN_PORT\n")


def test_no_command_is_125_and_one_line() -> None:
    status, _, stderr = ended(environ={})
    assert status == 125
    assert stderr == "missing argument 'CMD...': see mangopay-sidecar wrap --help\n"


def test_a_secret_among_the_options_is_not_repeated() -> None:
    status, _, stderr = ended(f"--api-key={CANARY_API_KEY}", "--", "echo", environ={})
    assert status == 125
    assert "a secret is never accepted as an argument" in stderr


def test_a_sidecar_that_is_not_ready_in_time_is_125_with_the_reason(without_token: str) -> None:
    status, stdout, stderr = ended("--timeout", "0.2", "--", "echo", "ran", environ=settings(without_token))
    assert (status, stdout) == (125, "")
    assert "the sidecar was not ready within 0.2 s (the first token is being fetched)" in stderr
