"""The command line itself: help, version, and mistakes told in one line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.native import version
from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import COMMAND, Command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMMANDS = ["run", "demo", "check", "wrap", "wait", "status", "reconcile", "init", "csr", "emulator", "completion"]


def ended(*arguments: str | Path, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command that ends by itself; return status, stdout and stderr."""
    with Command(*arguments, environ=environ) as command:
        return command.wait(), command.stdout, command.stderr


def test_version() -> None:
    assert ended("--version") == (0, f"mangopay-sidecar {version()}\n", "")


def test_python_m_sidecar_is_the_same_command() -> None:
    run = subprocess.run([sys.executable, "-m", "sidecar", "--version"], capture_output=True, check=True)
    assert run.stdout.decode() == f"mangopay-sidecar {version()}\n"


def test_help_lists_every_command() -> None:
    status, stdout, stderr = ended("--help")
    assert (status, stderr) == (0, "")
    assert all(f"\n  {name} " in stdout for name in COMMANDS)


def test_alone_it_shows_its_help_and_exits_as_a_usage_error() -> None:
    status, stdout, stderr = ended()
    assert (status, stdout) == (2, "")
    assert stderr == ended("--help")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    status, stdout, stderr = ended(name, "--help")
    assert (status, stderr) == (0, "")
    assert stdout.startswith(f"Usage: mangopay-sidecar {name}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["statsu"], "no such command (did you mean status?)"),
        (["quit"], f"no such command (there are {', '.join(COMMANDS)})"),
        (["run", "--prot", "1"], "no such option"),
        (["demo", "--port", "seventy"], "--port"),
        (["demo", "--port", "65536"], "--port"),
        (["status", "--port", "-1"], "give a number from 0 to 65535"),
        (["wait", "--timeout", "nan"], "give a number of seconds, 0 or more"),
        (["wait", "--timeout", "-1"], "give a number of seconds, 0 or more"),
        (["completion"], "Choose from: bash, zsh, fish"),
        (["emulator", "--fault", "explode"], "no such fault"),
        (["emulator", "--set", "expires_in"], "not NAME=VALUE"),
        (["emulator", "--set", "nothing=1"], "nothing"),
        (["run", "surplus"], "more arguments than the command takes"),
        (["run", "--config"], "--config"),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(arguments: list[str], words: str) -> None:
    status, stdout, stderr = ended(*arguments)
    assert (status, stdout) == (2, "")
    assert words in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--api-key", CANARY_API_KEY],
        ["run", f"--api-key={CANARY_API_KEY}"],
        ["run", f"--mangopay-api-key={CANARY_API_KEY}"],
        ["demo", "--caller-key", CANARY_API_KEY],
        ["--token", CANARY_API_KEY, "run"],
    ],
)
def test_a_secret_is_never_accepted_as_an_argument_nor_repeated(arguments: list[str]) -> None:
    status, _, stderr = ended(*arguments)
    assert status == 2
    assert "a secret is never accepted as an argument: set SIDECAR_MANGOPAY_API_KEY_FILE" in stderr
    assert CANARY_API_KEY not in stderr


@pytest.mark.parametrize("arguments", [["run", CANARY_API_KEY], [CANARY_API_KEY], ["init", "x.toml", CANARY_API_KEY]])
def test_a_secret_in_the_wrong_place_is_not_repeated(arguments: list[str], tmp_path: Path) -> None:
    status, stdout, stderr = ended(*(str(tmp_path / each) if each.endswith(".toml") else each for each in arguments))
    assert status == 2
    assert CANARY_API_KEY not in stdout + stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_nobody_reading_is_no_crash(arguments: list[str]) -> None:
    process = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == b""
    process.wait(30)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_crash(redirection: str) -> None:
    run = subprocess.run(f"'{COMMAND}' --version {redirection}", shell=True, capture_output=True, check=False)
    assert run.returncode == 0
    assert run.stderr == b""


def test_starting_a_small_command_imports_nothing_heavy() -> None:
    """Neither the event loop nor aiohttp, and never rich, which structlog would take where it finds it."""
    code = (
        "import sys, sidecar.cli.group, sidecar.cli.init;"
        "sys.exit(' '.join(n for n in ('asyncio', 'aiohttp', 'structlog', 'rich') if n in sys.modules) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("wrap", "--help")])
def test_a_locale_that_lacks_a_character_is_no_bug(arguments: tuple[str, ...]) -> None:
    with Command(*arguments, environ={"PYTHONIOENCODING": "ascii"}) as command:
        assert (command.wait(), command.stderr) == (0, "")
        assert "Exits with" in command.stdout or "Commands:" in command.stdout


def test_rich_is_not_imported_for_run() -> None:
    """It costs 40 ms and 5 MiB, to paint tracebacks that are never shown."""
    pytest.importorskip("rich")
    code = (
        "import sys; from sidecar.cli.group import invoke; invoke(['run', '--help']);"
        'sys.exit(f\'{"structlog" in sys.modules} {"rich" in sys.modules}\')'
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.stderr == b"True False\n"


@pytest.mark.parametrize("command", [("run",), ("wrap", "--emulator", "--", "true")], ids=lambda command: command[0])
def test_aiohttp_without_its_parser_in_c_is_told_with_what_to_do_and_not_as_a_bug(command: tuple[str, ...]) -> None:
    """The one in Python lets requests pass that can be read in two ways."""
    environ = {
        "AIOHTTP_NO_EXTENSIONS": "1",
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_TOKEN_PREFETCH": "false",
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "off",
        "SIDECAR_LOG_LEVEL": "error",
    }
    with Command(*command, environ=environ, measured=True) as process:  # aiohttp looks at it once, when it is imported
        assert process.wait() == (1 if command[0] == "run" else 125)
        (line,) = process.stderr.splitlines()
    assert line.startswith("aiohttp has no C extensions (AIOHTTP_NO_EXTENSIONS is set)")
    assert ": unset AIOHTTP_NO_EXTENSIONS" in line
