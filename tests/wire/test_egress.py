"""The egress proxy: every byte to Mangopay goes through its tunnel, and its failures are told apart from Mangopay's."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from sidecar.config import EgressProxy
from sidecar.core.errors import ErrorCode
from sidecar.core.resend import AttemptFailure, FailureKind, Sent
from sidecar.core.secret import Secret
from sidecar.upstream.egress import Egress
from sidecar.upstream.errors import UpstreamError
from sidecar.upstream.trust import client_context
from tests.support import canary
from tests.support.app import App, error_code, running_app
from tests.support.certificates import ADDRESS, ClientFiles, ServerContext, tls_emulator
from tests.support.emulator import running_emulator
from tests.support.forward_proxy import ForwardProxy, forward_proxy
from tests.support.ports import free_port
from tests.support.upstreams import OK, Client, Peer, Upstream, answering, client_of, serve

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.any_loop

PASSWORD = canary.CANARY_CALLER_KEY


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def through(
    proxy: ForwardProxy, upstream: Upstream, *, connect_timeout: float = 5.0, context: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    user, _, password = (proxy.credentials or "").partition(":")
    address = EgressProxy("127.0.0.1", proxy.port, user or None, Secret(password) if user else None)
    async with client_of(
        upstream, connect_timeout=connect_timeout, ssl_context=context, egress=Egress(address)
    ) as client:
        yield client


async def failure_of(client: Client) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await client.ask("POST", body=b"{}")
    canary.record("a failure's detail", caught.value.detail)
    assert client.pool.open == 0
    return caught.value


BEFORE_A_BYTE = AttemptFailure(FailureKind.EGRESS, Sent.NOTHING, reused=False, response_started=False)


# --- the way ---------------------------------------------------------------------------------------------------------


async def test_calls_go_through_one_tunnel_for_each_connection() -> None:
    async with forward_proxy() as proxy, serve(answering(OK)) as upstream, through(proxy, upstream) as client:
        for _ in range(3):
            assert await client.call("POST", body=b"x") == OK[-12:]
        assert proxy.destinations == [f"127.0.0.1:{upstream.port}"]
        assert len(upstream.peers) == 1
        head = proxy.heads[0]
        assert head == b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (upstream.port, upstream.port)


async def test_upstreams_name_is_left_to_the_proxy_to_resolve() -> None:
    """The machine may have no DNS for names of the outside."""
    async with (
        forward_proxy(ForwardProxy(response=b"HTTP/1.1 502 No\r\n\r\n")) as proxy,
        serve(answering(OK)) as upstream,
    ):
        upstream.address = "api.mangopay.test"
        async with through(proxy, upstream) as client:
            await failure_of(client)
        assert proxy.destinations == [f"api.mangopay.test:{upstream.port}"]


async def test_tls_is_agreed_on_inside_the_tunnel(authority: trustme.CA) -> None:
    server = ServerContext.make(authority.issue_cert("localhost"))
    context = client_context()
    authority.configure_trust(context)
    async with forward_proxy() as proxy, serve(answering(OK), ssl_context=server) as upstream:
        async with through(proxy, upstream, context=context) as client:
            assert await client.call("POST", body=b"a secret of the caller") == OK[-12:]
        assert proxy.destinations == [f"localhost:{upstream.port}"]
    assert proxy.carried[:2] == b"\x16\x03"
    assert b"secret" not in proxy.carried


async def test_who_is_at_the_end_of_the_tunnel_is_verified(authority: trustme.CA) -> None:
    server = ServerContext.make(trustme.CA().issue_cert("localhost"))
    async with forward_proxy() as proxy, serve(answering(OK), ssl_context=server) as upstream:
        async with through(proxy, upstream, context=client_context()) as client:
            failed = await failure_of(client)
        assert failed.failure.kind is FailureKind.TLS
        assert "a proxy intercepts TLS" in failed.detail
        assert upstream.requests == []


async def test_credentials_go_to_the_proxy_and_no_further() -> None:
    async with forward_proxy(ForwardProxy(credentials=f"me:{PASSWORD}")) as proxy, serve(answering(OK)) as upstream:
        async with through(proxy, upstream) as client:
            await client.call()
    assert b"Proxy-Authorization: Basic " in proxy.heads[0]
    assert b"roxy" not in upstream.requests[0].head


async def test_a_response_in_small_pieces_is_a_response() -> None:
    async with forward_proxy(ForwardProxy(piece=1)) as proxy, serve(answering(OK)) as upstream:
        async with through(proxy, upstream) as client:
            assert await client.call() == OK[-12:]


# --- its failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407: it wants other credentials"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden", "answered 403: it does not allow this dest"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502: it cannot reach the destination itself"),
        (b"HTTP/1.1 599 Canary\r\n\r\n", "answered 599"),
        (b"", "closed the connection without an answer"),
        (b"SMTP ready\r\n", "did not answer as an HTTP proxy does"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "did not answer as an HTTP proxy does: response head longer"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "sent bytes into the tunnel before anybody asked"),
    ],
    ids=["407", "403", "502", "unknown status", "end", "not HTTP", "endless head", "bytes behind the head"],
)
async def test_a_proxy_that_opens_no_tunnel_is_named_with_its_response(response: bytes, words: str) -> None:
    async with forward_proxy(ForwardProxy(response=response)) as proxy, serve(answering(OK)) as upstream:
        async with through(proxy, upstream) as client:
            failed = await failure_of(client)
        assert failed.failure == BEFORE_A_BYTE
        assert failed.detail.startswith(f"egress proxy 127.0.0.1:{proxy.port}: {words}")
        assert upstream.peers == []


async def test_bytes_behind_the_proxys_response_never_reach_tls(authority: trustme.CA) -> None:
    """They would be taken for upstream's, although nobody has proved who he is."""
    server = ServerContext.make(authority.issue_cert("localhost"))
    context = client_context()
    authority.configure_trust(context)
    async with forward_proxy(ForwardProxy(extra=b"\x15\x03\x03\x00\x02\x02\x28")) as proxy:
        async with serve(answering(OK), ssl_context=server) as upstream:
            async with through(proxy, upstream, context=context) as client:
                failed = await failure_of(client)
            assert "sent bytes into the tunnel" in failed.detail
            assert upstream.requests == []


async def test_a_proxy_that_hangs_ends_with_the_connect_timeout() -> None:
    async with forward_proxy(ForwardProxy(hold=True)) as proxy, serve(answering(OK)) as upstream:
        async with through(proxy, upstream, connect_timeout=0.1) as client:
            failed = await failure_of(client)
        assert failed.failure == BEFORE_A_BYTE
        assert failed.detail == f"egress proxy 127.0.0.1:{proxy.port}: not done within 0.1 s"


async def test_a_proxy_that_is_not_there_is_named() -> None:
    port = free_port()
    async with serve(answering(OK)) as upstream, through(ForwardProxy(port=port), upstream) as client:
        failed = await failure_of(client)
    assert failed.failure == BEFORE_A_BYTE
    assert failed.detail == f"egress proxy 127.0.0.1:{port}: connection refused"


async def test_a_call_that_is_cancelled_while_the_tunnel_opens_leaves_nothing() -> None:
    async with forward_proxy(ForwardProxy(hold=True)) as proxy, serve(answering(OK)) as upstream:
        async with through(proxy, upstream) as client:
            task = asyncio.create_task(client.ask())
            while not proxy.heads:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client.pool.open == 0


# --- the whole sidecar -----------------------------------------------------------------------------------------------


def egress(proxy: ForwardProxy, credentials: str = "") -> dict[str, str]:
    return {"upstream_egress_proxy": f"http://{credentials}127.0.0.1:{proxy.port}"}


async def until_ready(app: App) -> None:
    """Return once a call gets through: the first token is there."""
    assert (await app.call("GET", "/v2.01/acme/users")).status == 200


async def test_api_and_token_calls_go_through_the_proxy_and_nothing_goes_beside_it(
    authority: trustme.CA, tmp_path: Path
) -> None:
    files = ClientFiles.write(tmp_path, authority, authority.issue_cert("acme"))
    context = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    async with forward_proxy(ForwardProxy(credentials=f"me:{PASSWORD}")) as proxy:
        async with tls_emulator(context) as (emulator, url):
            async with running_app(url, **files.settings, **egress(proxy, f"me:{PASSWORD}@")) as app:
                await until_ready(app)
            assert emulator.state.stats.token_requests == 1
            assert emulator.state.stats.connections == len(proxy.heads) == 2
            assert set(proxy.destinations) == {f"{ADDRESS}:{emulator.port}"}
            assert all(b"Proxy-Authorization: Basic " in head for head in proxy.heads)
            names = {name.lower() for each in emulator.received for name, _ in each.headers}
            assert not any(name.startswith(b"proxy") for name in names)


async def test_a_plain_http_upstream_is_reached_by_connect_too() -> None:
    """The token request would show its credentials to the proxy otherwise; CONNECT at least can be restricted."""
    async with forward_proxy() as proxy, running_emulator() as emulator:
        async with running_app(emulator.url, **egress(proxy)) as app:
            await until_ready(app)
        assert proxy.destinations == [f"127.0.0.1:{emulator.port}"] * 2
        assert emulator.state.stats.connections == 2


async def test_a_refusing_proxy_shows_in_the_callers_response_and_in_the_log_and_not_as_mangopay() -> None:
    async with forward_proxy() as proxy, running_emulator() as emulator:
        async with running_app(emulator.url, **egress(proxy)) as app:
            await until_ready(app)
            proxy.response = b"HTTP/1.1 403 Forbidden\r\n\r\n"
            emulator.close_connections()
            response = await app.call("POST", "/v2.01/acme/users/natural", b"{}")
            assert (response.status, error_code(response)) == (502, ErrorCode.UPSTREAM_UNREACHABLE)
            assert response.header("X-Sidecar-Outcome") == b"not-sent"
            assert "egress proxy" in response.json["Message"]
            line = app.log.requests[-1]
            assert str(line["detail"]).startswith(f"egress proxy 127.0.0.1:{proxy.port}: answered 403")


async def test_a_token_call_that_the_proxy_refuses_is_transient_and_says_so() -> None:
    """Nothing is known about the credentials: they must not be latched."""
    async with (
        forward_proxy(ForwardProxy(response=b"HTTP/1.1 407 No\r\n\r\n")) as proxy,
        running_emulator() as emulator,
    ):
        async with running_app(emulator.url, token_prefetch="false", **egress(proxy)) as app:
            response = await app.call("GET", "/v2.01/acme/users")
            assert error_code(response) in {ErrorCode.UPSTREAM_UNREACHABLE, ErrorCode.TOKEN_UNAVAILABLE}
            manager = app.sidecar._upstream.managers[0]
            while manager.status().last_error is None:
                await asyncio.sleep(0.001)
            status = manager.status()
            assert str(status.last_error).startswith(f"egress proxy 127.0.0.1:{proxy.port}: answered 407")
            assert status.latch_reason is None
        assert emulator.state.stats.requests == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with forward_proxy() as ambient, forward_proxy() as proxy, running_emulator() as emulator:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, ambient.url)
            monkeypatch.setenv(name.upper(), ambient.url)
        monkeypatch.setenv("NO_PROXY", "*")
        async with running_app(emulator.url) as app:
            await until_ready(app)
        assert (ambient.heads, proxy.heads) == ([], [])
        async with running_app(emulator.url, **egress(proxy)) as app:
            await until_ready(app)
        assert ambient.heads == []
        assert len(proxy.heads) == 2


async def test_an_upstream_that_ends_the_tunnel_is_upstreams_failure_not_the_proxys() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with forward_proxy() as proxy, serve(script) as upstream, through(proxy, upstream) as client:
        failed = await failure_of(client)
    assert failed.failure.kind is FailureKind.LOST
    assert "egress" not in failed.detail
