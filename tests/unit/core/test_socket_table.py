"""Which socket keeps a port from being bound, by tables as Linux writes them."""

from __future__ import annotations

import pytest

from sidecar.core.socket_table import Holder, holders

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"


def line(local: str, state: str, uid: int, inode: int) -> str:
    remote = "00000000:0000" if len(local) < 20 else f"{'0' * 32}:0000"
    return (
        f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 {inode} "
        "1 0000000000000000 100 0 0 10 0"
    )


def table(*lines: str) -> str:
    return "\n".join([HEADING, *lines, ""])


#: 18080 and addresses as a little-endian machine writes them.
PORT = "46A0"
LOOPBACK, ANY, OTHER = "0100007F", "00000000", "0A01A8C0"
LOOPBACK_6, ANY_6 = f"{'0' * 24}01000000", "0" * 32
MAPPED = "0000000000000000FFFF00000100007F"


@pytest.mark.parametrize(
    ("local", "host", "in_the_way"),
    [
        (LOOPBACK, "127.0.0.1", True),
        (LOOPBACK, "0.0.0.0", True),
        (LOOPBACK, "127.0.0.2", False),
        (LOOPBACK, "::1", False),
        (LOOPBACK, "::", False),
        (ANY, "127.0.0.1", True),
        (ANY, "192.168.1.10", True),
        (ANY, "::1", False),
        (OTHER, "192.168.1.10", True),
        (OTHER, "127.0.0.1", False),
        (LOOPBACK_6, "::1", True),
        (LOOPBACK_6, "::", True),
        (LOOPBACK_6, "::1%lo", True),
        (LOOPBACK_6, "127.0.0.1", False),
        (ANY_6, "::1", True),
        (ANY_6, "127.0.0.1", True),
        (ANY_6, "0.0.0.0", True),
        (MAPPED, "127.0.0.1", True),
        (MAPPED, "::1", False),
    ],
)
def test_a_socket_is_in_the_way_of_its_own_address_and_of_every_address(
    local: str, host: str, in_the_way: bool
) -> None:
    found = holders(table(line(f"{local}:{PORT}", "0A", 1000, 77)), host, 18080, byteorder="little")
    assert found == ((Holder(77, 1000),) if in_the_way else ())


def test_a_big_endian_machine_writes_addresses_as_they_are() -> None:
    text = table(line(f"7F000001:{PORT}", "0A", 0, 5))
    assert holders(text, "127.0.0.1", 18080, byteorder="big") == (Holder(5, 0),)
    assert holders(text, "127.0.0.1", 18080, byteorder="little") == ()


def test_another_port_is_not_in_the_way() -> None:
    assert holders(table(line(f"{LOOPBACK}:46A1", "0A", 0, 5)), "127.0.0.1", 18080, byteorder="little") == ()


def test_who_listens_comes_before_who_is_only_connected_from_there() -> None:
    text = table(line(f"{LOOPBACK}:{PORT}", "01", 1, 4), line(f"{LOOPBACK}:{PORT}", "0A", 2, 9))
    assert holders(text, "127.0.0.1", 18080, byteorder="little") == (Holder(9, 2), Holder(4, 1))


def test_a_socket_that_nobody_has_open_any_more_is_nobody_s() -> None:
    """TIME_WAIT has the inode 0."""
    assert holders(table(line(f"{LOOPBACK}:{PORT}", "06", 0, 0)), "127.0.0.1", 18080, byteorder="little") == ()


@pytest.mark.parametrize(
    "text", ["", "\n", "   0: nonsense", f"  0: {LOOPBACK[:5]}:{PORT} x 0A 1 2 3 4 5 6 7", "a b:zz"]
)
def test_what_is_no_table_holds_nothing(text: str) -> None:
    assert holders(text, "127.0.0.1", 18080) == ()
