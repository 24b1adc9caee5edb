"""Who has a port, by a /proc that a test has made, and by this machine's own."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.downstream import holder
from tests.support.port_holder import held_by
from tests.unit.core.test_socket_table import LOOPBACK, PORT, line, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the tables are those of a little-endian machine")

UID = 1000
COMMAND_LINE = b"nginx\0--key=canary-in-a-command-line\0"


class Proc:
    """A /proc with one socket at 127.0.0.1:18080, of user 1000, whose inode is 77."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "net").mkdir()
        (root / "net" / "tcp").write_text(table(line(f"{LOOPBACK}:{PORT}", "0A", UID, 77)))
        (root / "version").write_text("not a process")

    def process(
        self, pid: int, comm: bytes, sockets: Mapping[int, int] | None = None, uid: int = UID, *, shut: bool = False
    ) -> None:
        """Add a process; ``shut``: its descriptors cannot be looked at."""
        directory = self.root / str(pid)
        directory.mkdir()
        (directory / "comm").write_bytes(comm + b"\n")
        (directory / "cmdline").write_bytes(COMMAND_LINE)
        (directory / "status").write_text(f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t1\t1\t1\t1\n")
        if not shut:
            (directory / "fd").mkdir()
            for number, inode in (sockets or {}).items():
                (directory / "fd" / str(number)).symlink_to(f"socket:[{inode}]")

    def who(self, host: str = "127.0.0.1", port: int = 18080) -> str:
        return holder.of_port(host, port, proc=self.root)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_the_process_that_has_the_socket_open_is_named(proc: Proc) -> None:
    proc.process(811, b"postgres", {3: 76})
    proc.process(812, b"nginx", {0: 1, 6: 77})
    assert proc.who() == "by nginx, pid 812"


def test_a_sidecar_s_name_is_told_whole_though_the_kernel_keeps_15_characters(proc: Proc) -> None:
    proc.process(812, b"mangopay-sideca", {6: 77})
    assert proc.who() == "by mangopay-sidecar, pid 812"


def test_of_a_name_only_what_can_be_printed_is_told_and_nothing_of_the_command_line(proc: Proc) -> None:
    proc.process(812, b"a\x1b[2J\nb\xff\xe2\x80\xaec", {6: 77})
    who = proc.who()
    assert who.isprintable()
    assert who == "by a?[2J?b???c, pid 812".replace("???", "\ufffd?")


def test_another_port_or_address_is_nobody_s(proc: Proc) -> None:
    proc.process(812, b"nginx", {6: 77})
    assert (proc.who(port=18081), proc.who("127.0.0.2"), proc.who("::1")) == ("", "", "")


def test_a_process_whose_descriptors_are_shut_is_not_guessed(proc: Proc) -> None:
    proc.process(812, b"nginx", shut=True)
    assert proc.who() == ""


def test_but_the_sidecars_of_the_socket_s_owner_are_the_likely_ones(proc: Proc) -> None:
    """Their memory, and so their descriptors, are kept from all but root."""
    proc.process(900, b"mangopay-sideca", shut=True)
    proc.process(812, b"mangopay-sideca", shut=True)
    proc.process(813, b"mangopay-sideca", uid=UID + 1, shut=True)
    proc.process(814, b"nginx", shut=True)
    proc.process(os.getpid(), b"mangopay-sideca", shut=True)
    assert proc.who() == "probably by mangopay-sidecar, pid 812 or 900"


def test_without_a_proc_nothing_is_known(tmp_path: Path) -> None:
    assert holder.of_port("127.0.0.1", 18080, proc=tmp_path / "none") == ""


def test_a_process_that_has_just_ended_is_passed_over(proc: Proc) -> None:
    (proc.root / "812").mkdir()
    assert proc.who() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_this_machine_tells_the_same(host: str, family: socket.AddressFamily) -> None:
    with socket.create_server((host, 0), family=family) as mine:
        assert holder.of_port(host, mine.getsockname()[1]) == held_by()


def test_who_serves_a_unix_socket_is_told_by_the_connection(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as caller:
        live.bind(str(tmp_path / "s"))
        live.listen()
        caller.connect(str(tmp_path / "s"))
        assert holder.of_unix_socket(caller) == held_by()
        assert holder.of_unix_socket(caller, proc=tmp_path) == ""


def test_a_socket_that_cannot_tell_is_nobody_s() -> None:
    closed = socket.socket(socket.AF_UNIX)
    closed.close()
    assert holder.of_unix_socket(closed) == ""
