"""The documents' fenced blocks: which there are, and the shell session that tries the commands of one page.

``<!-- tried: NAME -->`` above a block puts it into the session of that name of its page; the blocks of a session run
one after the other in one shell, as a reader would.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]
#: Every document for people, by its path.
PAGES: Final = tuple(
    sorted(
        str(path.relative_to(PROJECT))
        for place in ("*.md", "docs/*.md", "benchmarks/*.md", "deploy/prometheus/*.md", "tests/*.md")
        for path in PROJECT.glob(place)
    )
)
DEPLOY: Final = "docs/deploy.md"
_BLOCK: Final = re.compile(r"(?:^ *<!-- tried: ([a-z-]+) -->\n)?^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
#: A command that serves until it is stopped, and is not sent to the background.
_SERVES: Final = re.compile(r"((?:\w+=\S+ )*)(mangopay-sidecar (?:run|demo|emulator)\b[^&]*)")
_EMULATOR: Final = """
mangopay-sidecar emulator >emulator.out &
until grep ready emulator.out; do sleep 0.05; done
"""
_ACCOUNT: Final = f"""
{_EMULATOR}
export SIDECAR_MANGOPAY_BASE_URL=http://127.0.0.1:18090
"""
#: What holds before the first line of a session: a Mangopay that the machine can reach, and an editor.
BEFORE: Final = {
    (DEPLOY, "account"): _ACCOUNT,
    ("README.md", "account"): f"""
{_ACCOUNT}
cat >api-key
cat >edit <<'EDIT'
#!/bin/sh
sed -i -e 's/^# client_id = .*/client_id = "acme"/' -e 's/^# api_key_file = .*/api_key_file = "api-key"/' "$1"
EDIT
chmod +x edit
export EDITOR=./edit
""",
    ("README.md", "variables"): f"{_ACCOUNT}\ncat >api-key",
    ("README.md", "tests"): """
echo 'import os; from urllib.request import urlopen' >test_app.py
echo 'def test_users(): assert urlopen(os.environ["MANGOPAY_BASE_URL"] + "/v2.01/_/users").status == 200' >>test_app.py
""",
    ("docs/configuration.md", "least"): f"{_ACCOUNT}\ncat >api-key",
    ("docs/troubleshooting.md", "check"): f"""
{_ACCOUNT}
cat >api-key
printf '[mangopay]\\nclient_id = "acme"\\napi_key_file = "api-key"\\n' >sidecar.toml
""",
}  # fmt: skip
#: Starts what serves, in place of the one before, and returns once it does.
_BEGIN: Final = """
set -eu
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
serve() {
  if [ -n "${server-}" ]; then kill "$server"; wait "$server" || true; fi
  "$@" & server=$!
  case "$2" in
    emulator) until curl --silent --output /dev/null http://127.0.0.1:18090/; do sleep 0.05; done ;;
    *) mangopay-sidecar wait ;;
  esac
}
"""
_END: Final = """
echo '@@@ end'
for job in $(jobs -p); do kill "$job"; wait "$job"; done
echo stopped
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the session that tries it."""

    language: str
    text: str
    session: str | None


def text_of(page: str) -> str:
    return (PROJECT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    found = []
    for session, indent, language, text in _BLOCK.findall(text_of(page)):
        found.append(Block(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE), session or None))
    return found


def tried(page: str, session: str) -> list[Block]:
    return [block for block in blocks(page) if block.session == session]


def steps(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block, and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def commands(block: Block) -> list[list[str]]:
    """The words of each simple command, if it is a console block."""
    if block.language != "console":
        return []
    lines = [command for command, _ in steps(block.text)]
    return [shlex.split(part) for line in lines for part in re.split(r" && | \|\| |&$", line) if part.strip()]


def session_steps(page: str, session: str) -> list[tuple[str, list[str]]]:
    return [step for block in tried(page, session) for step in steps(block.text)]


def serves(command: str) -> bool:
    """Whether what it prints may come later than the next command."""
    return command.endswith("&") or _SERVES.fullmatch(command) is not None


def script(page: str, session: str) -> str:
    """One shell session of all blocks: a marker before each command, and at the end everything in it is stopped."""
    lines = [_BEGIN, BEFORE.get((page, session), "")]
    for number, (command, _) in enumerate(session_steps(page, session)):
        server = _SERVES.fullmatch(command)
        lines += [f"echo '@@@ {number}'", f"{server[1]}serve {server[2]}" if server else command]
    return "\n".join([*lines, _END])


def said(pattern: list[str], output: str) -> bool:
    """Tell whether the lines are there, in this order; … stands for anything."""
    anything = [re.escape(line).replace("…", ".*") for line in pattern]
    return re.search(r"[\s\S]*?".join(f"^{line}$" for line in anything), output, re.MULTILINE) is not None


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name == "LANG" or name.startswith("COVERAGE_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "HOME": str(home), "PYTHONPATH": str(PROJECT)}
