"""Kinds of values that name a place."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.addresses import (
    ALIAS,
    ALLOWED_HOST,
    BASE_URL,
    BIND_HOST,
    EGRESS_PROXY,
    POLICY_RULE,
    TOKEN_STORE,
    EgressProxy,
    TokenStore,
)
from sidecar.config.errors import InvalidValue
from sidecar.core.endpoint import Endpoint
from sidecar.core.secret import Secret

if TYPE_CHECKING:
    from sidecar.config.values import Kind


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("::", "::"),
        ("0::1", "::1"),
        ("[::1]", "::1"),
        ("[FD00::9]", "fd00::9"),
        ("LocalHost", "localhost"),
        ("my_service", "my_service"),
        ("Sidecar.Internal", "sidecar.internal"),
        ("Sidecar.Internal.", "sidecar.internal."),
    ],
)
def test_hosts_are_names_or_addresses(text: str, host: str) -> None:
    assert BIND_HOST.parse(text) == ALLOWED_HOST.parse(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.example",
        "host:80",
        "127.0.0.1:80",
        "[::1",
        "::1]",
        "[host]",
        "[::1]:80",
        "[]",
        "http://host",
        "a b",
        "host..",
        ".",
        "bücher",
        "1.2.3",
    ],
)
def test_hosts_have_no_scheme_port_or_wildcard(text: str) -> None:
    with pytest.raises(InvalidValue):
        ALLOWED_HOST.parse(text)


def test_a_base_url_is_an_endpoint() -> None:
    assert BASE_URL.parse("https://host/x/") == Endpoint("https", "host", 443, "/x")


def test_a_base_url_says_why_it_is_refused() -> None:
    with pytest.raises(InvalidValue, match="is refused since the URL has a query") as caught:
        BASE_URL.parse("https://host/?key=hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["_", "{ClientId}", "a b", "%7BClientId%7D"])
def test_aliases_are_path_segments(text: str) -> None:
    assert ALIAS.parse(text) == text


@pytest.mark.parametrize("text", ["", "a/b", " _", "é"])
def test_an_alias_is_one_ascii_segment(text: str) -> None:
    with pytest.raises(InvalidValue):
        ALIAS.parse(text)


@pytest.mark.parametrize("rule", ["* /**", "GET /v2.01/*/users/**", "POST /", "PATCH /x", "GET /v2.01/acme/"])
def test_policy_rules(rule: str) -> None:
    assert POLICY_RULE.parse(rule) == rule


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("", "empty"),
        ("GETT /x", "one of"),
        ("M-SEARCH /x", "one of"),
        ("GET", "shape"),
        ("/x", "shape"),
        ("GET x", "shape"),
        ("get /x", "shape"),
        ("Get /x", "shape"),
        ("GET  /x", "shape"),
        ("GET,POST /x", "shape"),
        ("** /x", "shape"),
        ("GET /a b", "match no path"),
        ("GET /x?y", "match no path"),
        ("GET /x#y", "match no path"),
        ("GET /é", "match no path"),
        ("GET /a%2fb", "match no path"),
        ("GET //x", "match no path"),
        ("GET /a/..", "match no path"),
        ("GET /a/b**", "match no path"),
    ],
)
def test_policy_rules_that_mean_nothing(rule: str, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        POLICY_RULE.parse(rule)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy:3128", EgressProxy("proxy", 3128)),
        ("HTTP://Proxy:3128/", EgressProxy("proxy", 3128)),
        ("http://[::1]:3128", EgressProxy("::1", 3128)),
        ("http://me:pw@proxy:3128", EgressProxy("proxy", 3128, "me", Secret("pw"))),
        ("http://me:@proxy:3128", EgressProxy("proxy", 3128, "me", Secret(""))),
        ("http://m%40e:p%3Aw%25:x@proxy:1", EgressProxy("proxy", 1, "m@e", Secret("p:w%:x"))),
        ("http://me:p%C3%A4@proxy:1", EgressProxy("proxy", 1, "me", Secret("pä"))),
    ],
)
def test_an_egress_proxy_is_taken_apart(text: str, proxy: EgressProxy) -> None:
    assert EGRESS_PROXY.parse(text) == proxy


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("proxy:3128", "shape"),
        ("https://proxy:3128", "shape"),
        ("socks5://proxy:3128", "shape"),
        ("http://proxy:3128/path", "shape"),
        ("http://proxy:3128?x", "shape"),
        ("http://a@b@proxy:3128", "shape"),
        ("http://proxy", "port is missing"),
        ("http://proxy:0", "port is not"),
        ("http://:3128", "shape|host is missing"),
        ("http://me@proxy:3128", "user:pass"),
        ("http://:pw@proxy:3128", "user:pass"),
        ("http://@proxy:3128", "user:pass"),
        ("http://a%3Ab:hunter2@proxy:3128", "user:pass"),
        ("http://me:hunter2%@proxy:3128", "user:pass"),
        ("http://me:hunter2%zz@proxy:3128", "user:pass"),
        ("http://me:hunter2%ff@proxy:3128", "user:pass"),
        ("http://me:hunter2%0d%0a@proxy:3128", "control character"),
    ],
)
def test_what_is_no_egress_proxy_is_refused_without_its_password(text: str, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint) as caught:
        EGRESS_PROXY.parse(text)
    assert "hunter2" not in str(caught.value)


def test_the_password_of_an_egress_proxy_is_not_seen() -> None:
    assert "hunter2" not in repr(EGRESS_PROXY.parse("http://me:hunter2@proxy:3128"))


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("memory", TokenStore("memory")),
        ("file:/var/lib/x/token", TokenStore("file", path=Path("/var/lib/x/token"))),
        ("file:token", TokenStore("file", path=Path("token"))),
        ("redis://:pw@host:6379/0", TokenStore("redis", url=Secret("redis://:pw@host:6379/0"))),
        ("rediss://host", TokenStore("redis", url=Secret("rediss://host"))),
    ],
)
def test_token_stores(text: str, store: TokenStore) -> None:
    assert TOKEN_STORE.parse(text) == store


@pytest.mark.parametrize(
    "text", ["", "Memory", "file", "file:", "file: x", "file:~/x", "redis", "redis://", "redis://a b", "http://x", "/x"]
)
def test_what_is_no_token_store_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        TOKEN_STORE.parse(text)


def test_the_url_of_a_redis_store_is_not_seen() -> None:
    assert "hunter2" not in repr(TOKEN_STORE.parse("redis://:hunter2@host"))


@given(
    st.sampled_from([BIND_HOST, BASE_URL, ALIAS, POLICY_RULE, EGRESS_PROXY, TOKEN_STORE]),
    st.sampled_from(["", "http://", "https://x/", "redis://", "file:", "GET /", "http://u:p@"]),
    st.text(),
)
def test_no_text_makes_a_kind_raise_anything_but_unfit(kind: Kind[Any], start: str, text: str) -> None:
    with contextlib.suppress(InvalidValue):
        kind.parse(start + text)
