"""Many lines, one story."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.core.reconciliation.log_lines import UncertainCall
from sidecar.core.reconciliation.writes import group_writes

KEY = "0123456789abcdef"


def call(identifier: str, started: float, **changes: Any) -> UncertainCall:
    fields: dict[str, Any] = {
        "environment": "sandbox",
        "method": "POST",
        "path": "/v2.01/{client}/payins",
        "ended": started + 60,
        "key": KEY,
        **changes,
    }
    return UncertainCall(id=identifier, started=started, **fields)


def ids(*calls: UncertainCall) -> list[list[str]]:
    return [[each.id for each in write.tries] for write in group_writes(calls)]


def test_the_tries_with_one_key_are_one_write_whatever_pod_made_them() -> None:
    assert ids(call("b", 20.0), call("a", 10.0), call("c", 5.0, key=KEY + "1")) == [["c"], ["a", "b"]]


def test_a_line_that_was_read_twice_is_one_try() -> None:
    assert ids(call("a", 10.0), call("a", 10.0), call("b", 20.0)) == [["a", "b"]]


def test_one_id_on_different_calls_hides_none_of_them() -> None:
    """A log is text from elsewhere: no line may take another payment's line away."""
    others = call("a", 2.0, key=KEY + "1"), call("a", 3.0, path="/v2.01/{client}/payouts")
    assert ids(call("a", 1.0), *others) == [["a"], ["a"], ["a"]]
    assert ids(call("a", 1.0, key=None), call("a", 2.0, key=None, method="PUT")) == [["a"], ["a"]]
    assert ids(call("a", 1.0, key=None), call("a", 1.0, key=None)) == [["a"]]


def test_calls_without_a_key_are_writes_of_their_own() -> None:
    assert ids(call("a", 1.0, key=None), call("b", 2.0, key=None)) == [["a"], ["b"]]


def test_a_key_on_another_path_or_in_another_environment_is_another_write() -> None:
    first = call("a", 1.0)
    other_path = call("b", 2.0, path="/v2.01/{client}/payouts")
    elsewhere = call("c", 3.0, environment="production")
    same = call("d", 4.0, path="/V2_01/{client}/PayIns/")
    assert ids(first, other_path, elsewhere, same) == [["a", "d"], ["b"], ["c"]]


def test_a_write_began_with_its_first_try_and_ended_with_its_last() -> None:
    (write,) = group_writes([call("b", 20.0, ended=21.0), call("a", 10.0, ended=90.0)])
    assert (write.first.id, write.ended) == ("a", 90.0)
    assert msgspec.structs.asdict(write)["tries"][0].started == 10.0
