"""Every command that a document prints is run as it stands there, or named here with the reason why not."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.config.model import SETTINGS
from tests.deploy.conftest import not_to_be_had
from tests.deploy.documents import (
    PAGES,
    PROJECT,
    blocks,
    commands,
    environment,
    said,
    script,
    serves,
    session_steps,
    steps,
)
from tests.deploy.network import isolated
from tests.support import canary
from tests.support.canary import CANARY_API_KEY

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS: Final = sorted(
    {(page, block.session) for page in PAGES for block in blocks(page) if block.session and block.language == "console"}
)
#: Programs that are not on every machine, or need more than one: why a block with one of them is not run.
ELSEWHERE: Final = {
    "docker": "needs an engine; test_docs.py reads its settings, test_compose*.py play the files",
    "kubectl": "needs a cluster; test_docs.py runs what needs none, test_kubernetes*.py render and start the pods",
    "helm": "needs a cluster; test_docs.py renders what is installed, test_helm.py the chart",
    "systemctl": "needs systemd as process 1; test_systemd.py runs the service as it says",
    "pipx": "needs a registry; .ci/run installs by uvx, which does the same",
}  # fmt: skip
#: Blocks that are not run though the machine has the programs, by page and how the first command begins: the file
#: that does the same, and what it says there.
UNTRIED: Final = {
    ("README.md", "uvx --from . mangopay-sidecar demo"): (".ci/run", "--from . mangopay-sidecar demo"),
    ("README.md", "make demo"): (".ci/run", "make --silent demo"),
    ("CONTRIBUTING.md", "make setup"): (".ci/run", "\nmake setup\n"),
    ("docs/testing.md", "uvx --from . --with pytest mangopay-sidecar wrap"): (
        "tests/deploy/test_example_app.py", r"uvx --from \. --with pytest",
    ),
    ("docs/testing.md", "mangopay-sidecar wrap --emulator -- npm test"): (
        "tests/deploy/test_example_app.py", "test_in_another_language_it_takes_two_variables",
    ),
    ("CONTRIBUTING.md", "python3 -m venv build/venv"): (
        "Makefile", "SIDECAR_COMPILE=1 $(COMPILED)/bin/python -m pip wheel",
    ),
    ("docs/observability.md", "SIDECAR_TRACING_OTLP_ENDPOINT=http://127.0.0.1:4318 mangopay-sidecar run"): (
        "tests/e2e/test_cli_traces.py", "OTLP_ENDPOINT",
    ),
    ("docs/reconcile.md", "mangopay-sidecar reconcile --log /var/log/mangopay-sidecar.log"): (
        "tests/wire/test_reconcile.py", "what it tells",
    ),
    ("docs/reconcile.md", "sudo sh -c"): (
        "tests/wire/test_reconcile.py", "test_the_line_for_systemd_asks_at_the_socket_of_the_unit",
    ),
}  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("page", "session"), SESSIONS)
def test_what_stands_there_works(page: str, session: str, tmp_path: Path, curl: str) -> None:
    can = subprocess.run(isolated("true"), env=environment(tmp_path), capture_output=True, text=True, check=False)
    if can.returncode:
        not_to_be_had(f"no network of one's own to be had: {can.stderr.strip()}")
    done = subprocess.run(
        isolated("bash", "-c", script(page, session)),
        cwd=tmp_path,
        env=environment(tmp_path),
        input=CANARY_API_KEY,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    canary.record("the session's output", done.stdout + done.stderr)
    assert (done.returncode, done.stdout[-8:]) == (0, "stopped\n"), done.stdout + done.stderr
    for number, (command, expected) in enumerate(session_steps(page, session)):
        output = done.stdout.partition(f"@@@ {number}\n")[2]
        if not serves(command):  # what runs beside the others prints when it likes
            output = output.partition("@@@")[0]
        assert said(expected, output), f"{command}\nprinted\n{output}\nand not\n{expected}"


@pytest.mark.parametrize("page", PAGES)
def test_a_block_of_commands_that_is_not_run_has_a_reason(page: str) -> None:
    for block in blocks(page):
        if block.language != "console" or block.session is not None:
            continue
        named = any(begins(block.text).startswith(command) for where, command in UNTRIED if where == page)
        assert named or ELSEWHERE.keys() & {words[0] for words in commands(block)}, block.text


@pytest.mark.parametrize(("page", "command"), UNTRIED)
def test_what_is_run_in_another_place_is(page: str, command: str) -> None:
    assert any(begins(block.text).startswith(command) for block in blocks(page) if block.language == "console")
    path, words = UNTRIED[page, command]
    assert words in (PROJECT / path).read_text(encoding="utf-8")


def begins(text: str) -> str:
    """A console block's first command, without its comment."""
    return steps(text)[0][0].partition("  #")[0].rstrip()


@pytest.mark.parametrize("page", PAGES)
def test_commands_stand_in_console_blocks_alone(page: str) -> None:
    """Elsewhere no test would see them."""
    programs = "mangopay-sidecar|curl|make|uvx|docker|kubectl|helm|python3?|pip|journalctl"
    command = re.compile(rf"^(\$ |(\w+=\S+ )*({programs})( |$))", re.MULTILINE)
    assert [block.text for block in blocks(page) if block.language != "console" and command.search(block.text)] == []


@pytest.mark.parametrize(
    ("page", "text"), [(page, b.text) for page in PAGES for b in blocks(page) if b.language == "toml"]
)
def test_a_configuration_that_is_shown_has_known_keys(page: str, text: str) -> None:
    known = {setting.name for setting in SETTINGS}
    known |= {f"{name}_file" for name in known}
    shown = {f"{section}.{key}" for section, values in tomllib.loads(text).items() for key in values}
    assert shown
    assert shown <= known
