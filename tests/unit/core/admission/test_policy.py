"""The policy: which methods and paths may be called, in whatever spelling."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.admission.policy import ALLOW_ALL, Policy, Rule
from sidecar.core.admission.target import parse_target
from sidecar.core.client_id import ClientIdRules
from sidecar.core.errors import ErrorCode, SidecarError


def policy(*, read_only: bool = False, allow: tuple[str, ...] = ALLOW_ALL, deny: tuple[str, ...] = ()) -> Policy:
    return Policy.compile(read_only, allow, deny)


def allows(rules: Policy, method: str, path: str) -> bool:
    try:
        rules.check(method, path)
    except SidecarError:
        return False
    return True


def denial(rules: Policy, method: str, path: str) -> str:
    with pytest.raises(SidecarError) as caught:
        rules.check(method, path)
    assert caught.value.code is ErrorCode.POLICY_DENIED
    return caught.value.message


# --- whether there is one


def test_the_defaults_are_no_policy() -> None:
    assert not policy().active


@pytest.mark.parametrize("allow", [("*  /**",), ("* /**/",)])
def test_another_spelling_of_the_default_is_no_policy_either(allow: tuple[str, ...]) -> None:
    assert not policy(allow=allow).active


@pytest.mark.parametrize(
    "rules",
    [policy(read_only=True), policy(deny=("DELETE /**",)), policy(allow=("GET /**",)), policy(allow=())],
    ids=["read_only", "deny", "allow", "allow nothing"],
)
def test_anything_else_is_a_policy(rules: Policy) -> None:
    assert rules.active


@pytest.mark.parametrize("path", ["/a%2fb", "/a//b", "/a;b", "/%25", "/%e9", "/a%5cb", "/."])
def test_without_a_policy_nothing_is_denied(path: str) -> None:
    policy().check("DELETE", path)


# --- methods


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read_only_lets_reading_pass(method: str) -> None:
    policy(read_only=True).check(method, "/v2.01/acme/users")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "post", "GETX"])
def test_read_only_denies_the_rest(method: str) -> None:
    assert "read_only" in denial(policy(read_only=True), method, "/v2.01/acme/users")


def test_a_rule_is_about_its_method_only() -> None:
    rules = policy(allow=("GET /v2.01/*/users",))
    assert allows(rules, "GET", "/v2.01/acme/users")
    assert not allows(rules, "HEAD", "/v2.01/acme/users")
    assert not allows(rules, "POST", "/v2.01/acme/users")


def test_methods_of_rules_and_requests_have_no_case() -> None:
    rules = policy(deny=("delete /**",))
    assert not allows(rules, "DELETE", "/x")
    assert not allows(rules, "DeLeTe", "/x")


# --- deny and allow


def test_deny_wins() -> None:
    rules = policy(allow=("* /v2.01/*/payouts/**",), deny=("POST /v2.01/*/payouts/**",))
    assert allows(rules, "GET", "/v2.01/acme/payouts/1")
    assert "policy.deny" in denial(rules, "POST", "/v2.01/acme/payouts/bankwire")


def test_what_no_rule_allows_is_denied() -> None:
    rules = policy(allow=("GET /v2.01/*/users/**", "POST /v2.01/*/wallets"))
    assert allows(rules, "POST", "/v2.01/acme/wallets")
    assert "policy.allow" in denial(rules, "GET", "/v2.01/acme/wallets")


def test_an_empty_allow_list_allows_nothing() -> None:
    assert not allows(policy(allow=()), "GET", "/")


def test_read_only_and_deny_work_together() -> None:
    rules = policy(read_only=True, deny=("* /v2.01/*/users/**",))
    assert allows(rules, "GET", "/v2.01/acme/wallets")
    assert not allows(rules, "GET", "/v2.01/acme/users/1")


# --- globs

GLOBS = [
    ("/**", "/", True),
    ("/**", "/a", True),
    ("/**", "/a/b/c", True),
    ("/", "/", True),
    ("/", "/a", False),
    ("/*", "/a", True),
    ("/*", "/", False),
    ("/*", "/a/b", False),
    ("/a", "/a", True),
    ("/a", "/A", True),
    ("/A", "/a", True),
    ("/a", "/a/", True),
    ("/a/", "/a", True),
    ("/a", "/ab", False),
    ("/a", "/a/b", False),
    ("/a/b", "/a", False),
    ("/a/*", "/a/b", True),
    ("/a/*", "/a", False),
    ("/a/*/c", "/a/b/c", True),
    ("/a/*/c", "/a/b/b/c", False),
    ("/a/**", "/a", True),
    ("/a/**", "/a/b/c", True),
    ("/a/**", "/ab", False),
    ("/a/**/c", "/a/c", True),
    ("/a/**/c", "/a/b/b/c", True),
    ("/a/**/c", "/a/b/c/d", False),
    ("/**/c", "/c", True),
    ("/**/c", "/a/c/b/c", True),
    ("/**/c", "/a/c/b", False),
    ("/**/a/*/c/**", "/x/a/a/b/c/d", True),
    ("/**/a/**/b/**/c", "/a/1/b/2/a/c", True),
    ("/**/a/**/b/**/c", "/a/1/c/2/b", False),
    ("/**/**", "/", True),
    ("/u*", "/users", True),
    ("/u*", "/u", True),
    ("/u*", "/wallets", False),
    ("/*s", "/users", True),
    ("/*s", "/user", False),
    ("/u*r*s", "/users", True),
    ("/u*r*s", "/uss", False),
    ("/a*a", "/a", False),
    ("/a*a", "/aa", True),
    ("/*ab*ab*", "/xabyabz", True),
    ("/*ab*ab*", "/xaby", False),
    ("/*ab*", "/ab", True),
    ("/*b*b*", "/xxb", False),
    ("/a*b", "/a/b", False),
    ("/v2.01/x", "/V2_01/x", True),
    ("/V2_01/x", "/v2.01/x", True),
    ("/v2.01/x", "/v2.01/v2_01", False),
    ("/v2.01/v2_01", "/v2.01/v2.01", False),
    ("/v*/x", "/v2.01/x", True),
    ("/a_b/x", "/a.b/x", False),
    ("/a*bc*c", "/abc", False),
    ("/a*bc*c", "/abcc", True),
]


@pytest.mark.parametrize(("glob", "path", "matches"), GLOBS)
def test_globs(glob: str, path: str, matches: bool) -> None:
    assert allows(policy(allow=(f"GET {glob}",)), "GET", path) is matches


def test_many_stars_are_cheap() -> None:
    rule = Rule.parse("GET /" + "**/a*a*a*b/" * 8 + "end")
    assert not rule.matches("GET", ("a" * 200,) * 30)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET",
        "/v2.01",
        "GET v2.01",
        "GET\t/v2.01",
        "G(T /v2.01",
        "GÉT /v2.01",
        "GET /a b",
        "GET /a%2fb",
        "GET /a?b",
        "GET /a#b",
        "GET /a;b",
        "GET /a\\b",
        "GET /é",
        "GET /a//b",
        "GET //",
        "GET /./a",
        "GET /a/..",
        "GET /a.",
        "GET /a\0",
        "GET /a**",
        "GET /**b/c",
        "GET /***",
    ],
)
def test_a_rule_that_could_never_match_is_a_mistake_and_says_so(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        policy(deny=(text,))
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/v2.01", 'is not "METHOD /path"'),
        ("GET /a%2fb", "write it decoded"),
        ("GET /a**", "it stands for whole segments only"),
    ],
)
def test_a_mistake_is_told_with_its_kind(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        policy(deny=(text,))


# --- not to be bypassed

DENY_PAYOUTS = policy(deny=("* /v2.01/*/payouts/**",))

BYPASSES = [
    "/v2.01/acme/payouts",
    "/v2.01/acme/payouts/",
    "/v2.01/acme/payouts/bankwire",
    "/v2.01/acme/PAYOUTS",
    "/V2.01/acme/PayOuts",
    "/V2_01/acme/payouts",
    "/v2_01/acme/payouts/x",
    "/v2%2e01/acme/payouts",
    "/v2%5f01/acme/payouts",
    "/%562.01/acme/payouts",
    "/v2.01/acme/%70ayouts",
    "/v2.01/acme/pay%4futs",
    "/v2.01/acme/payouts%2fbankwire",
    "/v2.01/acme%2fpayouts",
    "/v2.01/acme/payouts%2F",
    "/v2.01/acme/payouts//",
    "/v2.01//acme/payouts",
    "/v2.01/acme//payouts",
    "//v2.01/acme/payouts",
    "/v2.01/acme/payouts;a=b",
    "/v2.01/acme;a/payouts",
    "/v2.01/acme/payouts%3b",
    "/v2.01/acme/pay%256futs",
    "/v2.01/acme/%2570ayouts",
    "/v2.01/acme/payouts%",
    "/v2.01/acme/payouts%zz",
    "/v2.01/acme\\payouts",
    "/v2.01/acme%5cpayouts",
    "/v2.01/acme%5Cpayouts",
    "/v2.01/acme/payouts%00",
    "/v2.01/acme/payouts%0a",
    "/v2.01/acme/payouts%20",
    "/v2.01/acme/payouts.",
    "/v2.01/acme/payouts%2e/x",
    "/v2.01/acme/./payouts",
    "/v2.01/acme/x/%2e%2e/payouts",
    "/v2.01/acme/payouts%3fx",
    "/v2.01/acme/payouts%23x",
    "/v2.01/acme/pay\u00f6uts",
    "/v2.01/acme/pay%c3%b6uts",
    "/v2.01/acme/%ef%bd%90ayouts",
    "/v2.01/acme/payout%c5%bf",
]


@pytest.mark.parametrize("path", BYPASSES)
def test_a_denied_path_is_denied_in_every_spelling(path: str) -> None:
    denial(DENY_PAYOUTS, "POST", path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2.01/acme/users",
        "/v2.01/acme/payouts2",
        "/v2.01/acme/users/payouts",
        "/v2.01/acme/a%41%2d",
        "/v2.01/acme/*",
    ],
)
def test_other_paths_still_pass(path: str) -> None:
    DENY_PAYOUTS.check("POST", path)


def test_the_policy_sees_the_path_after_the_alias_swap() -> None:
    rules = policy(allow=("GET /v2.01/acme/users",))
    target = parse_target("GET", "/v2.01/%7BClientId%7D/users?x=//;%2f", ClientIdRules("acme", ("{ClientId}",)))
    rules.check("GET", target.path)


def test_a_denial_repeats_no_byte_of_the_request() -> None:
    for path in ("/canary", "/canary//x"):
        assert "canary" not in denial(policy(allow=()), "GET", path)


@pytest.mark.parametrize(
    "path",
    ["/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a%25b", "/a%b", "/a;b", "/a%3bb", "/a//b", "/a//", "/a\u00e9", "/a%e9"],
)
def test_what_servers_read_in_two_ways_is_refused_even_where_it_would_be_allowed(path: str) -> None:
    assert "send it plainly" in denial(policy(deny=("* /never",)), "GET", path)


SPELL = st.lists(st.sampled_from(["as is", "upper", "encode", "encode lower"]), min_size=40, max_size=40)


def spelled(path: str, ways: list[str]) -> str:
    out = []
    for character, way in zip(path, ways, strict=False):
        if character == "/" or way == "as is":
            out.append(character)
        elif way == "upper":
            out.append(character.upper())
        else:
            encoded = f"%{ord(character):02X}"
            out.append(encoded.lower() if way == "encode lower" else encoded)
    return "".join(out)


@given(SPELL, st.booleans(), st.booleans())
def test_no_mix_of_case_encoding_and_slashes_gets_around_a_denial(ways: list[str], slash: bool, old: bool) -> None:
    path = "/v2_01/acme/payouts/x1" if old else "/v2.01/acme/payouts/x1"
    assert not allows(DENY_PAYOUTS, "POST", spelled(path, ways) + "/" * slash)


@given(SPELL, st.booleans())
def test_nor_does_any_spelling_hide_an_allowed_path(ways: list[str], slash: bool) -> None:
    rules = policy(allow=("GET /v2.01/*/users/**",))
    assert allows(rules, "GET", spelled("/v2.01/acme/users/x1", ways) + "/" * slash)


@given(st.text(alphabet="payouts/.%25;2fF\\ A", max_size=14))
def test_whatever_passes_is_read_in_one_way_only(tail: str) -> None:
    path = "/v2.01/acme/" + quote(tail, safe="/%;\\ .")
    if allows(DENY_PAYOUTS, "POST", path):
        assert "//" not in path
        assert not set(";\\ ") & set(path)
        assert "%25" not in path
        assert "%2f" not in path.lower()
        assert not path.lower().startswith(("/v2.01/acme/payouts/", "/v2.01/acme/payouts%"))
        assert path.lower().rstrip("/") != "/v2.01/acme/payouts"
