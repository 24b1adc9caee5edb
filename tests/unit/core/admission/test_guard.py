"""The guard: who may speak to the proxy port at all."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.addresses import ALLOWED_HOST
from sidecar.core.admission.guard import GuardRules, _host_allowed, check_guard
from sidecar.core.errors import ErrorCode, SidecarError

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders

RULES = GuardRules(frozenset({"sidecar", "App.Internal", "10.0.0.7", "fd00::7", "[fd00::8]", "Dotted.internal."}))
LOCAL = (b"Host", b"localhost:8080")


def refusal(raw: RawHeaders, rules: GuardRules = RULES) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        check_guard(raw, rules)
    return caught.value


ALLOWED = [
    b"localhost",
    b"localhost:8080",
    b"LOCALHOST:1",
    b"LocalHost:65535",
    b"localhost:0",
    b"localhost:08080",
    b"127.0.0.1",
    b"127.0.0.1:8080",
    b"127.1.2.3:80",
    b"127.255.255.255",
    b"127.0.0.0",
    b"[::1]",
    b"[::1]:8080",
    b"sidecar",
    b"SIDECAR:9",
    b"app.internal:8080",
    b"10.0.0.7:8080",
    b"[fd00::7]:8080",
    b"[FD00::8]",
    b"sidecar.",
    b"app.Internal.:8080",
    b"dotted.internal",
    b"dotted.internal.",
]


@pytest.mark.parametrize("host", ALLOWED)
def test_hosts_that_are_let_in(host: bytes) -> None:
    check_guard(((b"hOST", host),), RULES)
    check_guard(((b"Host", host),), RULES)  # again, from what was remembered


REFUSED = [
    b"",
    b":",
    b":8080",
    b"evil.example",
    b"evil.example:8080",
    b"localhost.evil.example",
    b"localhost.",
    b"localhost.:8080",
    b"localhost:",
    b"localhost:x",
    b"localhost:80:80",
    b"localhost:-1",
    b"localhost:+80",
    b"localhost:65536",
    b"localhost:000080",
    b"localhost:8080/",
    b"localhost/x",
    b"localhost?x",
    b"localhost#x",
    b"localhost\\x",
    b"localhost localhost",
    b"localhost, evil.example",
    b"localhost,",
    b" localhost",
    b"localhost\t",
    b"localhost\0",
    b"localhos\xf4",
    b"loc\xc5\xbfalhost",
    b"\xef\xbd\x8cocalhost",
    b"user@localhost",
    b"user:pass@localhost",
    b"@localhost",
    b"localhost@evil.example",
    b"127.1",
    b"127.0.1",
    b"0177.0.0.1",
    b"127.0.0.01",
    b"127.00.0.1",
    b"0x7f.0.0.1",
    b"0x7f000001",
    b"2130706433",
    b"127.0.0.256",
    b"127.0.0.1.",
    b"127.0.0.1.evil.example",
    b"127.0.0.-1",
    b"127.0.0.\xb2",
    b"127.0.0",
    b"127.0.0.0.1",
    b"128.0.0.1",
    b"0.0.0.0",
    b"10.0.0.8",
    b"[::1",
    b"::1",
    b"::1]",
    b"[::1]x",
    b"[::1]8080",
    b"[::1]:",
    b"[::1]:x",
    b"[::1]]",
    b"[[::1]]",
    b"[]",
    b"[::]",
    b"[0:0:0:0:0:0:0:1]",
    b"[::ffff:127.0.0.1]",
    b"[::1%25lo]",
    b"[localhost]",
    b"[127.0.0.1]",
    b"fd00::7",
    b"sidecar.evil.example",
    b"xsidecar",
    b"app",
    b"http://localhost",
    b"*",
    b"a" * 5000,
    b"localhost:" + b"0" * 5000,
]


@pytest.mark.parametrize("host", REFUSED, ids=lambda host: repr(host[:40]))
def test_hosts_that_are_turned_away(host: bytes) -> None:
    error = refusal(((b"Host", host),))
    assert error.code is ErrorCode.HOST_NOT_ALLOWED
    assert error.message.startswith("Host not allowed: ")


def test_a_request_without_host_is_turned_away() -> None:
    error = refusal(((b"A", b"1"),))
    assert error.code is ErrorCode.HOST_NOT_ALLOWED
    assert error.detail == "host=(none)"


@pytest.mark.parametrize("second", [b"localhost", b"evil.example", b""])
@pytest.mark.parametrize("rules", [RULES, GuardRules(frozenset(), check_host=False)], ids=["tcp", "unix"])
def test_two_hosts_are_a_bad_request(second: bytes, rules: GuardRules) -> None:
    error = refusal((LOCAL, (b"host", second)), rules)
    assert error.code is ErrorCode.BAD_REQUEST
    assert error.close


@pytest.mark.parametrize(
    ("host", "named"),
    [
        (b"Evil.example:8080", "evil.example"),
        (b"sidecar.ns.svc.cluster.local.:18080", "sidecar.ns.svc.cluster.local"),
        (b"localhost.:8080", "localhost"),
        (b"10.0.0.8:8080", "10.0.0.8"),
        (b"[FD00::9]:8080", "fd00::9"),
    ],
)
def test_what_the_log_names_can_be_listed_and_is_let_in_then(host: bytes, named: str) -> None:
    error = refusal(((b"Host", host),))
    assert error.message == "Host not allowed: add it to SIDECAR_LISTEN_ALLOWED_HOSTS (the log names it)"
    assert error.detail == f"host={named}"
    check_guard(((b"Host", host),), GuardRules(frozenset({ALLOWED_HOST.parse(named)})))


@pytest.mark.parametrize("host", [b"", b"me@localhost", b"caf\xc3\xa9", b"127.1", b"a b", b"http://a", b"x" * 300])
def test_what_cannot_be_listed_is_not_advised_to_be(host: bytes) -> None:
    assert refusal(((b"Host", host),)).message.startswith("Host not allowed: it is no host name or address, with a")


def test_the_log_gets_the_host_short_and_printable() -> None:
    assert refusal(((b"Host", b"evil\r\n\x1b[31m\xff.example"),)).detail == "host=evil???[31m?.example"
    assert refusal(((b"Host", b"x" * 5000),)).detail == "host=" + "x" * 100


def test_a_host_that_no_name_could_be_is_not_remembered() -> None:
    before = _host_allowed.cache_info().misses
    refusal(((b"Host", b"never seen " * 500),))
    assert _host_allowed.cache_info().misses == before


@pytest.mark.parametrize("listed", ["fd00::8", "[fd00::8]", "[FD00::8]"])
def test_an_ipv6_address_is_listed_with_brackets_or_without(listed: str) -> None:
    check_guard(((b"Host", b"[fd00::8]:8080"),), GuardRules(frozenset({listed})))


def test_nothing_but_the_local_names_is_allowed_by_default() -> None:
    assert refusal(((b"Host", b"sidecar"),), GuardRules(frozenset())).code is ErrorCode.HOST_NOT_ALLOWED


def test_an_empty_name_in_the_list_allows_nothing() -> None:
    assert refusal(((b"Host", b""),), GuardRules(frozenset({""}))).code is ErrorCode.HOST_NOT_ALLOWED


def test_what_one_listener_allows_is_not_allowed_on_another() -> None:
    check_guard(((b"Host", b"one"),), GuardRules(frozenset({"one"})))
    assert refusal(((b"Host", b"one"),), GuardRules(frozenset({"two"}))).code is ErrorCode.HOST_NOT_ALLOWED


@pytest.mark.parametrize("host", [b"anything.example", b"", b"localhost"])
def test_on_a_unix_socket_any_host_will_do(host: bytes) -> None:
    check_guard(((b"Host", host),), GuardRules(frozenset(), check_host=False))


# --- browsers


@pytest.mark.parametrize("origin", [b"https://evil.example", b"http://localhost:8080", b"null", b"none", b""])
@pytest.mark.parametrize("name", [b"Origin", b"origin", b"ORIGIN"])
@pytest.mark.parametrize("rules", [RULES, GuardRules(frozenset(), check_host=False)], ids=["tcp", "unix"])
def test_any_origin_is_a_browser(name: bytes, origin: bytes, rules: GuardRules) -> None:
    assert refusal((LOCAL, (name, origin)), rules).code is ErrorCode.BROWSER_NOT_ALLOWED


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"same-origin", b"", b"None", b"none, none", b"none;x"])
@pytest.mark.parametrize("name", [b"Sec-Fetch-Site", b"sec-fetch-site"])
def test_a_fetch_site_other_than_none_is_a_web_page(name: bytes, site: bytes) -> None:
    assert refusal((LOCAL, (name, site))).code is ErrorCode.BROWSER_NOT_ALLOWED


def test_every_fetch_site_counts() -> None:
    lines = (LOCAL, (b"Sec-Fetch-Site", b"none"), (b"Sec-Fetch-Site", b"cross-site"))
    assert refusal(lines).code is ErrorCode.BROWSER_NOT_ALLOWED
    assert refusal(tuple(reversed(lines))).code is ErrorCode.BROWSER_NOT_ALLOWED


def test_a_typed_address_passes() -> None:
    check_guard((LOCAL, (b"Sec-Fetch-Site", b"none"), (b"Sec-Fetch-Mode", b"navigate")), RULES)


def test_a_preflight_is_turned_away() -> None:
    lines = (LOCAL, (b"Access-Control-Request-Method", b"POST"), (b"Origin", b"https://evil.example"))
    assert refusal(lines).code is ErrorCode.BROWSER_NOT_ALLOWED


def test_a_web_socket_of_a_page_is_turned_away() -> None:
    lines = (LOCAL, (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Origin", b"http://localhost"))
    assert refusal(lines).code is ErrorCode.BROWSER_NOT_ALLOWED


def test_a_rebound_page_is_turned_away_for_its_host_first() -> None:
    lines = ((b"Host", b"evil.example"), (b"Origin", b"http://evil.example"))
    assert refusal(lines).code is ErrorCode.HOST_NOT_ALLOWED


def test_a_refusal_repeats_no_byte_of_the_request() -> None:
    for lines in (((b"Host", b"canary"),), (LOCAL, (b"Origin", b"canary")), (LOCAL, (b"Sec-Fetch-Site", b"canary"))):
        assert "canary" not in refusal(lines).message


@pytest.mark.parametrize(
    "raw",
    [
        (
            (b"Host", b"127.0.0.1:44959"),
            (b"User-Agent", b"Mangopay-SDK/4.2.0 (Python/3.11.7)"),
            (b"Accept-Encoding", b"gzip, deflate"),
            (b"Connection", b"keep-alive"),
            (b"Authorization", b"Bearer sidecar_x"),
        ),
        ((b"Host", b"127.0.0.1"), (b"Accept", b"*/*"), (b"Authorization", b"Basic eDp5")),  # PHP, without the port
    ],
)
def test_sdk_requests_pass(raw: RawHeaders) -> None:
    check_guard(raw, RULES)


# --- property

WORDS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    "sidecar",
    "evil.example",
    "1",
    "127",
    ".",
    ":",
    "8080",
    "@",
    ",",
    " ",
    "[",
    "]",
]


@given(st.lists(st.sampled_from(WORDS), max_size=5).map("".join))
def test_no_host_is_let_in_that_a_simple_rule_would_not(host: str) -> None:
    try:
        check_guard(((b"Host", host.encode()),), RULES)
    except SidecarError:
        return
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    assert not colon or port.isdigit()
    try:
        loopback = ip_address(name) in ip_network("127.0.0.0/8")
    except ValueError:
        loopback = False
    assert loopback or name in {"localhost", "[::1]", "sidecar", "sidecar."}


# --- browsers that send no Sec-Fetch-Site

AGENT = (b"User-Agent", b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/16.3 Safari/605")
LANGUAGE = (b"accept-language", b"en-GB")


@pytest.mark.parametrize("lines", [(LOCAL, AGENT, LANGUAGE), (LANGUAGE, LOCAL, AGENT), (AGENT, AGENT, LANGUAGE, LOCAL)])
def test_a_browsers_agent_and_language_are_a_browser(lines: RawHeaders) -> None:
    assert refusal(lines).code is ErrorCode.BROWSER_NOT_ALLOWED


@pytest.mark.parametrize(
    "lines",
    [
        (LOCAL, AGENT),
        (LOCAL, LANGUAGE),
        (LOCAL, LANGUAGE, (b"User-Agent", b"PostmanRuntime/7.43.0")),
        (LOCAL, AGENT, LANGUAGE, (b"Sec-Fetch-Site", b"none")),
    ],
)
def test_either_alone_is_none_nor_is_a_typed_address(lines: RawHeaders) -> None:
    check_guard(lines, RULES)


def test_the_status_page_is_for_browsers_of_any_age() -> None:
    check_guard((LOCAL, AGENT, LANGUAGE), GuardRules(frozenset(), for_browsers=True))
