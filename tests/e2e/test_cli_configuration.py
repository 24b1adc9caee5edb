"""What a person sees who configures the sidecar wrongly, or tries it with options."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.canary import CANARY_API_KEY
from tests.support.ports import free_port
from tests.support.sidecar import COMMAND, Command

if TYPE_CHECKING:
    from pathlib import Path

WRONG = """\
[mangopay]
client_id = "acme"
apikey = "dummy"

[listen]
port = "18080"
host = []

[lissen]
port = 1

[log]
level = "warn"

[token]
store = "nowhere"
"""
UNREAD = "sidecar.toml in the working directory is not read: name it by --config sidecar.toml"
EXAMPLE = "[mangopay]\nclient_id = 'acme'\n"


def run(*arguments: str, directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environ |= {"PATH": os.environ["PATH"], "HOME": str(directory)}
    command = [str(COMMAND), *arguments]
    return subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=50, check=False)


def test_six_errors_are_six_lines_with_their_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "sidecar.toml").write_text(WRONG)
    ended = run("run", "--config", "sidecar.toml", directory=tmp_path, SIDECAR_MANGOPAY_API_KEY=CANARY_API_KEY)
    lines = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout, len(lines)) == (2, "", 6)
    assert sorted(int(line.split(":")[1]) for line in lines) == [3, 6, 7, 9, 13, 16]
    assert all(line.startswith("sidecar.toml:") for line in lines)


def test_a_file_in_the_working_directory_that_is_not_read_is_mentioned(tmp_path: Path) -> None:
    (tmp_path / "sidecar.toml").write_text(EXAMPLE)
    ended = run("run", directory=tmp_path, SIDECAR_MANGOPAY_API_KEY=CANARY_API_KEY)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0].startswith("mangopay.client_id is missing: ")
    assert ended.stderr.splitlines()[-1] == UNREAD


def test_check_mentions_it_too(tmp_path: Path) -> None:
    (tmp_path / "sidecar.toml").write_text(EXAMPLE)
    ended = run("check", "--offline", directory=tmp_path, SIDECAR_MANGOPAY_API_KEY=CANARY_API_KEY)
    assert ended.returncode == 2
    assert UNREAD in ended.stderr
    given = {"SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY, "SIDECAR_MANGOPAY_CLIENT_ID": "acme"}
    ended = run("check", "--offline", "--json", directory=tmp_path, **given)
    (step,) = [step for step in json.loads(ended.stdout)["steps"] if step["name"] == "config"]
    assert (ended.returncode, step["status"], step["code"]) == (0, "warning", "config_warning")
    assert UNREAD in step["detail"]


def test_one_that_is_read_is_not_mentioned(tmp_path: Path) -> None:
    (tmp_path / "sidecar.toml").write_text(EXAMPLE)
    for named in ({"SIDECAR_CONFIG": "sidecar.toml"}, {}):
        options = () if named else ("--config", "sidecar.toml")
        ended = run("run", *options, directory=tmp_path, **named)
        assert ended.returncode == 2
        assert "not read" not in ended.stderr


@pytest.mark.parametrize("name", ["--client-id", "--environment", "--port", "--admin-port", "--log-level"])
def test_a_bad_option_is_told_by_its_name(name: str, tmp_path: Path) -> None:
    ended = run("run", name, "{}", directory=tmp_path, SIDECAR_MANGOPAY_API_KEY=CANARY_API_KEY)
    assert ended.returncode == 2
    assert any(line.startswith((f"{name} is ", f"{name} has ")) for line in ended.stderr.splitlines())


def test_options_win_over_variables(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    with Command("emulator", "--port", "0") as emulator:
        environ = {
            "SIDECAR_MANGOPAY_BASE_URL": emulator.wait_for(r"^ready emulator=(\S+)$")[1],
            "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
            "SIDECAR_MANGOPAY_ENVIRONMENT": "production",
            "SIDECAR_MANGOPAY_CLIENT_ID": "other",
            "SIDECAR_LISTEN_PORT": "1",
            "SIDECAR_ADMIN_PORT": "2",
        }
        options = ["--client-id", "acme", "--environment", "emulator", "--port", str(port), "--log-level", "error"]
        with Command("run", *options, "--admin-port", str(admin), environ=environ) as sidecar:
            sidecar.wait_for(
                rf"^ready proxy=http://127.0.0.1:{port} admin=http://127.0.0.1:{admin} "
                "environment=emulator client_id=acme$"
            )
            assert sidecar.stop() == 0
            assert sidecar.stderr == ""
