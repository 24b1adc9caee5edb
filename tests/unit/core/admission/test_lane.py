"""Which calls are of the batch lane: by their path, or because they say so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.admission.lane import LaneRules
from sidecar.core.admission.policy import Policy, Rule
from sidecar.core.errors import SidecarError
from sidecar.core.http.header_index import index_of
from sidecar.core.redact import mask_path

RULES = LaneRules(["GET /v2.01/*/reports/**", "* /v2.01/*/users/*/kyc/**", "POST /**/transfers"])
PLAIN = ((b"Host", b"localhost"),)


@pytest.mark.parametrize(
    ("method", "path", "batch"),
    [
        ("GET", "/v2.01/acme/reports", True),
        ("get", "/v2.01/acme/reports/12/", True),
        ("GET", "/V2_01/acme/Reports/12", True),
        ("GET", "/v2.01/acme/%72eports", True),
        ("POST", "/v2.01/acme/reports", False),
        ("GET", "/v2.01/acme/reportsandmore", False),
        ("PUT", "/v2.01/acme/users/12/kyc/documents", True),
        ("PUT", "/v2.01/acme/users/12/wallets", False),
        ("POST", "/v2.01/acme/transfers", True),
        ("POST", "/transfers", True),
        ("GET", "/v2.01/acme/users/reports", False),
        # Servers may read these in several ways: they are no call that was named.
        ("GET", "/v2.01/acme/reports%2f12", False),
        ("GET", "/v2.01/acme/reports;x", False),
        ("GET", "/v2.01/acme//reports", False),
    ],
)
def test_a_rule_is_compared_as_a_rule_of_policy_is(method: str, path: str, batch: bool) -> None:
    assert (RULES.lane(method, path, PLAIN) == "batch") is batch


@pytest.mark.parametrize(
    ("values", "lane"),
    [
        ((b"batch",), "batch"),
        ((b" Batch\t",), "batch"),
        ((b"normal",), None),
        ((b"NORMAL",), None),
        ((b"bulk",), "unknown"),
        ((b"\x0cbatch",), "unknown"),
        ((b"",), "unknown"),
        ((b"batch, normal",), "unknown"),
        ((b"normal", b"batch"), "batch"),
        ((b"bulk", b"batch"), "batch"),
        ((b"bulk", b"normal"), "unknown"),
    ],
)
@pytest.mark.parametrize("name", [b"X-Sidecar-Lane", b"x-sidecar-lane", b"X_Sidecar_Lane"])
def test_a_call_may_say_its_lane(name: bytes, values: tuple[bytes, ...], lane: str | None) -> None:
    raw = (*PLAIN, *((name, value) for value in values))
    assert LaneRules([]).lane("POST", "/v2.01/acme/payins/card/direct", raw) == lane


def test_a_rule_wins_over_what_a_call_says() -> None:
    for value in (b"normal", b"bulk"):
        assert RULES.lane("GET", "/v2.01/acme/reports", ((b"X-Sidecar-Lane", value),)) == "batch"


def test_a_header_index_that_is_known_is_not_made_again() -> None:
    index = index_of(((b"X-Sidecar-Lane", b""),))
    assert LaneRules([]).lane("GET", "/", ((b"X-Another", b"batch"),), index) == "batch"


def test_an_id_in_a_rule_says_nothing_of_a_masked_path() -> None:
    possible = LaneRules(["GET /v2.01/*/users/12"]).possible
    assert possible["GET", mask_path("/v2.01/acme/users/12")]
    assert not possible["GET", mask_path("/v2.01/acme/wallets/12")]


def test_what_is_known_of_masked_paths_is_bounded() -> None:
    possible = LaneRules(["GET /v2.01/*/reports"]).possible
    for number in range(1024):
        assert not possible["GET", f"/{number}"]
    assert len(possible) == 1024
    assert possible["GET", "/v2.01/{client}/reports"]
    assert len(possible) == 1


def test_a_rule_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not"):
        LaneRules(["reports"])


GLOB = st.sampled_from(["**", "*", "a*", "users", "*b*c", "V2.01", "reports", "12", "responses"])
GLOBS = st.lists(GLOB, min_size=1, max_size=5)
SEGMENT = st.sampled_from(["users", "USERS", "reports", "abc", "v2_01", "a%62c", "x", "responses", "12"])
PATHS = st.lists(SEGMENT, min_size=1, max_size=5)


@given(method=st.sampled_from(["*", "GET", "POST"]), glob=GLOBS, path=PATHS)
def test_a_rule_is_about_the_same_calls_as_in_a_policy(method: str, glob: list[str], path: list[str]) -> None:
    """Whoever the rule denies in a policy, it has in the batch lane; and nobody else."""
    rule, target = f"{method} /{'/'.join(glob)}", f"/{'/'.join(path)}"
    try:
        Policy.compile(False, ("* /**",), (rule,)).check("GET", target)
        denied = False
    except SidecarError:
        denied = True
    assert (LaneRules([rule]).lane("GET", target, PLAIN) == "batch") is denied


def test_the_anchors_of_a_rule_are_whole_segments_behind_the_client_id() -> None:
    anchors = {
        "* /v2.01/*/reports/**": {"reports"},
        "* /v2.01/*/users/*/kyc/doc*": {"users", "kyc"},
        "* /v2.01/*/**/transfers": {"transfers"},
        "* /**/transfers": set(),
        "* /**/a/b/c": {"c"},
        "* /v2.01/acme": set(),
        "* /v2.01/*/rep*": set(),
        "* /**": set(),
        "* /": set(),
    }
    assert {text: Rule.parse(text).anchors for text in anchors} == anchors


@pytest.mark.parametrize(
    ("method", "path", "possible"),
    [
        ("GET", "/v2.01/acme/reports/12", True),
        ("get", "/V2_01/acme/Reports", True),
        ("GET", "/v2.01/acme/clients", True),
        ("PUT", "/v2.01/acme/users/12/kyc", True),
        ("PUT", "/v2.01/acme/users/12/wallets", False),
        ("PUT", "/v2.01/acme/responses/kyc", True),
        ("PUT", "/v2.01/acme/" + "x/" * 200, True),
    ],
)
def test_most_calls_are_told_to_be_others_by_their_masked_path(method: str, path: str, possible: bool) -> None:
    rules = LaneRules(["GET /v2.01/*/reports/**", "GET /v2.01/*/cl*", "* /v2.01/*/users/*/kyc/**"])
    for _ in range(2):
        assert rules.possible[method, mask_path(path)] is possible


def test_what_is_kept_of_that_is_bounded() -> None:
    rules = LaneRules(["GET /v2.01/*/reports/**"])
    for number in range(3000):
        assert not rules.possible["GET", f"/v2.01/{{client}}/{number}"]
    assert len(rules.possible) <= 1024
    assert not LaneRules([]).possible["GET", "/v2.01/{client}/reports"]


@given(method=st.sampled_from(["*", "GET", "POST"]), glob=GLOBS, path=PATHS)
def test_no_call_of_the_batch_lane_is_told_to_be_another(method: str, glob: list[str], path: list[str]) -> None:
    rules, target = LaneRules([f"{method} /{'/'.join(glob)}"]), f"/{'/'.join(path)}"
    if rules.lane("GET", target, PLAIN) == "batch":
        assert rules.possible["GET", mask_path(target)] or "%" in target
