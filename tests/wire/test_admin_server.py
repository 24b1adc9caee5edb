"""The admin port, over real sockets: who may ask what, and how it answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pytest

from sidecar.admin.server import AdminServer
from sidecar.admin.status import HistorySample, Readiness, RecentCall, Snapshot, Status
from sidecar.core.admission.guard import GuardRules
from sidecar.runtime import SystemClock
from sidecar.telemetry.metrics import Metrics
from tests.support import canary, prometheus
from tests.support.status import READY, snapshot, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATUS = status()


class State:
    """What the server shows; a test may change it."""

    def __init__(self) -> None:
        self.ready = READY
        self.document = STATUS
        self.facts = snapshot()
        self.calls: list[RecentCall] = []
        self.samples: list[HistorySample] = []
        self.broken = False

    def readiness(self) -> Readiness:
        return self.ready

    def status(self) -> Status:
        if self.broken:
            raise RuntimeError(canary.CANARY_API_KEY)
        return self.document

    def snapshot(self) -> Snapshot:
        if self.broken:
            raise RuntimeError(canary.CANARY_API_KEY)
        return self.facts

    @property
    def calls_ended(self) -> int:
        return len(self.calls)

    def recent_calls(self, most: int | None = None) -> tuple[RecentCall, ...]:
        newest = self.calls[::-1][:200]
        return tuple(newest if most is None else newest[:most])

    @property
    def samples_taken(self) -> int:
        return len(self.samples)

    def history(self) -> tuple[HistorySample, ...]:
        return tuple(self.samples)

    def metrics(self) -> bytes:
        return Metrics().expose()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Admin:
    def __init__(self, state: State, server: AdminServer, listener: asyncio.Server) -> None:
        self.state = state
        self.server = server
        self.port: int = listener.sockets[0].getsockname()[1]

    async def raw(self, request: bytes, *, host: str = "127.0.0.1") -> bytes:
        """Send bytes, and return all that comes back until the end of the connection."""
        reader, writer = await asyncio.open_connection(host, self.port)
        try:
            writer.write(request)
            response = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        canary.record("an answer of the admin port", response)
        return response

    async def ask(self, path: str, *headers: str, method: str = "GET", host: str = "localhost") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        head, _, body = (await self.raw("\r\n".join((*lines, "", "")).encode())).partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        return Answer(int(status.split()[1]), {k.lower(): v for k, v in (f.split(": ", 1) for f in fields)}, body)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    state = State()
    server = AdminServer(state, GuardRules(frozenset({"sidecar.internal"})), clock=SystemClock())
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    yield Admin(state, server, listener)
    listener.close()
    await server.close()


async def test_healthz_says_200(admin: Admin) -> None:
    response = await admin.ask("/healthz")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert json.loads(response.body) == {"status": "ok"}


async def test_readyz_says_200_when_ready(admin: Admin) -> None:
    response = await admin.ask("/readyz")
    assert response.status == 200
    assert json.loads(response.body)["ready"] is True


async def test_readyz_says_503_and_why_when_not(admin: Admin) -> None:
    admin.state.ready = Readiness(ready=False, reason="token_locked_out", message="locked")
    response = await admin.ask("/readyz")
    assert response.status == 503
    assert json.loads(response.body) == {"ready": False, "reason": "token_locked_out", "message": "locked"}


async def test_metrics_are_prometheus_text(admin: Admin) -> None:
    response = await admin.ask("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "mangopay_sidecar_build_info" in prometheus.parse(response.body.decode())


async def test_status_is_the_document(admin: Admin) -> None:
    response = await admin.ask("/status")
    assert response.headers["content-type"] == "application/json"
    assert msgspec.json.decode(response.body, type=Status) == STATUS


async def test_the_root_is_the_page(admin: Admin) -> None:
    response = await admin.ask("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/status", "/"])
async def test_head_answers_like_get_without_a_body(admin: Admin, path: str) -> None:
    head, get = await admin.ask(path, method="HEAD"), await admin.ask(path)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/status", "/events", "/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_405_on_every_route(admin: Admin, method: str, path: str) -> None:
    response = await admin.ask(path, "Content-Length: 0", method=method)
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["/nothing", "/healthz/", "/STATUS", "//status", "/%73tatus", "http://localhost/status"]
)
async def test_other_paths_are_404_in_json(admin: Admin, path: str) -> None:
    response = await admin.ask(path)
    assert response.status == 404
    assert json.loads(response.body)["error"] == "not_found"


async def test_a_query_makes_no_difference(admin: Admin) -> None:
    assert (await admin.ask("/readyz?verbose=1")).status == 200


@pytest.mark.parametrize("path", ["/status", "/events", "/"])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.7:9090", ""])
async def test_a_rebound_name_reads_no_status(admin: Admin, path: str, host: str) -> None:
    response = await admin.ask(path, host=host)
    assert response.status == 403
    assert json.loads(response.body)["error"] == "host_not_allowed"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_and_scrapers_come_by_any_name(admin: Admin, path: str) -> None:
    assert (await admin.ask(path, host="10.0.0.7:9090")).status == 200


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:9090", "sidecar.internal"])
async def test_known_names_read_the_status(admin: Admin, host: str) -> None:
    assert (await admin.ask("/status", host=host)).status == 200


@pytest.mark.parametrize("path", ["/status", "/events", "/"])
@pytest.mark.parametrize(
    "header",
    ["Origin: http://localhost:3000", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"],
)
async def test_a_page_of_another_origin_reads_no_status(admin: Admin, path: str, header: str) -> None:
    response = await admin.ask(path, header)
    assert response.status == 403
    assert json.loads(response.body)["error"] == "browser_not_allowed"


@pytest.mark.parametrize("site", ["none", "same-origin"])
async def test_a_person_and_the_page_itself_read_the_status(admin: Admin, site: str) -> None:
    assert (await admin.ask("/status", f"Sec-Fetch-Site: {site}")).status == 200


async def test_the_page_s_own_fetch_cannot_be_feigned_beside_an_origin(admin: Admin) -> None:
    assert (await admin.ask("/status", "Sec-Fetch-Site: same-origin", "Origin: http://localhost")).status == 403


async def test_answers_may_not_be_cached_framed_or_sniffed(admin: Admin) -> None:
    headers = (await admin.ask("/status")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["server"] == "mangopay-sidecar"
    assert "access-control-allow-origin" not in headers


async def test_the_page_s_policy_lets_its_own_style_and_script_run_and_nothing_else(admin: Admin) -> None:
    response = await admin.ask("/")
    style, script = (
        base64.b64encode(hashlib.sha256(found).digest()).decode()
        for found in (
            *re.findall(rb"<style>(.*?)</style>", response.body, re.DOTALL),
            *re.findall(rb"<script[^>]*>(.*?)</script>", response.body, re.DOTALL),
        )
    )
    assert response.headers["content-security-policy"] == (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    assert response.headers["referrer-policy"] == "no-referrer"


async def test_everything_but_the_page_may_load_nothing_at_all(admin: Admin) -> None:
    for path in ("/status", "/metrics", "/nothing"):
        headers = (await admin.ask(path)).headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_a_bad_request_is_answered_without_a_word_of_it(admin: Admin) -> None:
    response = await admin.raw(b"GET /status SECRET-IN-REQUEST HTTP/1.1\r\n\r\n")
    assert b" 400 " in response.partition(b"\r\n")[0]
    assert b"SECRET" not in response


async def test_a_fault_of_our_own_is_a_500_without_its_text(admin: Admin) -> None:
    """The exception's text holds a canary, which the suite would find in the response or in the log."""
    admin.state.broken = True
    response = await admin.ask("/status")
    assert (response.status, json.loads(response.body)["error"]) == (500, "internal_error")


async def test_connections_are_kept_and_bounded(admin: Admin) -> None:
    """A flood of idle connections cannot grow without end, and keeps no probe out: the oldest gives way."""
    loop = asyncio.get_running_loop()
    sockets = [socket.create_connection(("127.0.0.1", admin.port)) for _ in range(65)]
    try:
        for each in sockets:
            each.setblocking(False)
        assert await loop.sock_recv(sockets[0], 100) == b""
        await loop.sock_sendall(sockets[-1], b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await loop.sock_recv(sockets[-1], 100)).startswith(b"HTTP/1.1 200")
    finally:
        for each in sockets:
            each.close()


@pytest.mark.parametrize("path", ["/status", "/events", "/"])
async def test_peers_of_other_machines_read_no_status(admin: Admin, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's address is the machine's word, not the request's."""
    monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "get_extra_info", _elsewhere)  # type: ignore[attr-defined]
    response = await admin.ask(path, "X-Forwarded-For: 127.0.0.1")
    assert (response.status, json.loads(response.body)["error"]) == (403, "not_local")
    assert (await admin.ask("/healthz")).status == 200


def _elsewhere(_transport: object, name: str, default: object = None) -> object:
    return ("203.0.113.5", 4711) if name == "peername" else default


async def test_a_loopback_peer_in_ipv6_s_clothes_reads_the_status(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mapped(_transport: object, name: str, default: object = None) -> object:
        return ("::ffff:127.0.0.1", 4711, 0, 0) if name == "peername" else default

    monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "get_extra_info", mapped)  # type: ignore[attr-defined]
    assert (await admin.ask("/status")).status == 200
