"""The guards of the outer conftest can fail: a leaked secret, task, socket or child process is found, a hang ends."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import canary

_CARELESS = """
import asyncio, base64, logging, subprocess, sys
import pytest
from tests.support import canary

kept = []

def test_clean():
    print("all is well")

def test_prints_a_key():
    print("starting with", canary.CANARY_API_KEY)

def test_logs_a_token():
    logging.getLogger("x").warning("got %s", canary.CANARY_TOKEN + "123")

def test_shows_credentials():
    print(base64.b64encode(f"acme:{canary.CANARY_API_KEY}".encode()).decode(), file=sys.stderr)

def test_answers_a_key():
    canary.record("an answer", b"bad password: " + canary.CANARY_CALLER_KEY.encode())

async def test_clean_loop():
    await asyncio.sleep(0)

async def test_leaves_a_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

async def test_leaves_a_socket():
    kept.append(await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0))

@pytest.mark.any_loop
async def test_on_both_loops():
    print(type(asyncio.get_running_loop()).__module__)

@pytest.mark.any_loop
@pytest.mark.timeout(3)
async def test_hangs():
    await asyncio.Event().wait()

def test_leaves_a_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
"""


@pytest.mark.parametrize("before", ["", "a", "ab", "acme:", "client-7:"])
def test_a_key_is_found_inside_basic_credentials(before: str) -> None:
    text = base64.b64encode(f"{before}{canary.CANARY_EMBEDDED_KEY}".encode()).decode()

    assert canary.leaks(f"Authorization: Basic {text}") == ["the embedded API key"]


def test_ordinary_text_shows_nothing() -> None:
    assert canary.leaks('{"access_token": "sidecar_x", "event": "token.refreshed"}') == []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of a file of careless tests."""
    careless = tmp_path_factory.mktemp("careless") / "test_careless.py"
    careless.write_text(_CARELESS)
    options = ["-p", "tests.conftest", "-p", "no:randomly", "-p", "no:cacheprovider", "-rA", "--tb=line"]
    root = Path(__file__).parents[2]
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        root / "pyproject.toml",
        "--rootdir",
        root,
        *options,
        careless,
    ]
    # The child process that a test leaves behind ends when the pipe to it does, with that pytest run.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["COLUMNS"] = "200"
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return re.sub(r"\S*::(?=test_)", "", done.stdout)


@pytest.mark.parametrize(
    "line",
    [
        r"PASSED test_clean\n",
        r"FAILED test_prints_a_key - the API key shows in captured stdout call\n",
        r"FAILED test_logs_a_token - an access token shows in captured log call\n",
        r"FAILED test_shows_credentials - the API key shows in captured stderr call\n",
        r"(FAILED|ERROR) test_answers_a_key - the caller key shows in an answer\n",
        r"PASSED test_clean_loop\n",
        r"ERROR test_leaves_a_task - AssertionError: left behind by this test: task forgotten",
        r"ERROR test_leaves_a_socket - AssertionError: left behind by this test: socket \d+",
        r"PASSED test_on_both_loops\[asyncio\]\n",
        r"PASSED test_on_both_loops\[uvloop\]\n",
        r"FAILED test_hangs\[asyncio\] - Failed: Timeout",
        r"FAILED test_hangs\[uvloop\] - asyncio.exceptions.CancelledError: timed out after 2.7 s",
        r"FAILED: a child process was left behind: .*input\(\)\n",
    ],
)
def test_what_is_left_behind_is_reported(report: str, line: str) -> None:
    assert re.search(f"^{line}", report, re.MULTILINE), report
