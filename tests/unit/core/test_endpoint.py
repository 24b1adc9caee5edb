"""Where upstream is: which URLs are taken, and how the result is written on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.endpoint import Endpoint, from_here, is_loopback, parse_authority, parse_host, parse_port


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://api.mangopay.com", Endpoint("https", "api.mangopay.com", 443, "")),
        ("https://api.mangopay.com/", Endpoint("https", "api.mangopay.com", 443, "")),
        ("HTTPS://API.Mangopay.COM", Endpoint("https", "api.mangopay.com", 443, "")),
        ("http://localhost:8080", Endpoint("http", "localhost", 8080, "")),
        ("http://127.0.0.1", Endpoint("http", "127.0.0.1", 80, "")),
        ("https://API.mangopay.com.:8443/x", Endpoint("https", "api.mangopay.com.", 8443, "/x")),
        ("https://[::1]:8443/x", Endpoint("https", "::1", 8443, "/x")),
        ("https://[2001:DB8::0:1]", Endpoint("https", "2001:db8::1", 443, "")),
        ("https://host/a/b/", Endpoint("https", "host", 443, "/a/b")),
        ("https://host/a%20b/~c.d", Endpoint("https", "host", 443, "/a%20b/~c.d")),
        ("https://host/a@b:c;d", Endpoint("https", "host", 443, "/a@b:c;d")),
        ("http://my_service:3000", Endpoint("http", "my_service", 3000, "")),
    ],
)
def test_a_url_is_taken_apart(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(url) == endpoint


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "begin with"),
        ("api.mangopay.com", "begin with"),
        ("//api.mangopay.com", "begin with"),
        ("ftp://host", "begin with"),
        ("https:/host", "begin with"),
        ("https:host", "begin with"),
        (" https://host", "begin with"),
        ("https://host\\evil", "backslash"),
        ("https://host/a\\b", "backslash"),
        ("https://", "host is missing"),
        ("https:///path", "host is missing"),
        ("https://:443", "host is missing"),
        ("https://host?", "query"),
        ("https://host/?a=b", "query"),
        ("https://host#", "fragment"),
        ("https://user@host", "user information"),
        ("https://user:pass@host", "user information"),
        ("https://@host", "user information"),
        ("https://host:", "port"),
        ("https://host:0", "port"),
        ("https://host:65536", "port"),
        ("https://host:000080", "port"),
        ("https://host:+80", "port"),
        ("https://host: 80", "port"),
        ("https://host:٨٠", "port"),
        ("https://host:80:80", "brackets"),
        ("https://::1", "brackets"),
        ("https://[::1", "brackets"),
        ("https://[::1]8080", "brackets"),
        ("https://[::1]]:80", "brackets"),
        ("https://[host]", "brackets"),
        ("https://[::g]", "IPv6"),
        ("https://[fe80::1%eth0]", "IPv6"),
        ("https://127.1", "IPv4"),
        ("https://127.0.0.01", "IPv4"),
        ("https://2130706433", "IPv4"),
        ("https://0x7f000001", "IPv4"),
        ("https://256.0.0.1", "IPv4"),
        ("https://ho st", "host name"),
        ("https://-host", "host name"),
        ("https://host-", "host name"),
        ("https://a..b", "host name"),
        ("https://host..", "host name"),
        ("https://.", "host name"),
        ("https://127.0.0.1.", "IPv4"),
        ("https://[::1].", "brackets"),
        ("https://[fe80::1%25eth0]", "IPv6"),
        ("https://*.host", "host name"),
        ("https://ho%73t", "host name"),
        ("https://" + "a" * 64, "host name"),
        ("https://" + "a." * 127 + "a", "host name"),
        ("https://bücher.example", "xn--"),
        ("https://host//a", "empty segment"),
        ("https://host/a//", "empty segment"),
        ("https://host/a b", "percent-encoded"),
        ("https://host/é", "percent-encoded"),
        ("https://host/%zz", "percent-encoded"),
        ("https://host/a\r\nHost: evil", "percent-encoded"),
        ("https://host/.", "dot segment"),
        ("https://host/a/../b", "dot segment"),
        ("https://host/%2e%2E/b", "dot segment"),
        ("https://host/.%2e", "dot segment"),
    ],
)
def test_what_is_no_plain_base_url_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Endpoint.parse(url)


@given(st.text(max_size=40), st.sampled_from(["", "https://", "https://user:", "http://[", "https://h/"]))
def test_any_text_is_either_taken_or_a_value_error_that_does_not_repeat_it(text: str, start: str) -> None:
    secret = f"{text}hunter2"
    told = ""
    try:
        Endpoint.parse(start + secret)
    except ValueError as error:
        told = str(error)
    assert "hunter2" not in told


@given(
    scheme=st.sampled_from(["http", "https"]),
    host=st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z])?(\.[a-z]{1,5})?", fullmatch=True) | st.ip_addresses().map(str),
    port=st.integers(1, 65535),
    prefix=st.lists(st.from_regex(r"[a-z~_-]{1,8}", fullmatch=True), max_size=3),
)
def test_an_endpoint_written_as_a_url_is_read_back(scheme: str, host: str, port: int, prefix: list[str]) -> None:
    endpoint = Endpoint(scheme, host, port, "".join(f"/{segment}" for segment in prefix))
    assert Endpoint.parse(endpoint.origin + endpoint.prefix) == endpoint


@pytest.mark.parametrize(
    ("url", "host_header", "origin"),
    [
        ("https://api.mangopay.com/x", b"api.mangopay.com", "https://api.mangopay.com"),
        ("https://host:443", b"host", "https://host"),
        ("http://host:443", b"host:443", "http://host:443"),
        ("http://host:80", b"host", "http://host"),
        ("https://api.mangopay.com./x", b"api.mangopay.com", "https://api.mangopay.com"),
        ("http://host.:8080", b"host:8080", "http://host:8080"),
        ("http://[::1]", b"[::1]", "http://[::1]"),
        ("http://[::1]:8080", b"[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_schemes_own_port_is_left_out_and_ipv6_is_bracketed(url: str, host_header: bytes, origin: str) -> None:
    endpoint = Endpoint.parse(url)
    assert (endpoint.host_header, endpoint.origin) == (host_header, origin)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.255.254", "::1"])
def test_these_hosts_cannot_leave_the_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.example",
        "localhost.",
        "a.localhost",
        "127.example",
        "127.0.0.1.example",
        "128.0.0.1",
        "0.0.0.0",
        "::",
        "::ffff:7f00:1",
    ],
)
def test_hosts_that_only_look_like_loopback_are_none(host: str) -> None:
    assert not is_loopback(host)


def test_an_endpoint_tells_whether_it_is_on_this_machine() -> None:
    assert Endpoint.parse("http://LOCALHOST:1").is_loopback
    assert not Endpoint.parse("http://10.0.0.1:1").is_loopback


def test_an_absolute_name_is_resolved_with_its_dot_and_verified_without() -> None:
    endpoint = Endpoint.parse("https://api.mangopay.com.")
    assert (endpoint.host, endpoint.name) == ("api.mangopay.com.", "api.mangopay.com")
    assert parse_authority("proxy.internal.:3128", None) == ("proxy.internal.", 3128)
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert parse_host(f"{longest}.") == f"{longest}."
    with pytest.raises(ValueError, match="host name"):
        parse_host(f"{longest}a.")


def test_hosts_are_brought_into_one_form() -> None:
    assert parse_host("Example.COM") == "example.com"
    assert parse_host("0:0:0:0:0:0:0:1") == "::1"


@pytest.mark.parametrize("digits", ["", "0", "-1", "65536", "080808", "1e3", "¹"])
def test_ports_that_are_none(digits: str) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_port(digits)


def test_an_authority_without_a_default_needs_its_port() -> None:
    assert parse_authority("proxy:3128", None) == ("proxy", 3128)
    with pytest.raises(ValueError, match="port is missing"):
        parse_authority("proxy", None)


@pytest.mark.parametrize(
    ("host", "here"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1"), ("localhost", "localhost")],
)
def test_a_listener_on_every_address_is_reached_on_loopback(host: str, here: str) -> None:
    assert from_here(host) == here
