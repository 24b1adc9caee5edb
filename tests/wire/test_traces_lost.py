"""A collector that is down, slow, hanging or refusing: calls do not notice, and one line tells."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any, Final

import pytest
import trustme

from sidecar.tracing import traces
from tests.support.app import App, running_pair
from tests.support.canary import CANARY_API_KEY
from tests.support.collector import running_collector

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.tracing.status import TracingStatus

USERS: Final = "/v2.01/acme/users"
TOO_MANY: Final = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n"
BROKEN: Final = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"
REDIRECT: Final = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
HANGS: Final = b""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have spans sent at once, and not in 5 s."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the traces' log tells."""
    told: list[tuple[str, dict[str, Any]]] = []

    class Log:
        def info(self, event: str, **fields: Any) -> None:
            told.append((event, fields))

        warning = info

    monkeypatch.setattr(traces, "_log", Log())
    return told


def tracing(app: App) -> TracingStatus:
    status = app.sidecar._state.status().tracing
    assert status is not None
    return status


async def until(app: App, *, up: bool) -> TracingStatus:
    while tracing(app).up is not up:
        await asyncio.sleep(0.001)
    return tracing(app)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (TOO_MANY, "answered 429"),
        (BROKEN, "answered 500"),
        (REDIRECT, "answered 302: a redirect, which is not followed"),
    ],
)
async def test_what_the_collector_refuses_is_told_once_until_it_takes_spans_again(
    answer: bytes, told: str, events: list[tuple[str, dict[str, Any]]]
) -> None:
    async with running_collector(answer, answer) as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url) as pair:
            await pair.call("GET", USERS)
            down = await until(pair.app, up=False)
            assert (down.collector, down.last_error) == (collector.url, told)
            assert "traces_lost" in [finding.kind for finding in pair.app.sidecar._state.status().findings]
            await pair.call("GET", USERS)
            while tracing(pair.app).lost < 2:
                await asyncio.sleep(0.001)
            await pair.call("GET", USERS)
            up = await until(pair.app, up=True)
            assert (up.sent, up.lost) == (1, 2)
    assert [event for event, _ in events] == ["tracing.failed", "tracing.recovered"]
    assert told in events[0][1]["message"]
    assert events[1][1] == {"collector": collector.url, "calls_lost": 2}
    assert len(collector.servers) == 1


async def test_a_collector_that_is_not_there_costs_nothing_but_traces(
    events: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    async with running_pair(tracing_otlp_endpoint="http://127.0.0.1:1") as pair:
        assert (await pair.call("GET", USERS)).status == 200
        down = await until(pair.app, up=False)
        assert down.last_error == "cannot be reached: connection refused"
        assert tracing(pair.app).lost == 1
    assert [event for event, _ in events] == ["tracing.failed"]


@pytest.mark.any_loop
async def test_while_the_collector_hangs_calls_are_served_and_the_end_comes_in_time(
    events: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls beyond what may wait are dropped, and counted."""
    monkeypatch.setattr(traces, "QUEUE", 4)
    monkeypatch.setattr(traces, "BATCH", 1)
    monkeypatch.setattr(traces, "FLUSH", 0.05)
    async with running_collector(HANGS, HANGS) as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url) as pair:
            await pair.call("GET", USERS)
            await collector.came.wait()
            for _ in range(6):
                assert (await pair.call("GET", USERS)).status == 200
            down = tracing(pair.app)
            assert (down.up, down.sent, down.lost) == (False, 0, 2)
            assert down.last_error == "takes spans more slowly than calls end: some are dropped"
        # The first one hangs at the collector, four wait behind it.
        assert tracing(pair.app).lost == 7
    assert [event for event, _ in events] == ["tracing.failed", "tracing.unsent"]
    assert events[1][1]["calls"] == 5


async def test_at_the_end_no_further_try_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK would try again for ten seconds."""
    monkeypatch.setattr(traces, "FLUSH", 0.05)
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    async with running_collector(*[busy] * 20) as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url) as pair:
            await pair.call("GET", USERS)
            await collector.came.wait()
            assert pair.app.sidecar._traces is not None
            thread = pair.app.sidecar._traces._processor._batch_processor._worker_thread
        thread.join(4)
        assert not thread.is_alive()


async def test_a_collector_that_answers_too_late_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    async with running_collector(HANGS, HANGS) as collector, running_pair(tracing_otlp_endpoint=collector.url) as pair:
        await pair.call("GET", USERS)
        assert (await until(pair.app, up=False)).last_error == "did not answer in time"


async def test_what_the_sdk_says_is_told_without_what_it_quotes(
    events: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that is none is quoted by the SDK, and one that HTTP does not allow by requests."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"{CANARY_API_KEY} {CANARY_API_KEY},x-key=a%0A{CANARY_API_KEY}")
    async with running_collector() as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url) as pair:
            await pair.call("GET", USERS)
            down = await until(pair.app, up=False)
    assert down.last_error == "cannot be reached: InvalidHeader"
    assert [event for event, _ in events] == ["tracing.sdk_reported", "tracing.failed"]
    assert CANARY_API_KEY not in str(events)
    assert logging.getLogger("opentelemetry").handlers == []


async def test_only_one_line_tells_of_a_collector_that_comes_and_goes(
    events: list[tuple[str, dict[str, Any]]],
) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with running_collector(BROKEN, ok, BROKEN, ok, BROKEN) as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url) as pair:
            for up in (False, True, False, True, False):
                await pair.call("GET", USERS)
                await until(pair.app, up=up)
    assert [event for event, _ in events] == ["tracing.failed", "tracing.recovered"]


# --- TLS -------------------------------------------------------------------------------------------------------------


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_a_collector_behind_tls_is_verified_and_no_key_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, key_log = trustme.CA(), tmp_path / "keys"
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSLKEYLOGFILE", str(key_log))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    async with running_collector(context=server_context(authority)) as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url.replace("http:", "https:")) as pair:
            await pair.call("GET", USERS)
            await until(pair.app, up=True)
    assert len(collector.servers) == 1
    assert not key_log.exists()


async def test_a_collector_that_is_not_trusted_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    async with running_collector(context=server_context(trustme.CA())) as collector:
        async with running_pair(tracing_otlp_endpoint=collector.url.replace("http:", "https:")) as pair:
            await pair.call("GET", USERS)
            down = await until(pair.app, up=False)
    assert down.last_error == "cannot be reached by TLS: certificate verify failed"
    assert collector.heads == []
