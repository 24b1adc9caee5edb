"""``completion``: the printed scripts, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.test_cli_usage import COMMANDS, ended
from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import COMMAND

#: In each shell: load the script, complete the last word, and print what is offered, a line each.
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_mangopay_sidecar_completion mangopay-sidecar
printf '%s\\n' "${COMPREPLY[@]}"
complete -p mangopay-sidecar
"""
ZSH = """
autoload -Uz compinit && compinit -u -d "$HOME/.zcompdump"
source "$1"; shift
compadd() { print -rl -- "${(@P)@[-1]}" }
_describe() { print -rl -- "${(@P)3}" }
words=("$@"); CURRENT=$#
_mangopay_sidecar_completion
print -r -- "complete $_comps[mangopay-sidecar]"
"""
FISH = """
source $argv[1]
complete --do-complete "$argv[2..]"
complete --command mangopay-sidecar
"""
SHELLS = ("bash", "zsh", "fish")


@cache
def script(shell: str) -> str:
    """Print the script; neither a configuration nor a secret is read for it."""
    environ = {
        "SIDECAR_CONFIG": "/nowhere.toml",
        "SIDECAR_LISTEN_PROT": "1",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
    }
    status, stdout, stderr = ended("completion", shell, environ=environ)
    assert (status, stderr) == (0, "")
    return stdout


def offered(shell: str, words: list[str], directory: Path) -> list[str]:
    """Return what the shell is offered for the last of ``words``."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} is installed: its completion is not tried")
    path = directory / "script"
    path.write_text(script(shell))
    options = {"bash": ["--norc", "-c", BASH, "bash"], "zsh": ["-f", "-c", ZSH, "zsh"], "fish": ["-N", "-c", FISH]}
    given = words if shell != "fish" else [" ".join(words)]
    environ = {"PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}", "HOME": str(directory), "TERM": "dumb"}
    command = [found, *options[shell], str(path), *given]
    ended = subprocess.run(command, env=environ, cwd=directory, capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [line.partition("\t")[0].partition(":")[0] for line in ended.stdout.splitlines() if line]
    assert any("mangopay" in line and line.startswith("complete") for line in ended.stdout.splitlines()), ended.stdout
    return [line for line in lines if not line.startswith("complete ")]


#: What is offered for the last of some words.
OFFERED = [
    ([""], {*COMMANDS}),
    (["run", "--environment", "p"], {"production"}),
    (["st"], {"status"}),
    (["nothing"], set[str]()),
    (["nothing", "sta"], {"status"}),
    (["status", "--j"], {"--json"}),
    (["completion", ""], {*SHELLS}),
]


@pytest.mark.parametrize(
    ("shell", "words", "expected"),
    # click decides what is offered, in the same way for each shell: one is asked for all of it.
    [(shell, *case) for shell in SHELLS for case in (OFFERED if shell == "bash" else OFFERED[:2])],
)
def test_each_shell_is_offered_what_there_is(shell: str, words: list[str], expected: set[str], tmp_path: Path) -> None:
    assert set(offered(shell, ["mangopay-sidecar", *words], tmp_path)) == expected


def test_another_shell_is_refused() -> None:
    status, stdout, stderr = ended("completion", "tcsh")
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert "'bash', 'zsh', 'fish'" in stderr


def test_completing_a_command_s_name_imports_no_command() -> None:
    code = (
        "import os, sys; os.environ |= {'_MANGOPAY_SIDECAR_COMPLETE': 'bash_complete', 'COMP_CWORD': '1', "
        "'COMP_WORDS': 'mangopay-sidecar'}\n"
        "from sidecar.cli.group import invoke\n"
        "try: invoke([])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print([name for name in sys.modules if name.startswith(('sidecar.app', 'sidecar.cli.run', 'asyncio'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stdout.decode().splitlines()[-1] == "[]", done.stderr
