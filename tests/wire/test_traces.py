"""Traces as a collector receives them: each attempt with its token and status, and nothing secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.app import Pair, running_app, running_pair
from tests.support.canary import CANARY_API_KEY
from tests.support.collector import Collector, running_collector
from tests.support.emulator import NATURAL_USER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

USERS: Final = "/v2.01/acme/users"
NATURAL: Final = "/v2.01/acme/users/natural"
BODY: Final = json.dumps(NATURAL_USER).encode()
KEY: Final = ("Idempotency-Key", "traces-0123456789")
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = "b7ad6b7169203331"


def traceparent(flags: str = "01") -> tuple[str, str]:
    return ("traceparent", f"00-{TRACE}-{PARENT}-{flags}")


async def traced(calls: Callable[[Pair], Awaitable[object]], **settings: Any) -> tuple[Collector, Pair]:
    """Make calls through a sidecar with traces; return what the collector has once all is over."""
    async with running_collector() as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url, **settings) as pair:
            await calls(pair)
    return collector, pair


def lines_received(pair: Pair) -> list[list[tuple[str, str]]]:
    """The header lines of the calls to USERS that Mangopay got."""
    return [
        [(name.decode(), value.decode()) for name, value in each.headers]
        for each in pair.emulator.received
        if each.target == USERS
    ]


async def test_a_call_is_a_server_span_with_a_client_span_for_its_attempt() -> None:
    async def calls(pair: Pair) -> None:
        await pair.call("GET", f"{USERS}/user_m_01HT?secret={CANARY_API_KEY}")

    collector, pair = await traced(calls)

    (server,) = collector.servers
    assert (server.name, server.parent_id) == ("GET /v2.01/{client}/users/{id}", "")
    line = pair.app.log.requests[0]
    assert server.attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/v2.01/{client}/users/{id}",
        "http.route": "/v2.01/{client}/users/{id}",
        "http.response.status_code": 404,
        "http.request.body.size": 0,
        "http.response.body.size": line["bytes"],
        "mangopay_sidecar.request_id": line["id"],
        "mangopay_sidecar.source": "upstream",
        "mangopay_sidecar.attempts": 1,
        "mangopay_sidecar.mangopay_id": line["mangopay_id"],
        "mangopay_sidecar.mangopay_type": line["mangopay_type"],
    }
    assert server.status == "unset"
    assert line["traceparent"] == server.traceparent
    (client,) = collector.attempts(server)
    assert client.name == server.name
    assert client.attributes == {
        "http.request.method": "GET",
        "url.full": f"{pair.emulator.url}/v2.01/{{client}}/users/{{id}}",
        "url.template": "/v2.01/{client}/users/{id}",
        "server.address": "127.0.0.1",
        "server.port": int(pair.emulator.url.rpartition(":")[2]),
        "network.protocol.version": "1.1",
        "http.response.status_code": 404,
        "error.type": "404",
        "mangopay_sidecar.purpose": "call",
        "mangopay_sidecar.token_generation": 1,
    }
    assert client.status == "error"
    assert server.began <= client.began <= client.ended <= server.ended


@pytest.mark.any_loop
async def test_a_mended_401_tells_both_attempts_with_their_tokens_and_the_wait_between() -> None:
    async def calls(pair: Pair) -> None:
        await pair.call("GET", USERS)
        pair.emulator.state.tokens.revoke(None, client_id=None)
        pair.emulator.faults.add("pass delay=0.05 token")
        await pair.call("POST", NATURAL, BODY, headers=(KEY, traceparent()))

    collector, _ = await traced(calls)

    server = collector.servers[1]
    assert (server.name, server.trace_id, server.parent_id) == ("POST /v2.01/{client}/users/natural", TRACE, PARENT)
    assert server.own("recovered") == ["token"]
    assert (server.status, server.attributes["http.response.status_code"]) == ("unset", 200)
    first, second = collector.attempts(server)
    told = [
        (
            span.attributes["http.response.status_code"],
            span.own("token_generation"),
            span.attributes.get("error.type"),
            span.attributes.get("http.request.resend_count"),
            span.status,
        )
        for span in (first, second)
    ]
    assert told == [(401, 1, "401", None, "error"), (200, 2, None, 1, "unset")]
    assert [name for name, _ in first.events] == []
    waits = dict(second.events)
    assert waits["token.wait"]["mangopay_sidecar.wait_seconds"] >= 0.05
    assert first.ended <= second.began


async def test_each_attempt_names_its_own_span_upstream_in_place_of_the_callers() -> None:
    async def calls(pair: Pair) -> None:
        await pair.call("GET", USERS)
        pair.emulator.state.tokens.revoke(None, client_id=None)
        await pair.call("GET", USERS, headers=(traceparent(), ("tracestate", "vendor=1"), ("X-Other", "kept")))

    collector, pair = await traced(calls)

    received = lines_received(pair)[-2:]
    attempts = collector.attempts(collector.servers[1])
    for request, span in zip(received, attempts, strict=True):
        lines = [(name.lower(), value) for name, value in request]
        assert [value for name, value in lines if name == "traceparent"] == [span.traceparent]
        assert [value for name, value in lines if name == "tracestate"] == ["vendor=1"]
        assert ("x-other", "kept") in lines


async def test_reading_back_is_a_client_span_of_its_own() -> None:
    async def calls(pair: Pair) -> None:
        pair.emulator.faults.add("reset=after POST api times=1")
        pair.emulator.faults.add("status=400 GET /v2.01/acme/responses times=1")  # as if it was not stored yet
        response = await pair.call("POST", NATURAL, BODY, headers=(KEY,))
        assert response.status == 200

    collector, _ = await traced(calls)

    (server,) = collector.servers
    assert server.own("recovered") == ["idempotency"]
    told = [
        (
            span.name,
            span.own("purpose"),
            span.attributes.get("http.response.status_code"),
            span.attributes.get("error.type"),
        )
        for span in collector.attempts(server)
    ]
    read_back = "GET /v2.01/{client}/responses/{id}"
    assert told == [
        ("POST /v2.01/{client}/users/natural", "call", None, "lost"),
        (read_back, "read_back", 400, "400"),
        (read_back, "read_back", 200, None),
    ]
    assert [span.own("token_generation") for span in collector.attempts(server)] == [1, 1, 1]
    assert KEY[1] not in str(collector.spans)


async def test_an_unknown_outcome_and_why_are_attributes() -> None:
    async def calls(pair: Pair) -> None:
        pair.emulator.faults.add("reset=after POST api times=1")
        await pair.call("POST", NATURAL, BODY)

    collector, _ = await traced(calls)

    (server,) = collector.servers
    assert (server.own("error"), server.own("outcome")) == ("upstream_unreachable", "unknown")
    assert (server.attributes["error.type"], server.own("source"), server.status) == (
        "upstream_unreachable",
        "sidecar",
        "error",
    )


async def test_a_call_without_a_token_has_an_attempt_that_no_token_was_sent_with() -> None:
    async def calls(pair: Pair) -> None:
        pair.emulator.faults.add("hang token")
        await pair.call("GET", USERS)

    collector, _ = await traced(calls, token_prefetch="false", token_wait_timeout="100ms")

    (server,) = collector.servers
    (client,) = collector.attempts(server)
    assert (client.attributes["error.type"], client.own("token_generation")) == ("token_unavailable", None)
    assert [name for name, _ in client.events] == ["connection.wait", "token.wait"]


async def test_refused_calls_and_the_local_token_are_spans_without_attempts() -> None:
    async def calls(pair: Pair) -> None:
        await pair.call("GET", "/v2.01/other/users")
        await pair.call("POST", "/v2.01/oauth/token", b"grant_type=client_credentials")

    collector, _ = await traced(calls)

    refused, token = collector.servers
    assert (refused.own("error"), refused.status) == ("client_id_mismatch", "unset")
    assert (token.attributes["http.response.status_code"], token.own("source")) == (200, "sidecar")
    assert len(collector.spans) == 2


@pytest.mark.parametrize(
    ("sample", "flags", "recorded"),
    [("0%", "01", True), ("100%", "00", False), ("0%", None, False), ("100%", None, True), ("100%", "02", False)],
)
async def test_a_callers_decision_is_followed_and_else_the_share_decides(
    sample: str, flags: str | None, recorded: bool
) -> None:
    headers = () if flags is None else (traceparent(flags),)

    async def calls(pair: Pair) -> None:
        await pair.call("GET", USERS, headers=headers)

    collector, pair = await traced(calls, tracing_sample=sample)

    assert bool(collector.spans) is recorded
    (sent,) = [value for request in lines_received(pair) for name, value in request if name == "traceparent"]
    assert sent[:3] == "00-"
    assert int(sent[-2:], 16) & 1 == recorded
    assert (TRACE in sent) is (flags is not None)


async def test_without_traces_the_callers_context_passes_byte_for_byte() -> None:
    value = f"00-{TRACE}-{PARENT}-01"
    async with running_pair() as pair:
        await pair.call("GET", USERS, headers=(("TraceParent", value), ("tracestate", "a=1"), ("tracestate", "b=2")))
    (received,) = lines_received(pair)
    lines = [(name, each) for name, each in received if name.lower().startswith("trace")]
    assert lines == [("TraceParent", value), ("tracestate", "a=1"), ("tracestate", "b=2")]


async def test_resource_attributes_come_from_the_variables_that_the_sdk_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(pair: Pair) -> None:
        await pair.call("GET", USERS)

    collector, _ = await traced(calls)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "payments")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging,service.version=7")
    named, _ = await traced(calls)

    from sidecar.version import __version__

    assert collector.resources[0]["service.name"] == "mangopay-sidecar"
    assert collector.resources[0]["service.version"] == __version__
    assert collector.resources[0]["mangopay_sidecar.environment"] == "emulator"
    told = {key: named.resources[0][key] for key in ("service.name", "service.version", "deployment.environment.name")}
    assert told == {"service.name": "payments", "service.version": "7", "deployment.environment.name": "staging"}


async def test_the_environments_proxy_and_netrc_are_not_used_but_its_headers_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    async def calls(pair: Pair) -> None:
        await pair.call("GET", USERS)

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2hunter2\n")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-api-key={CANARY_API_KEY}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")

    collector, _ = await traced(calls)

    assert len(collector.spans) == 2
    assert collector.heads[0].startswith(b"POST /v1/traces HTTP/1.1\r\n")
    assert CANARY_API_KEY.encode() in collector.heads[0]
    assert b"authorization" not in collector.heads[0].lower()


async def test_a_path_that_names_the_traces_is_used_as_it_is() -> None:
    async with (
        running_collector() as collector,
        running_pair(tracing_otlp_endpoint=f"{collector.url}/tenant/v1/traces") as pair,
    ):
        await pair.call("GET", USERS)
        await pair.app.sidecar.close()
    assert collector.heads[0].startswith(b"POST /tenant/v1/traces ")


async def test_a_sidecar_without_traces_tells_nothing_of_them() -> None:
    async with running_app("http://127.0.0.1:1", token_prefetch="false") as app:
        assert app.sidecar._state.status().tracing is None
