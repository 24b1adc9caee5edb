"""``init``: writes once, for its owner only, and says what comes next."""

from __future__ import annotations

import os
import stat
import subprocess
import tomllib
from pathlib import Path

from sidecar.config.render import render_example
from tests.support.sidecar import COMMAND, Command


def init(*arguments: str | Path) -> tuple[int, str, str]:
    with Command("init", *arguments) as command:
        return command.wait(), command.stdout, command.stderr


def test_the_example_is_written_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    status, stdout, stderr = init(file)
    assert (status, stderr) == (0, "")
    assert f"  mangopay-sidecar run --config {file}\n" in stdout
    assert file.read_text(encoding="utf-8") == render_example()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    tomllib.loads(file.read_text(encoding="utf-8"))


def test_the_default_is_sidecar_toml_in_the_working_directory(tmp_path: Path) -> None:
    run = subprocess.run([COMMAND, "init"], cwd=tmp_path, capture_output=True, check=False)
    assert run.returncode == 0
    assert b"mangopay-sidecar run --config sidecar.toml" in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["sidecar.toml"]


def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text("precious")
    status, stdout, stderr = init(file)
    assert (status, stdout) == (2, "")
    assert stderr == f"{file} exists already and is left as it is: name another file\n"
    assert file.read_text() == "precious"


def test_a_link_to_nowhere_is_not_written_through(tmp_path: Path) -> None:
    file, target = tmp_path / "sidecar.toml", tmp_path / "elsewhere"
    file.symlink_to(target)
    assert init(file)[0] == 2
    assert not target.exists()


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path) -> None:
    """Else the next try would find a file that is there already, cut off as it is."""
    shell = f"ulimit -f 1; trap '' XFSZ; exec '{COMMAND}' init"
    # Bytecode that is cut off, too, would be kept.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    full = subprocess.run(["sh", "-c", shell], cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert (full.returncode, full.stderr.count(b"\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    status, _, stderr = init(tmp_path / "none" / "sidecar.toml")
    assert status == 2
    assert stderr.startswith("cannot write ")
    assert stderr.count("\n") == 1


def test_the_next_command_can_be_pasted_whatever_the_name(tmp_path: Path) -> None:
    _, stdout, _ = init(tmp_path / "my config.toml")
    assert f"--config '{tmp_path}/my config.toml'\n" in stdout


def test_a_full_disk_behind_stdout_is_an_error_in_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run([COMMAND, "init", tmp_path / "x.toml"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert run.returncode == 1
    assert run.stderr == b"mangopay-sidecar: stdout: No space left on device: make room on that file system\n"
