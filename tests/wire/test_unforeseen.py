"""An exception that nobody foresaw, at each step of a call: the log tells as much as of any other end (section 9)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest
import structlog

from sidecar.downstream.response import RawResponse, ResponseStream
from sidecar.proxy import forward, handler, outgoing, relay
from sidecar.proxy.attempts import Attempts
from sidecar.proxy.body import BodyReader, RequestBody
from sidecar.proxy.exchange import Exchanger
from sidecar.proxy.readback import LostResponses
from sidecar.proxy.token_retry import TokenRetry
from sidecar.proxy.upstream_response import UpstreamResponse
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.rate_limits import RateLimits
from sidecar.tokens import manager
from sidecar.tokens.manager import TokenManager
from sidecar.upstream.connection import Connection
from sidecar.upstream.pool import Pool
from sidecar.upstream.response import Response
from tests.support.answering_mangopay import AnsweringMangopay, answering
from tests.support.answering_mangopay import response as answer
from tests.support.app import App, request_bytes, running_app
from tests.support.emulator import running_emulator

if TYPE_CHECKING:
    from sidecar.emulator.server import Emulator

KEY: Final = "0123456789abcdef-key"
KEYED: Final = (("Idempotency-Key", KEY),)
ECHO: Final = "/__emulator__/echo"

pytestmark = pytest.mark.any_loop


class BugError(Exception):
    """Something that no code of ours expects."""


def broken(*_: Any, **__: Any) -> NoReturn:
    raise BugError


async def broken_later(*_: Any, **__: Any) -> NoReturn:
    await asyncio.sleep(0)
    raise BugError


#: The step that breaks: whose attribute, its name, what takes its place, and faults that lead there.
STEPS: Final[dict[str, tuple[Any, str, Any, tuple[str, ...]]]] = {
    "the framing": (handler, "check_request", broken, ()),
    "the guard": (handler, "check_guard", broken, ()),
    "the target": (handler, "parse_target", broken, ()),
    "the headers": (handler, "filter_request_headers", broken, ()),
    "the token's state": (TokenManager, "check", broken, ()),
    "the body": (BodyReader, "read", broken_later, ()),
    "the path's mask": (handler, "mask_path", broken, ()),
    "the template": (handler.ProxyHandler, "_template", broken, ()),
    "the forwarder": (forward.Forwarder, "forward", broken_later, ()),
    "the attempt": (Attempts, "response", broken_later, ()),
    "the pool": (Pool, "take_idle", broken, ()),
    "a new connection": (Pool, "acquire", broken_later, ()),
    "the token": (TokenManager, "take_nowait", broken, ()),
    "the request's bytes": (outgoing.Request, "__getattribute__", broken, ()),
    "the exchange": (Exchanger, "exchange", broken_later, ()),
    "the write": (Connection, "exchange", broken_later, ()),
    "the response's wrapper": (UpstreamResponse, "of", broken, ()),
    "the response's body": (Response, "take_whole", broken, ()),
    "the rate limits": (RateLimits, "observe", broken, ()),
    "the token's acceptance": (TokenManager, "accepted", broken, ()),
    "the look for news": (manager, "is_news", broken, ()),
    "a 401": (TokenRetry, "settle", broken_later, ("status=401 POST api",)),
    "the verdict": (Attempts, "_verdict", broken, ("reset=before POST api",)),
    "the read-back": (LostResponses, "read_back", broken_later, ("reset=before POST api",)),
    "the error report": (UpstreamResponse, "error_report", broken, ("status=500 POST api",)),
    "the whole relay": (handler, "relay_whole", broken, ()),
    "the response's head": (relay, "render_response_head", broken, ()),
    "the body's release": (RequestBody, "release", broken, ()),
    "the response's write": (RawResponse, "write_to", broken, ()),
    "the metrics": (Metrics, "observe_call", broken, ()),
}


async def keyed_post(app: App, body: bytes = b"{}") -> tuple[int | None, bytes]:
    """Make a keyed POST; return its status (None: it was cut) and the ``Id`` of an own error."""
    with await app.connect() as client:
        await client.send(request_bytes("POST", ECHO, body, headers=KEYED))
        try:
            response = await client.response()
        except (EOFError, ConnectionError):
            return None, b""
    own = response.header("X-Sidecar-Error") is not None
    return response.status, response.json["Id"].encode() if own else b""


async def a_call_works(emulator: Emulator, app: App) -> None:
    emulator.faults.clear()
    response = await app.call("GET", ECHO)
    assert response.status == 200


#: Where the compiled build has native code, which nobody can patch: only the source as it is breaks there.
NATIVE: Final = frozenset(
    {"the framing", "the guard", "the target", "the headers", "the token's state", "the body", "the body's release"}
    | {"the template", "the forwarder", "the attempt", "the pool", "a new connection", "the token", "the exchange"}
    | {"the write", "the response's body", "the token's acceptance", "the verdict", "the whole relay"}
    | {"the response's head", "the request's bytes", "the response's wrapper", "the rate limits", "the error report"}
    | {"the response's write"}
)


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=[pytest.mark.interpreted] if step in NATIVE else []) for step in STEPS]
)
async def test_whatever_step_breaks_one_line_tells_all_of_the_payment(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, name, replacement, faults = STEPS[step]
    async with running_emulator() as emulator, running_app(emulator.url, upstream_pool_size="1") as app:
        await a_call_works(emulator, app)
        if name == "acquire":
            app.sidecar._upstream.pool.retire()
        for fault in faults:
            emulator.faults.add(fault)
        app.log.entries.clear()
        with structlog.testing.capture_logs() as events, monkeypatch.context() as patch:
            if name == "observe_call":
                # Observers are bound when the sidecar is made.
                observers = app.sidecar._recorder._observers
                patch.setattr(app.sidecar._recorder, "_observers", (*observers[:1], broken, *observers[2:]))
            else:
                patch.setattr(part, name, replacement)
            status, error_id = await keyed_post(app)
            app.sidecar._recorder.flush()  # calls that were answered are told later
        (line,) = app.log.requests
        (event,) = [each for each in events if each["event"] == "request.failed"]
        assert event["id"] == line["id"]
        assert event["error"] == "BugError"
        assert event["where"].startswith("test_unforeseen.py:")
        if name == "observe_call":
            assert (status, line["status"], line.get("error")) == (200, 200, None)
        elif name == "write_to":
            # The line was written before, with what Mangopay answered; the event has what the payment can be found by.
            assert event["idempotency_key"] == KEY
            assert (status, line["status"], error_id) == (502, 200, str(line["id"]).encode())
        else:
            assert (status, line["status"], line["error"]) == (502, 502, "upstream_unreachable") or status is None
            assert (line["level"], line["outcome"], line["idempotency_key"]) == ("warning", "unknown", KEY)
            assert "BugError at test_unforeseen.py:" in str(line["detail"])
            assert error_id == str(line["id"]).encode()
            assert (event["status"], event["idempotency_key"]) == (502, KEY)
        # Nothing is kept: the only connection can be had again.
        await a_call_works(emulator, app)


@pytest.mark.interpreted
@pytest.mark.parametrize("piece", ["start", "write", "finish"])
async def test_a_response_that_breaks_while_it_streams_is_cut_and_told_once(
    piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mangopay = AnsweringMangopay(api=answer(200, "x" * 400_000))
    async with answering(mangopay) as url, running_app(url, upstream_pool_size="1") as app:
        with structlog.testing.capture_logs() as events, monkeypatch.context() as patch:
            patch.setattr(ResponseStream, piece, broken_later if piece == "write" else broken)
            status, _ = await keyed_post(app)
        assert status == (502 if piece == "start" else None)  # nothing of it had been written
        (line,) = app.log.requests
        (event,) = [each for each in events if each["event"] == "request.failed"]
        assert (line["id"], line["outcome"], line["idempotency_key"]) == (event["id"], "unknown", KEY)
        assert (event["status"], event["idempotency_key"]) == (line["status"], KEY)
        assert (await app.call("GET", ECHO)).status == 200


async def test_a_call_whose_task_is_cancelled_by_somebody_else_is_told_once_with_its_key() -> None:
    async with running_emulator() as emulator, running_app(emulator.url) as app:
        await a_call_works(emulator, app)
        emulator.faults.add("hang POST api")
        app.log.entries.clear()
        with await app.connect() as client:
            await client.send(request_bytes("POST", ECHO, b"{}", headers=KEYED))
            while emulator.state.stats.requests < 3:  # the token's, the first call, and this one
                await asyncio.sleep(0.001)
            (connection,) = app.sidecar._server.busy
            assert connection.task is not None
            connection.task.cancel()
            response = await client.response()
        (line,) = app.log.requests
        assert (response.status, response.json["Id"]) == (502, line["id"])
        assert (line["outcome"], line["idempotency_key"], line["status"]) == ("unknown", KEY, 502)
