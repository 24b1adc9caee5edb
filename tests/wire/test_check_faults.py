"""``check`` names the right cause: each fault is planted in real sockets, and looked for as the command does."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.emulator.settings import Credentials
from tests.support.answering_mangopay import AnsweringMangopay, answering, response
from tests.support.canary import CANARY_API_KEY
from tests.support.checking import examined
from tests.support.emulator import running_emulator
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


PAGE: Final = "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"
RAY: Final = "8f3c2a1b4d5e6f70-CDG"
NGINX: Final = "<html><title>400 No required SSL certificate was sent</title></html>"
ANSWERED: Final = {
    "wrong key": Answered(
        [("token", "wrong_key")], response(401, '{"error": "invalid_client"}'), words="environment emulator"
    ),
    "locked out": Answered(
        [("token", "locked_out")],
        response(400, '{"error": "unauthorized_client"}', "Retry-After: 90"),
        words="wait 90 s",
    ),
    "address not listed": Answered([("token", "address_not_allowed")], response(403), words="127.0.0.1"),
    "no certificate, says nginx": Answered([("token", "client_certificate_required")], response(400, NGINX)),
    "a page of the edge": Answered(
        [("token", "edge_page")], response(403, PAGE, "Content-Type: text/html", f"CF-RAY: {RAY}"), words=RAY
    ),
    "a page for a 401": Answered([("token", "edge_page")], response(401, PAGE)),
    "a 403 with an error": Answered([("token", "address_not_allowed")], response(403, '{"error": "access_denied"}')),
    "no token endpoint": Answered([("token", "token_not_understood")], response(404)),
    "no such grant": Answered([("token", "token_request_refused")], response(400, '{"error": "invalid_grant"}')),
    "not JSON": Answered([("token", "token_not_understood")], response(200, "<html>Please log in</html>")),
    "redirect": Answered([("token", "redirected")], response(302, "", "Location: https://elsewhere.test/")),
    "rate limit": Answered([("token", "rate_limited")], response(429)),
    "server error": Answered([("token", "server_error")], response(502)),
    "closed": Answered([("token", "connection_lost")], b""),
    "no HTTP": Answered([("token", "answer_broken")], b"220 smtp.test ESMTP\r\n"),
    "GET 401": Answered([("call", "call_unauthorized")], api=response(401)),
    "GET 403": Answered([("call", "call_forbidden")], api=response(403), words="127.0.0.1"),
    "GET with a page": Answered([("call", "edge_page")], api=response(403, PAGE, f"CF-RAY: {RAY}"), words=RAY),
    "GET 404": Answered([("call", "call_not_found")], api=response(404)),
    "GET 409": Answered([("call", "call_refused")], api=response(409)),
    "GET 500": Answered([("call", "server_error")], api=response(500)),
}


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
async def test_what_mangopay_answers_is_explained(case: Answered) -> None:
    mangopay = AnsweringMangopay()
    mangopay.token = mangopay.token if case.token is None else case.token
    if case.api is not None:
        mangopay.api = mangopay.stored = case.api
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
    mangopay = AnsweringMangopay(response(401, '{"error": "invalid_client"}', clock=clock))
    async with answering(mangopay) as base_url:
        checked = await examined(base_url)
    step = checked.step("clock")
    assert step["status"] == mark
    assert step["code"] == (None if mark == "ok" else "clock_skew")
    assert words in step["detail"]


@pytest.mark.parametrize(
    ("permissions", "mark", "code", "words"),
    [
        (None, "ok", None, "status 400, correlationid_not_found"),
        (["Client.Details:READ", "Client.Developers:READ"], "ok", None, "correlationid_not_found"),
        (["Client.Details:READ"], "warning", "read_back_forbidden", "status 403, forbidden_ressource, Id e"),
    ],
)
async def test_a_key_that_may_not_read_back_is_found_before_a_response_is_lost(
    permissions: list[str] | None, mark: str, code: str | None, words: str
) -> None:
    credentials = Credentials(permissions={} if permissions is None else {CANARY_API_KEY: permissions})
    async with running_emulator(credentials=credentials) as emulator:
        checked = await examined(emulator.url)
        assert (checked.status, checked.marks["call"]) == (0, "ok")
        step = checked.step("read_back")
        assert (step["status"], step["code"]) == (mark, code)
        assert words in step["detail"]
        assert ("Client.Developers (READ)" in str(step["mend"])) == (code is not None)
        assert emulator.state.stats.token_requests == 1
        assert emulator.ledger.entries() == []


async def test_a_key_that_may_read_nothing_at_all_fails_and_is_asked_for_reading_back_too() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("forbidden GET api")
        checked = await examined(emulator.url)
        assert checked.failures == [("call", "call_forbidden")]
        assert (checked.marks["read_back"], checked.step("read_back")["code"]) == ("warning", "call_forbidden")


async def test_a_key_with_few_scopes_that_may_read_back_passes() -> None:
    credentials = Credentials(permissions={CANARY_API_KEY: ["Payins:WRITE", "Client.Developers:READ"]})
    async with running_emulator(credentials=credentials) as emulator:
        checked = await examined(emulator.url)
        assert checked.status == 0
        assert (checked.marks["call"], checked.step("call")["code"]) == ("warning", "call_scope")
        assert "127.0.0.1" not in checked.step("call")["detail"]
        assert checked.marks["read_back"] == "ok"


async def test_a_key_with_few_scopes_is_told_that_it_may_not_read_back() -> None:
    credentials = Credentials(permissions={CANARY_API_KEY: ["Payins:WRITE"]})
    async with running_emulator(credentials=credentials) as emulator:
        checked = await examined(emulator.url)
        step = checked.step("read_back")
        assert (step["status"], step["code"]) == ("warning", "call_forbidden")
        assert "Client.Developers (READ)" in step["detail"]


async def test_reading_back_is_not_tried_when_the_call_before_it_failed() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("status=500 GET api")
        checked = await examined(emulator.url)
        assert checked.failures == [("call", "server_error")]
        assert checked.marks["read_back"] == "skipped"


@pytest.mark.parametrize("where", ["token", "GET /v2.01/acme/clients", "GET /v2.01/acme/responses"])
async def test_a_page_of_the_edge_is_told_at_each_step(where: str) -> None:
    async with running_emulator() as emulator:
        emulator.faults.add(f"edge=403 {where}")
        checked = await examined(emulator.url)
        ((step, code),) = checked.failures
        assert code == "edge_page"
        assert "-CDG" in checked.detail(step)


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
        (ForwardProxy(response=refusal(401)), "egress_credentials"),
        (ForwardProxy(response=refusal(407, b"Proxy-Authenticate: NTLM\r\n")), "egress_authentication"),
        (ForwardProxy(response=refusal(403)), "egress_forbidden"),
        (ForwardProxy(response=refusal(504)), "egress_cannot_reach"),
        (ForwardProxy(response=refusal(405)), "egress_no_proxy"),
        (ForwardProxy(response=b"SSH-2.0-OpenSSH_9.9\r\n"), "egress_no_proxy"),
        (ForwardProxy(response=refusal(418)), "egress_refused"),
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
    async with answering(AnsweringMangopay(response(403))) as base_url, forward_proxy() as proxy:
        checked = await examined(base_url, upstream_egress_proxy=proxy.url)
    assert checked.failures == [("token", "address_not_allowed")]
    assert f"calls leave by the egress proxy {ADDRESS}:{proxy.port}" in checked.detail("token")
