"""Who answers a request: the local token path, and every disguise of it."""

from __future__ import annotations

import pytest

from sidecar.core.admission.target import Target, parse_target
from sidecar.core.admission.target_verdict import Route
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


LOCAL = [
    "/v2.01/oauth/token",
    "/v2.01/oauth/token/",  # PHP
    "/V2_01/oauth/token",  # Java
    "/V2.01/OAuth/Token",
    "/anything/oauth/token",
    "/%2fv2.01/oauth/token",  # one segment, whatever is in it
    "/v2.01/oauth/token?x=y",
    "/v2.01/oauth/token/?",
]


@pytest.mark.parametrize("raw", LOCAL)
def test_a_post_to_the_token_path_is_answered_here(raw: str) -> None:
    assert parse(raw, "POST").route is Route.LOCAL_TOKEN


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"])
@pytest.mark.parametrize("raw", LOCAL)
def test_other_methods_on_the_token_path_are_refused(raw: str, method: str) -> None:
    assert "POST /v2.01/oauth/token" in refusal(raw, method).message


DISGUISED = [
    "/v2.01/oauth/token//",
    "/v2.01//oauth/token",
    "/v2.01/oauth//token",
    "/v2.01/%6fauth/token",
    "/v2.01/oauth/%74oken",
    "/v2.01/OAUTH/%54OKEN",
    "/v2.01%2foauth/token",
    "/v2.01/oauth%2Ftoken",
    "/v2.01/oauth%5ctoken",
    "/%2fv2.01%2foauth/token",
    "/%2f%2fv2.01/oauth/token%3f",
    "/v2.01/oauth;a=b/token",
    "/v2.01/oauth/token;a=b",
    "/v2.01/oauth/token;",
    "/v2.01;x//oauth/token",
    "/v2.01/oauth/token%3b",
    "/v2.01/oauth/token%20",
    "/v2.01/oauth/token%00",
    "/v2.01/oauth/token%00.json",
    "/v2.01/oauth/token%2f",
    "/v2.01/oauth/token%3fgrant_type=x",
    "/v2.01/oauth/token%23",
    "/v2.01/oauth/to%6ben",
    "/v2.01/oauth/to%256ben",
    "/v2.01/oauth/to%25256ben",
    "/v2.01/%25256fauth/token",
    "/v2.01/acme/%252e%252e/oauth/token",
    "/v2.01/%252e/oauth/token",
    "/x%253f/%252e%252e/v2.01/oauth/token",
    "/v2.01/oauth/token/%252e",
    "/v2.01/oauth/token/x/%252e%252e/",
    "/v2.01/oauth/to%e2%84%aaen",  # KELVIN SIGN folds to k
    "/v2.01%c0%afoauth/token",
]


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("raw", DISGUISED)
def test_other_spellings_of_the_token_path_are_refused(raw: str, method: str) -> None:
    assert "oauth/token" in refusal(raw, method).message


EMBEDDED = [
    "/v2.01/oauth/token/embedded/recipient",
    "/v2.01/oauth/token/embedded/checkout",
    "/v2.01/oauth/token/embedded/checkout/",
    "/V2_01/OAuth/Token/Embedded/Recipient",
    "/v2.01/oauth/token/embedded/recipient?x=1",
]


@pytest.mark.parametrize("raw", EMBEDDED)
def test_an_embedded_token_call_is_forwarded_as_it_is(raw: str) -> None:
    target = parse(raw, "POST")
    assert target.route is Route.EMBEDDED_TOKEN
    assert target.raw == raw.encode()


@pytest.mark.parametrize("raw", EMBEDDED)
def test_other_methods_on_an_embedded_path_are_refused(raw: str) -> None:
    refusal(raw, "GET")


@pytest.mark.parametrize(
    "raw",
    [
        "/v2.01/oauth/token/embedded",
        "/v2.01/oauth/token/embedded/other",
        "/v2.01/oauth/token/embedded/recipient//",
        "/v2.01/oauth/token/embedded/recipient/x",
        "/v2.01/oauth/token/embedded/%72ecipient",
        "/v2.01/oauth/token/embedded%2frecipient",
        "/v2.01/oauth/token//embedded/recipient",
        "/v2.01/oauth/token/embedded/recipient;x",
        "/v2.01/oauth/token/x",
        "/v2.01/oauth/token/revoke",
    ],
)
def test_nothing_else_below_the_token_path_is_forwarded(raw: str) -> None:
    refusal(raw, "POST")


@pytest.mark.parametrize(
    "raw",
    [
        "/oauth/token",
        "/v2.01/acme/oauth/token",
        "/v2.01/oauth",
        "/v2.01/oauth/tokens",
        "/v2.01/oauth2/token",
        "/v2.01/oauth/revoke",
        "/v2.01/acme/users?next=/v2.01/oauth/token",
        "/v2.01/acme/x%2foauth%2ftoken",
    ],
)
def test_paths_that_only_resemble_the_token_path_are_api_calls(raw: str) -> None:
    assert parse(raw, "POST").route is Route.API


def test_an_alias_cannot_turn_into_the_token_path() -> None:
    """However odd the configuration, the path that goes up is the one that was routed."""
    with pytest.raises(SidecarError):
        parse_target("GET", "/v2.01/_/token", ClientIdRules("oauth", ("_",)))


def test_endless_encoding_is_refused_and_cheap() -> None:
    assert "encode it once" in refusal("/v2.01/%" + "25" * 4000 + "41").message


def test_eight_layers_of_encoding_are_looked_through() -> None:
    refusal("/v2.01/oauth/to%" + "25" * 6 + "6ben")
    assert parse("/v2.01/acme/%" + "25" * 6 + "41").route is Route.API
