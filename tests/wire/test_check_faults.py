"""``check`` names the right cause: each fault is planted in real sockets, and looked for as the command does."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.answering_mangopay import AnsweringMangopay, answer, answering
from tests.support.checking import examined
from tests.support.forward_proxy import ForwardProxy, forward_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS: Final = "127.0.0.1"
SANDBOX: Final = "https://api.sandbox.mangopay.com"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nothing listens on, and that nobody else gets meanwhile."""
    with socket.socket() as reserved:
        reserved.bind((ADDRESS, 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full: the system answers no further attempt to connect (Linux)."""
    with OpenSockets() as sockets:
        listener = sockets.new()
        listener.bind((ADDRESS, 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = sockets.new()
            waiting.setblocking(False)
            waiting.connect_ex((ADDRESS, port))
        yield port


class OpenSockets:
    """Closes all sockets that it made."""

    def __init__(self) -> None:
        self._made: list[socket.socket] = []

    def new(self) -> socket.socket:
        self._made.append(socket.socket())
        return self._made[-1]

    def __enter__(self) -> OpenSockets:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._made:
            each.close()


# --- what the token call, the clock and the GET meet -------------------------------------------------------------


@dataclass(frozen=True)
class Answered:
    """What Mangopay answers, and what is to be found."""

    failures: list[tuple[str, str]]
    token: bytes | None = None
    api: bytes | None = None
    words: str = ""
    settings: dict[str, str] = field(default_factory=dict)


NGINX: Final = "<html><title>400 No required SSL certificate was sent</title></html>"
ANSWERED: Final = {
    "wrong key": Answered(
        [("token", "wrong_key")], answer(401, '{"error": "invalid_client"}'), words="environment emulator"
    ),
    "locked out": Answered(
        [("token", "locked_out")],
        answer(400, '{"error": "unauthorized_client"}', "Retry-After: 90"),
        words="wait 90 s",
    ),
    "address not listed": Answered([("token", "address_not_allowed")], answer(403), words="127.0.0.1"),
    "no certificate, says nginx": Answered([("token", "client_certificate_required")], answer(400, NGINX)),
    "no token endpoint": Answered([("token", "token_request_refused")], answer(404)),
    "not JSON": Answered([("token", "token_not_understood")], answer(200, "<html>Please log in</html>")),
    "redirect": Answered([("token", "redirected")], answer(302, "", "Location: https://elsewhere.test/")),
    "rate limit": Answered([("token", "rate_limited")], answer(429)),
    "server error": Answered([("token", "server_error")], answer(502)),
    "closed": Answered([("token", "connection_lost")], b""),
    "no HTTP": Answered([("token", "answer_broken")], b"220 smtp.test ESMTP\r\n"),
    "GET 401": Answered([("call", "call_unauthorized")], api=answer(401)),
    "GET 403": Answered([("call", "call_forbidden")], api=answer(403), words="127.0.0.1"),
    "GET 404": Answered([("call", "call_not_found")], api=answer(404)),
    "GET 409": Answered([("call", "call_refused")], api=answer(409)),
    "GET 500": Answered([("call", "server_error")], api=answer(500)),
}


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
async def test_what_mangopay_answers_is_explained(case: Answered) -> None:
    mangopay = AnsweringMangopay()
    mangopay.token = mangopay.token if case.token is None else case.token
    mangopay.api = mangopay.api if case.api is None else case.api
    async with answering(mangopay) as base_url:
        checked = await examined(base_url, **case.settings)
    assert (checked.status, checked.failures) == (1, case.failures)
    assert case.words in checked.detail(case.failures[0][0])
    assert mangopay.tokens_asked == 1
    assert "Please log in" not in checked.stdout
    assert "elsewhere" not in checked.stdout


@pytest.mark.parametrize(
    ("clock", "mark", "words"),
    [
        (0, "ok", "as the server's"),
        (200, "warning", "behind the server's"),
        (-200, "warning", "ahead of the server's"),
        (-3600, "failed", "ahead of the server's"),
    ],
)
async def test_a_clock_that_is_wrong_is_told(clock: int, mark: str, words: str) -> None:
    mangopay = AnsweringMangopay(answer(401, '{"error": "invalid_client"}', clock=clock))
    async with answering(mangopay) as base_url:
        checked = await examined(base_url)
    step = checked.step("clock")
    assert step["status"] == mark
    assert step["code"] == (None if mark == "ok" else "clock_skew")
    assert words in step["detail"]


# --- DNS and TCP -----------------------------------------------------------------------------------------------------


async def test_a_host_name_that_does_not_exist() -> None:
    checked = await examined("https://no-such-host.invalid")
    assert checked.status == 1
    # A machine without a resolver cannot know whether the name exists.
    assert checked.failures in ([("dns", "unknown_host")], [("dns", "resolver_unreachable")])
    assert "no-such-host.invalid" in checked.detail("dns")


async def test_nothing_listens(closed_port: int) -> None:
    checked = await examined(f"http://{ADDRESS}:{closed_port}")
    assert (checked.status, checked.failures) == (1, [("tcp", "connection_refused")])


async def test_packets_are_dropped(full_port: int) -> None:
    checked = await examined(f"http://{ADDRESS}:{full_port}", upstream_connect_timeout="300ms")
    assert (checked.status, checked.failures) == (1, [("tcp", "connect_timeout")])
    assert "not done within 0.3 s" in checked.detail("tcp")


# --- egress proxy ----------------------------------------------------------------------------------------------------


def refusal(status: int, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n%b\r\n" % (status, headers)


@pytest.mark.parametrize(
    ("proxy", "code"),
    [
        (ForwardProxy(credentials="me:secret-of-the-proxy"), "egress_credentials"),
        (ForwardProxy(answer=refusal(401)), "egress_credentials"),
        (ForwardProxy(answer=refusal(407, b"Proxy-Authenticate: NTLM\r\n")), "egress_authentication"),
        (ForwardProxy(answer=refusal(403)), "egress_forbidden"),
        (ForwardProxy(answer=refusal(504)), "egress_cannot_reach"),
        (ForwardProxy(answer=refusal(405)), "egress_no_proxy"),
        (ForwardProxy(answer=b"SSH-2.0-OpenSSH_9.9\r\n"), "egress_no_proxy"),
        (ForwardProxy(answer=refusal(418)), "egress_refused"),
        (ForwardProxy(hold=True), "egress_refused"),
    ],
)
async def test_an_egress_proxy_that_opens_no_tunnel(proxy: ForwardProxy, code: str) -> None:
    mangopay = AnsweringMangopay()
    async with answering(mangopay) as base_url, forward_proxy(proxy):
        with_password = proxy.url.replace("//", "//me:wrong-password@")
        checked = await examined(base_url, upstream_egress_proxy=with_password, upstream_connect_timeout="1s")
    assert (checked.status, checked.failures) == (1, [("egress", code)])
    assert f"egress proxy {ADDRESS}:{proxy.port}" in checked.detail("egress")
    assert "password" not in checked.stdout.replace("user and password", "")
    assert mangopay.heads == []


async def test_an_egress_proxy_that_does_not_run(closed_port: int) -> None:
    proxy = f"http://{ADDRESS}:{closed_port}"
    checked = await examined(SANDBOX, mangopay_environment="sandbox", upstream_egress_proxy=proxy)
    assert (checked.status, checked.failures) == (1, [("egress", "egress_unreachable")])


async def test_an_egress_proxy_with_an_unknown_name() -> None:
    proxy = "http://no-such-host.invalid:3128"
    checked = await examined(SANDBOX, mangopay_environment="sandbox", upstream_egress_proxy=proxy)
    assert checked.failures in ([("dns", "egress_unknown_host")], [("dns", "resolver_unreachable")])


async def test_a_403_behind_an_egress_proxy_names_the_proxy_as_the_address() -> None:
    async with answering(AnsweringMangopay(answer(403))) as base_url, forward_proxy() as proxy:
        checked = await examined(base_url, upstream_egress_proxy=proxy.url)
    assert checked.failures == [("token", "address_not_allowed")]
    assert f"calls leave by the egress proxy {ADDRESS}:{proxy.port}" in checked.detail("token")
