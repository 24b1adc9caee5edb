"""Where commands ask the running sidecar, and what they say if nobody answers there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.cli.command import CommandError, admin_address

if TYPE_CHECKING:
    from pathlib import Path

UNREAD = "sidecar.toml in the working directory is not read: name it by --config sidecar.toml"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_whoever_configures_nothing_is_told_the_variable() -> None:
    address = admin_address(None, None)
    assert address.port == 19090
    assert address.nobody().endswith(": start one with mangopay-sidecar run, or set SIDECAR_ADMIN_PORT")
    assert address.nobody(";").startswith("no sidecar answers on admin port 19090; start one")


def test_whoever_names_a_port_is_told_the_option(tmp_path: Path) -> None:
    """No configuration counts then, so none is mentioned, and no variable."""
    (tmp_path / "sidecar.toml").write_text("")
    assert admin_address(None, 7).nobody().endswith("run, or give another --port")


def test_a_file_that_was_not_read_is_mentioned(tmp_path: Path) -> None:
    """Another port may stand in it, at which a sidecar answers."""
    (tmp_path / "sidecar.toml").write_text("[admin]\nport = 19999\n")
    assert admin_address(None, None).nobody().endswith(f"; {UNREAD}")


def test_a_file_that_is_named_is_read(tmp_path: Path) -> None:
    (tmp_path / "sidecar.toml").write_text("[admin]\nport = 19999\n")
    with pytest.raises(CommandError, match=r"mangopay\.client_id is missing"):
        admin_address(tmp_path / "sidecar.toml", None)
