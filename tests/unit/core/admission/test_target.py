"""The request target: byte for byte or not at all."""

from __future__ import annotations

import pytest

from sidecar.core.admission.target import Target, parse_target
from sidecar.core.admission.target_verdict import Route, Rule
from sidecar.core.client_id import ClientIdRules
from sidecar.core.errors import ErrorCode, SidecarError

RULES = ClientIdRules("acme", ("{ClientId}", "_"))


def parse(raw: str, method: str = "GET", rules: ClientIdRules = RULES) -> Target:
    return parse_target(method, raw, rules)


def refusal(raw: str, method: str = "GET") -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        parse(raw, method)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value


@pytest.mark.parametrize(
    ("raw", "method", "closes"), [("/a/../b", "GET", False), ("/a b", "GET", False), ("/", "CONNECT", True)]
)
def test_only_after_a_method_that_would_change_the_connection_is_it_closed(raw: str, method: str, closes: bool) -> None:
    assert refusal(raw, method).close is closes


# --- forwarded byte for byte

UNTOUCHED = [
    "/v2.01/acme/users/natural/user_m_00001001",
    "/v2.01/acme/users?page=1&per_page=2",
    "/v2.01/acme/users?",
    "/v2.01/acme/users?a=&b&&=c",
    "/v2.01/acme/users?next=//evil.example/../x;y=%2e%2e",
    "/v2.01/acme/users?q=a?b?c",
    "/v2.01/acme/payins/card/web/",
    "/v2.01/acme/responses//fc986db9-7b41-4710-83d7-6e3c0a978b6c",  # the PHP SDK's own spelling
    "/v2.01/acme//users",
    "/v2.01/acme/a;b=c/d,e",
    "/v2.01/acme/a+b",
    "/v2.01/acme/%7E%7e~",
    "/v2.01/acme/%41%61",
    "/v2.01/acme/caf%c3%a9",
    "/v2.01/acme/%00%0d%0a",
    "/v2.01/acme/%2f%2F%5c%5C",
    "/v2.01/acme/%",
    "/v2.01/acme/%2",
    "/v2.01/acme/%zz",
    "/v2.01/acme/%u002e%u002e/x",
    "/v2.01/acme/%252e%252e/x",
    "/v2.01/acme/.../x",
    "/v2.01/acme/..a/b../.c/d.",
    "/v2.01/acme/a/.../",
    "/@evil.example/",
    "/evil.example:443",
    "/http://evil.example/",
    "/%2fevil.example",
    '/v2.01/acme/"<>^`{|}',
    "/v2.01/countries/FR/authorizations",
    "/V3.0/acme/payins/intents/settlements",
]


@pytest.mark.parametrize("raw", UNTOUCHED)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"])
def test_target_is_forwarded_byte_for_byte(raw: str, method: str) -> None:
    target = parse(raw, method)
    assert target.raw == raw.encode()
    assert target.path == raw.partition("?")[0]
    assert target.route is Route.API


# --- what this port is


@pytest.mark.parametrize("raw", ["/", "/?", "/?x=1"])
def test_the_root_is_answered_here_for_those_who_read_it(raw: str) -> None:
    assert [parse(raw, method).route for method in ("GET", "HEAD")] == [Route.ABOUT, Route.ABOUT]
    for method in ("POST", "DELETE", "OPTIONS", "PROPFIND", "get"):
        target = parse(raw, method)
        assert (target.route, target.raw) == (Route.API, raw.encode())


# --- refused

OTHER_FORMS = [
    "",
    "*",
    "v2.01/acme/users",
    "http://api.mangopay.com/v2.01/acme/users",
    "HTTPS://evil.example/",
    "evil.example:443",
    "?x=/",
    ".",
    "//",
    "//evil.example/v2.01/acme/users",
    "///v2.01/acme",
]


@pytest.mark.parametrize("raw", OTHER_FORMS)
def test_anything_but_a_path_with_one_leading_slash_is_refused(raw: str) -> None:
    assert "base URL" in refusal(raw).message


DOT_SEGMENTS = [
    "/.",
    "/..",
    "/./",
    "/../",
    "/v2.01/acme/..",
    "/v2.01/acme/.",
    "/v2.01/acme/../evil",
    "/v2.01/./acme",
    "/v2.01/acme/%2e%2e/evil",
    "/v2.01/acme/%2E%2E/evil",
    "/v2.01/acme/.%2e/evil",
    "/v2.01/acme/%2E./evil",
    "/v2.01/acme/%2e",
    "/v2.01/acme/%2e?x=1",
    "/v2.01/acme/..?x=1",
    # parameters, blanks and NULs that some servers drop
    "/v2.01/acme/..;/evil",
    "/v2.01/acme/..;a=b/evil",
    "/v2.01/acme/.;/evil",
    "/v2.01/acme/%2e%2e;x/evil",
    "/v2.01/acme/%2e%2e%3b/evil",
    "/v2.01/acme/..%00/evil",
    "/v2.01/acme/..%00.json",
    "/v2.01/acme/..%20%00x/evil",
    "/v2.01/acme/..%20/evil",
    "/v2.01/acme/..%09%0a%0d",
    # separators that show after decoding
    "/v2.01/acme/..%2fevil",
    "/v2.01/acme/%2e%2e%2fevil",
    "/v2.01/acme/x%2f..%2f..%2fevil",
    "/v2.01/acme/..%5cevil",
    "/v2.01/acme/x%5C..%5c",
    "/%2e%2e",
    "/%2f..",
    # UTF-8 that is too long
    "/v2.01/acme/%c0%ae%c0%ae/evil",
    "/v2.01/acme/%e0%80%ae./evil",
    "/v2.01/acme/..%c0%afevil",
    "/v2.01/acme/..%e0%80%afevil",
    "/v2.01/acme/..%c1%9cevil",
    "/v2.01/acme/..%e0%81%9cevil",
]


@pytest.mark.parametrize("raw", DOT_SEGMENTS)
def test_dot_segments_are_refused_in_every_spelling(raw: str) -> None:
    assert "segment" in refusal(raw).message


BAD_CHARACTERS = [chr(code) for code in [*range(0x21), 0x7F]] + ["\\", "#", "é", "\u2028", "\u212a", "\udcff", "\x85"]


@pytest.mark.parametrize("character", BAD_CHARACTERS, ids=ascii)
@pytest.mark.parametrize("form", ["/v2.01/acme/a{}b", "/v2.01/acme/a?b={}", "/{}"])
def test_bad_characters_are_refused_in_path_and_query(form: str, character: str) -> None:
    refusal(form.replace("{}", character))


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "trace", "cOnNeCt"])
@pytest.mark.parametrize("raw", ["/v2.01/acme/users", "evil.example:443", "*"])
def test_connect_and_trace_are_refused_and_disconnected(method: str, raw: str) -> None:
    assert refusal(raw, method).close


def test_a_refusal_repeats_no_byte_of_the_request() -> None:
    for raw in [*OTHER_FORMS, *DOT_SEGMENTS, "/canary\\", "/canary#"]:
        error = refusal(raw.replace("evil", "canary"))
        assert "canary" not in error.message
        assert error.detail in {f"target: {rule.detail}" for rule in Rule}


@pytest.mark.parametrize(
    ("method", "raw", "rule"),
    [
        ("CONNECT", "api.mangopay.com:443", Rule.FORWARD_PROXY),
        ("connect", "api.mangopay.com:443", Rule.FORWARD_PROXY),
        ("GET", "http://api.mangopay.com/v2.01/acme/users", Rule.FORWARD_PROXY),
        ("GET", "https://api.mangopay.com", Rule.FORWARD_PROXY),
        ("TRACE", "/v2.01/acme/users", Rule.TRACE),
        ("GET", "//v2.01/acme/users", Rule.TWO_SLASHES),
        ("GET", "//evil.example/", Rule.TWO_SLASHES),
        ("OPTIONS", "*", Rule.NO_SLASH),
        ("GET", "v2.01/acme/users?x=://", Rule.NO_SLASH),
        ("GET", "", Rule.NO_SLASH),
        ("GET", "/v2.01/acme/café", Rule.NOT_ASCII),
        ("GET", "/v2.01/acme/caf\udce9", Rule.NOT_ASCII),
        ("GET", "/v2.01/acme/é \\#", Rule.NOT_ASCII),
        ("GET", "/v2.01/acme/a b", Rule.SPACE),
        ("GET", "/v2.01/acme/a\tb", Rule.CONTROL),
        ("GET", "/v2.01/acme/a\x7f", Rule.CONTROL),
        ("GET", "/v2.01/acme/a\\b", Rule.BACKSLASH),
        ("GET", "/v2.01/acme/a#b", Rule.FRAGMENT),
        ("GET", "/v2.01/acme/%2e%2e/b", Rule.DOT_SEGMENT),
        ("GET", "/v2.01/oauth/token", Rule.BELOW_OAUTH),
        ("GET", "/v2.01/%" + "25" * 40 + "41", Rule.NESTED),
    ],
)
def test_a_refusal_says_which_rule(method: str, raw: str, rule: Rule) -> None:
    error = refusal(raw, method)
    assert (error.message, error.detail) == (rule.message, f"target: {rule.detail}")


def test_every_rule_has_words_of_its_own() -> None:
    assert len({rule.message for rule in Rule}) == len({rule.detail for rule in Rule}) == len(Rule)


# --- aliases

SWAPS = [
    ("/v2.01/{ClientId}/users", "/v2.01/acme/users"),
    ("/v2.01/_/users?x={ClientId}&y=_", "/v2.01/acme/users?x={ClientId}&y=_"),
    ("/v2.01/_", "/v2.01/acme"),
    ("/v2.01/_/", "/v2.01/acme/"),
    ("/v2.01/_?", "/v2.01/acme?"),
    ("/v2.01/%7BClientId%7D/users", "/v2.01/acme/users"),
    ("/v2.01/%7bClientId%7d/a%2fb//c;d/", "/v2.01/acme/a%2fb//c;d/"),
    ("/v2.01/%5f/users", "/v2.01/acme/users"),
    ("/V3.0/{ClientId}/payins", "/V3.0/acme/payins"),
    ("/V2_01/_/users", "/V2_01/acme/users"),
    ("/v3/_/users", "/v3/acme/users"),
    ("/v2%2e01/_/users", "/v2%2e01/acme/users"),
    ("/v2.01/_/_/{ClientId}", "/v2.01/acme/_/{ClientId}"),
]


@pytest.mark.parametrize(("raw", "swapped"), SWAPS)
def test_an_alias_after_the_version_becomes_the_client_id(raw: str, swapped: str) -> None:
    target = parse(raw)
    assert target.raw == swapped.encode()
    assert target.path == swapped.partition("?")[0]


@pytest.mark.parametrize(
    "raw",
    [
        "/_/users",
        "/_",
        "/v2.01/users/_",
        "/api/_/users",
        "/v/_/users",
        "/v2./_/users",
        "/v2.01x/_/users",
        "/version/_/users",
        "/v2.01//_/users",
        "/v2.01/_;a/users",
        "/v2.01/{clientid}/users",
        "/v2.01/%257BClientId%257D/users",
        "/v2.01/__/users",
        "/v2.01?_/users",
    ],
)
def test_nothing_else_is_swapped(raw: str) -> None:
    assert parse(raw).raw == raw.encode()


def test_aliases_are_configurable_and_may_be_none() -> None:
    assert parse("/v2.01/me/users", rules=ClientIdRules("acme", ("me",))).raw == b"/v2.01/acme/users"
    assert parse("/v2.01/_/users", rules=ClientIdRules("acme", ())).raw == b"/v2.01/_/users"
    assert parse("/v2.01/%7Bx%7D/u", rules=ClientIdRules("acme", ("%7Bx%7D",))).raw == b"/v2.01/acme/u"


@pytest.mark.parametrize(
    ("client_id", "segment"),
    [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("é", "%C3%A9"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2e", "a%252e"),
        ("a-b.c_d~", "a-b.c_d~"),
    ],
)
def test_a_client_id_is_swapped_in_as_one_segment(client_id: str, segment: str) -> None:
    assert parse("/v2.01/_/users", rules=ClientIdRules(client_id, ("_",))).raw == f"/v2.01/{segment}/users".encode()


@pytest.mark.parametrize("client_id", ["", ".", "..", "a\r\nb", "a\0"])
def test_a_client_id_that_is_no_segment_is_refused_at_once(client_id: str) -> None:
    with pytest.raises(ValueError, match="ClientId"):
        ClientIdRules(client_id, ())
