"""CONNECT: what the proxy is asked, and what its responses mean."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.advice.tunnel import explain_tunnel
from sidecar.core.http.tunnel import TunnelRefusedError, TunnelResponse, authority, connect_request
from sidecar.core.secret import Secret

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


def refusal(*pieces: bytes) -> str:
    """Feed the pieces, and return what the last one is refused with."""
    response = TunnelResponse()
    for piece in pieces[:-1]:
        assert not response.feed(piece)
    with pytest.raises(TunnelRefusedError) as caught:
        response.feed(pieces[-1])
    return explain_tunnel(caught.value)[1]


def test_a_tunnel_is_asked_for_by_host_and_port_alone() -> None:
    assert connect_request(authority("api.mangopay.com", 443)) == (
        b"CONNECT api.mangopay.com:443 HTTP/1.1\r\nHost: api.mangopay.com:443\r\n\r\n"
    )


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert authority("2001:db8::1", 8443) == "[2001:db8::1]:8443"


@pytest.mark.parametrize(
    ("user", "password", "pair"),
    [("me", "pass word", "me:pass word"), ("me", "", "me:"), ("mé", "ü:x", "mé:ü:x")],
)
def test_credentials_are_basic_in_utf_8(user: str, password: str, pair: str) -> None:
    line = b"Proxy-Authorization: Basic " + base64.b64encode(pair.encode())
    assert line in connect_request("host:1", user, Secret(password)).split(b"\r\n")


@pytest.mark.parametrize(
    "response",
    [
        OPEN,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nVia: 1.1 proxy\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" + OPEN,
    ],
    ids=["200", "HTTP/1.0", "204", "lengths mean nothing", "after an interim answer"],
)
def test_any_2xx_opens_the_tunnel(response: bytes) -> None:
    assert TunnelResponse().feed(response)


@given(st.lists(st.integers(1, len(OPEN) - 1), unique=True).map(sorted))
def test_the_response_may_come_in_pieces(cuts: list[int]) -> None:
    response = TunnelResponse()
    pieces = [OPEN[a:b] for a, b in zip([0, *cuts], [*cuts, len(OPEN)], strict=True)]
    assert [response.feed(piece) for piece in pieces] == [False] * len(cuts) + [True]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (407, "answered 407: it wants other credentials"),
        (401, "answered 401: it wants other credentials"),
        (403, "answered 403: it does not allow this destination"),
        (405, "answered 405: it does not offer CONNECT"),
        (502, "answered 502: it cannot reach the destination itself"),
        (504, "answered 504: it cannot reach the destination itself in time"),
        (302, "answered 302"),
        (418, "answered 418"),
    ],
)
def test_a_refusal_is_told_with_its_status_and_meaning(status: int, words: str) -> None:
    response = b"HTTP/1.1 %d canary\r\nContent-Type: text/html\r\n\r\n<html>canary" % status
    assert refusal(response).startswith(words)
    assert "canary" not in refusal(response)


@pytest.mark.parametrize(
    ("headers", "wants"),
    [
        ((b"NTLM",), "NTLM"),
        ((b"Negotiate", b"NTLM"), "NTLM or Negotiate"),
        ((b"negotiate, ntlm",), "NTLM or Negotiate"),
        ((b'Digest realm="x", nonce="y", qop="auth"',), "Digest"),
        ((b'Digest realm="x",algorithm=MD5',), "Digest"),
        ((b'Basic realm="canary"',), ""),
        ((b"NTLM", b'Basic realm="x"'), ""),
        ((b'Digest realm="x", Basic realm="x"',), ""),
        ((b"Canary",), ""),
        ((b"realm=Digest",), ""),
        ((b'Canary realm="NTLM"',), ""),
        ((b"",), ""),
        ((), ""),
    ],
)
@pytest.mark.parametrize("status", [401, 407])
def test_a_proxy_that_wants_more_than_a_password_is_told_as_such(
    headers: tuple[bytes, ...], wants: str, status: int
) -> None:
    lines = b"".join(b"Proxy-Authenticate: %b\r\n" % each for each in headers)
    said = refusal(b"HTTP/1.1 %d Canary\r\n%b\r\n" % (status, lines))
    expected = f"it wants {wants} authentication, and the sidecar knows Basic only" if wants else "other credentials"
    assert expected in said
    assert "anary" not in said


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((b"",), "closed the connection without an answer"),
        ((b"HTTP/1.1 200", b""), "closed the connection without an answer"),
        ((b"\x16\x03\x01",), "did not answer as an HTTP proxy does"),
        ((b"SSH-2.0-OpenSSH\r\n",), "did not answer as an HTTP proxy does"),
        ((b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",), "did not answer as an HTTP proxy does"),
        ((b"HTTP/1.1 200 OK\nX: y\n\n\r\n\r\n",), "did not answer as an HTTP proxy does"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,), "did not answer as an HTTP proxy does"),
        ((b"HTTP/1.1 101 Switching Protocols\r\n\r\n",), "did not answer as an HTTP proxy does"),
        ((OPEN + b"\x15\x03",), "sent bytes into the tunnel"),
        ((OPEN[:-1], OPEN[-1:] + b"HTTP/1.1 200 OK\r\n\r\n"), "sent bytes into the tunnel"),
    ],
)
def test_what_is_no_response_of_a_proxy_is_refused(pieces: tuple[bytes, ...], words: str) -> None:
    assert refusal(*pieces).startswith(words)


def test_what_refuses_says_whether_it_is_a_proxy_at_all() -> None:
    for response, is_http in ((b"SSH-2.0-x", False), (b"HTTP/1.1 300 Many\r\n\r\n", True)):
        with pytest.raises(TunnelRefusedError) as caught:
            TunnelResponse().feed(response)
        assert caught.value.is_http is is_http


@pytest.mark.parametrize(("status", "schemes"), [(401, "NTLM"), (407, "NTLM"), (403, "")])
def test_other_ways_to_authenticate_matter_where_they_are_asked_for(status: int, schemes: str) -> None:
    with pytest.raises(TunnelRefusedError) as caught:
        TunnelResponse().feed(b"HTTP/1.1 %d -\r\nProxy-Authenticate: NTLM\r\n\r\n" % status)
    assert caught.value.schemes == schemes
