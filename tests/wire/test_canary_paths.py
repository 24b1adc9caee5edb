"""Every error that the sidecar makes itself, with secrets planted everywhere: the exact response, and no secret.

What is looked at: the response, the whole log (calls, events and libraries' lines), and every page of the admin port.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest
import structlog

from sidecar.core.errors import STATUS, ErrorCode
from sidecar.proxy import handler, outgoing
from sidecar.runtime import SystemClock
from sidecar.telemetry.line_format import json_line
from sidecar.telemetry.log import configure_logging
from sidecar.telemetry.rate_limits import RateLimits
from sidecar.tokens import manager
from tests.support import canary
from tests.support.app import App, request_bytes, running_app
from tests.support.canary import CANARY_API_KEY, CANARY_CALLER_KEY, CANARY_EMBEDDED_KEY
from tests.support.emulator import basic, running_emulator
from tests.support.log_threads import ended_log_threads
from tests.support.ports import free_port
from tests.support.raw_client import RawClient, ReceivedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from sidecar.emulator.server import Emulator

QUERY: Final = "cAnArYqUeRy4e1d"
COOKIE: Final = "cAnArYcOoKiE7b2c"
BODY: Final = "cAnArYbOdY9a3f"
HEADER: Final = "cAnArYhEaDeR6c8e"
PASSWORD: Final = "cAnArYwRoNgPaSsWoRd5d0b"
#: What a caller sent; the keys and tokens are in tests.support.canary.
SENT: Final = (QUERY, COOKIE, BODY, HEADER, PASSWORD)

TARGET: Final = f"/v2.01/acme/users/natural?apikey={QUERY}&card=4970105191923460"
EMBEDDED: Final = f"/v2.01/oauth/token/embedded/recipient?apikey={QUERY}"
PAYLOAD: Final = json.dumps({"Tag": BODY, "CardNumber": "4970105191923460"}).encode()
AUTHORIZATION: Final = ("Authorization", basic("acme", CANARY_CALLER_KEY))
HEADERS: Final = (AUTHORIZATION, ("Cookie", f"session={COOKIE}"), ("X-Whatever", HEADER))


def call_bytes(target: str = TARGET, headers: tuple[tuple[str, str], ...] = HEADERS) -> bytes:
    """Return a request that is full of secrets."""
    return request_bytes("POST", target, PAYLOAD, headers=headers)


# --- the ways to each error ------------------------------------------------------------------------------------------


@dataclass
class Here:
    """What a way can use."""

    app: App
    emulator: Emulator

    async def ask(self, data: bytes) -> ReceivedResponse:
        """Send bytes on a connection of their own, and return the response."""
        with await self.app.connect() as client:
            await client.send(data)
            return await client.response()


@dataclass
class Way:
    """How to get an error of one code."""

    code: ErrorCode
    outcome: str = "not-sent"
    #: What the caller sends.
    request: bytes = field(default_factory=call_bytes)
    faults: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    #: Done before the request is sent.
    before: Callable[[Here], Awaitable[None]] | None = None


def with_headers(*headers: tuple[str, str], without: str = "") -> bytes:
    return call_bytes(headers=(*(each for each in HEADERS if each[0] != without), *headers))


async def has_a_token(here: Here) -> None:
    assert (await here.ask(request_bytes("GET", "/v2.01/acme/users", headers=(AUTHORIZATION,)))).status == 200


async def loses_its_upstream(here: Here) -> None:
    await has_a_token(here)
    await here.emulator.stop()


async def uses_what_is_not_reserved(here: Here) -> None:
    here.emulator.state.configure(rate_windows=[86_400], rate_limits=[2], enforce_rate_limits=True)
    await has_a_token(here)


async def begins_to_drain(here: Here) -> None:
    here.app.sidecar.begin_drain()


WAYS: Final = {
    "a traversal": Way(ErrorCode.BAD_REQUEST, request=call_bytes(f"/v2.01/acme/../users?apikey={QUERY}")),
    "an absolute target": Way(ErrorCode.BAD_REQUEST, request=call_bytes(f"http://{QUERY}.example/")),
    "bytes that are no HTTP": Way(ErrorCode.BAD_REQUEST, request=f"{QUERY} {COOKIE} {BODY}\r\n\r\n".encode()),
    "a header that is none": Way(ErrorCode.BAD_REQUEST, request=call_bytes().replace(b"Cookie:", b"Coo kie:")),
    "two lengths": Way(ErrorCode.BAD_REQUEST, request=with_headers(("Content-Length", "1"))),
    "an unknown host": Way(
        ErrorCode.HOST_NOT_ALLOWED, request=call_bytes().replace(b"Host: localhost", b"Host: evil.example")
    ),
    "a browser": Way(ErrorCode.BROWSER_NOT_ALLOWED, request=with_headers(("Origin", f"https://{HEADER}.example"))),
    "a denied path": Way(ErrorCode.POLICY_DENIED, settings={"policy_deny": "POST /**"}),
    "another ClientId": Way(ErrorCode.CLIENT_ID_MISMATCH, request=call_bytes(f"/v2.01/{QUERY}/users?apikey={QUERY}")),
    "a forged token": Way(
        ErrorCode.CALLER_NOT_ALLOWED,
        request=with_headers(("Authorization", f"Bearer sidecar_{PASSWORD}"), without="Authorization"),
    ),
    "a wrong password at the local token path": Way(
        ErrorCode.CALLER_NOT_ALLOWED,
        request=call_bytes("/v2.01/oauth/token", (("Authorization", basic("acme", PASSWORD)),)),
    ),
    "a slow head": Way(
        ErrorCode.REQUEST_TIMEOUT, request=call_bytes()[: -len(PAYLOAD) - 2], settings={"listen_header_timeout": "1ms"}
    ),
    "a slow body": Way(ErrorCode.REQUEST_TIMEOUT, request=call_bytes()[:-1], settings={"listen_body_timeout": "1ms"}),
    "a large body": Way(ErrorCode.BODY_TOO_LARGE, settings={"listen_max_body": "10"}),
    "an unknown expectation": Way(ErrorCode.EXPECTATION_FAILED, request=with_headers(("Expect", HEADER))),
    "a long header": Way(ErrorCode.HEADERS_TOO_LARGE, request=with_headers(("X-Long", HEADER * 1000))),
    "many headers": Way(ErrorCode.HEADERS_TOO_LARGE, request=with_headers(*[("X-Many", HEADER)] * 200)),
    "a batch call without room": Way(
        ErrorCode.RATE_RESERVED,
        request=with_headers(("X-Sidecar-Lane", "batch")),
        settings={"limits_reserve": "50%"},
        before=uses_what_is_not_reserved,
    ),
    "no embedded key": Way(
        ErrorCode.EMBEDDED_KEY_MISSING, request=call_bytes(EMBEDDED), settings={"mangopay_embedded_api_key": ""}
    ),
    "refused credentials": Way(ErrorCode.CREDENTIALS_REFUSED, faults=("invalid-client token",)),
    "a refused embedded key": Way(
        ErrorCode.CREDENTIALS_REFUSED, request=call_bytes(EMBEDDED), faults=("invalid-client token",)
    ),
    "a lost connection": Way(ErrorCode.UPSTREAM_UNREACHABLE, "unknown", faults=("reset=before POST api",)),
    "a lost answer that cannot be read back": Way(
        ErrorCode.UPSTREAM_UNREACHABLE,
        "unknown",
        request=with_headers(("Idempotency-Key", "canary-aside-0123")),
        faults=("reset=before POST api",),
    ),
    "an answer that is no HTTP": Way(ErrorCode.UPSTREAM_UNREACHABLE, "unknown", faults=("garbage POST api",)),
    "no upstream": Way(ErrorCode.UPSTREAM_UNREACHABLE, before=loses_its_upstream),
    "a locked account": Way(ErrorCode.TOKEN_LOCKED_OUT, faults=("lockout token",)),
    "no token": Way(ErrorCode.TOKEN_UNAVAILABLE, faults=("status=500 token",), settings={"token_wait_timeout": "50ms"}),
    "a token that is none": Way(
        ErrorCode.TOKEN_UNAVAILABLE, faults=("not-json token",), settings={"token_wait_timeout": "50ms"}
    ),
    "too many connections": Way(ErrorCode.OVERLOADED, settings={"listen_max_connections": "1"}),
    "a shutdown": Way(ErrorCode.SHUTTING_DOWN, before=begins_to_drain),
    "no answer in time": Way(
        ErrorCode.UPSTREAM_TIMEOUT,
        "unknown",
        faults=("hang POST api",),
        settings={"upstream_response_timeout": "50ms"},
    ),
}


# --- what comes to light ---------------------------------------------------------------------------------------------


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Where all events and libraries' lines go in the sidecar's own format; calls' lines are in ``App.log``."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with ended_log_threads():
        output = configure_logging("debug", "json", SystemClock(), fd=descriptor)
        yield path
        output.close()
    os.close(descriptor)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def shown(text: str) -> list[str]:
    """Name the secrets that ``text`` shows."""
    found = [secret for secret in SENT if secret in text or base64.b64encode(secret.encode()).decode()[:-4] in text]
    return found + canary.leaks(text) + [card for card in ("4970105191923460",) if card in text]


async def whole(client: RawClient) -> str:
    return (await client.rest()).decode()


async def stream(client: RawClient) -> str:
    """Return what a new listener is told: a stream has no end."""
    seen = b""
    while b"event: history" not in seen and (data := await client.receive()):
        seen += data
    return seen.decode()


async def admin_pages(app: App) -> dict[str, str]:
    pages = {}
    for path in ("/status", "/events", "/metrics", "/readyz", "/", f"/{QUERY}?apikey={QUERY}"):
        with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
            await client.send(request_bytes("GET", path, headers=(("Cookie", COOKIE), ("Connection", "close"))))
            pages[path] = await (stream(client) if path == "/events" else whole(client))
    return pages


async def assert_nothing_shows(app: App, log_file: Path, response: ReceivedResponse) -> None:
    places = {
        "the answer": response.raw.decode("latin-1"),
        "the calls' log": b"".join(map(json_line, app.log.entries)).decode(),
        "the log": log_file.read_text(),
        **await admin_pages(app),
    }
    assert {where: leaked for where, text in places.items() if (leaked := shown(text))} == {}
    assert all(places.values()), "there was nothing to look at"


@asynccontextmanager
async def running(way: Way) -> AsyncIterator[Here]:
    keys = {"mangopay_embedded_api_key": CANARY_EMBEDDED_KEY, "listen_caller_key": CANARY_CALLER_KEY}
    port = free_port() if way.before is loses_its_upstream else 0
    async with running_emulator(port=port) as emulator:
        for fault in way.faults:
            emulator.faults.add(fault)
        async with running_app(emulator.url, **{**keys, **way.settings}) as app:
            yield Here(app, emulator)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_every_code_has_a_way() -> None:
    assert {way.code for way in WAYS.values()} == set(ErrorCode)


def assert_shape(response: ReceivedResponse, code: ErrorCode, outcome: str, wall: float) -> None:
    """Check what contract section 7 says of every error of the sidecar's own."""
    assert response.version == b"HTTP/1.1"
    assert (response.status, response.reason) == (STATUS[code], HTTPStatus(STATUS[code]).phrase.encode())
    retry = [b"Retry-After"] if response.status in (429, 503) else []
    assert [name for name, _ in response.headers if name != b"Connection"] == [
        b"Content-Type",
        b"X-Sidecar-Error",
        b"X-Sidecar-Outcome",
        b"Content-Length",
        *retry,
    ]
    assert response.header("Content-Type") == b"application/json"
    assert response.header("X-Sidecar-Error") == code.value.encode()
    assert response.header("X-Sidecar-Outcome") == outcome.encode()
    assert response.header("Connection") in (None, b"close")
    if retry:
        assert int(response.header("Retry-After") or b"") >= 1
    report = response.json
    assert list(report) == ["Message", "Type", "Id", "Date", "errors"]
    assert report["Type"] == f"sidecar_{code}"
    assert type(report["Date"]) is int
    assert abs(report["Date"] - wall) < 60
    assert report["errors"] is None
    assert isinstance(report["Message"], str)
    assert report["Message"].isprintable()


@pytest.mark.parametrize("name", WAYS)
async def test_an_error_has_its_shape_and_shows_no_secret(name: str, log_file: Path) -> None:
    way = WAYS[name]
    async with running(way) as here:
        if way.before is not None:
            await way.before(here)
        if name == "too many connections":
            here.emulator.faults.add("hang api")
            with await here.app.connect() as first:
                await first.send(call_bytes())
                while not here.emulator.state.stats.requests > 1:
                    await asyncio.sleep(0.001)
                response = await here.ask(way.request)
        else:
            response = await here.ask(way.request)
        assert_shape(response, way.code, way.outcome, SystemClock().wall())
        (line,) = [each for each in here.app.log.requests if each["id"] == response.json["Id"]]
        assert (line["level"], line["status"]) == ("warning", response.status)
        assert (line["error"], line["outcome"]) == (way.code, way.outcome)
        await assert_nothing_shows(here.app, log_file, response)


# --- crashes ---------------------------------------------------------------------------------------------------------


class BugError(Exception):
    """A bug of ours whose words quote every secret there is."""

    def __init__(self) -> None:
        super().__init__(*SENT, CANARY_API_KEY, CANARY_EMBEDDED_KEY, CANARY_CALLER_KEY, canary.CANARY_TOKEN, TARGET)


async def broken(*_: Any, **__: Any) -> NoReturn:
    raise BugError


def broken_at_once(*_: Any, **__: Any) -> NoReturn:
    raise BugError


#: Which method of which part of a Sidecar breaks, and how.
CRASHES: Final[dict[str, tuple[Callable[[App], object], str, Callable[..., Any]]]] = {
    "the handler": (lambda app: app.sidecar._handler, "_serve", broken),
    "the request's template": (lambda app: app.sidecar._handler, "_template", broken_at_once),
    "the body reader": (lambda app: type(app.sidecar._handler._bodies), "read", broken),
    "the token manager's check": (lambda app: app.sidecar._credentials.api, "check", broken_at_once),
    "the token manager": (lambda app: app.sidecar._credentials.api, "take_nowait", broken_at_once),
    "the pool": (lambda app: app.sidecar._upstream.pool, "take_idle", broken_at_once),
    "the forwarder": (lambda app: app.sidecar._handler._forwarder, "forward", broken),
    "the credentials": (lambda app: type(app.sidecar._credentials), "for_route", broken_at_once),
    "the look for news": (lambda _: manager, "is_news", broken_at_once),
    "the path's mask": (lambda _: handler, "mask_path", broken_at_once),
    "the rate limits": (lambda _: RateLimits, "observe", broken_at_once),
    "the request": (lambda _: outgoing.Request, "__getattribute__", broken_at_once),
}
#: Those that the compiled build has in Python too, so that they can be patched.
INTERPRETED: Final = frozenset({"the look for news", "the path's mask"})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in INTERPRETED else [pytest.mark.interpreted]) for name in CRASHES]
)
async def test_a_crash_is_answered_in_shape_shows_no_secret_and_hurts_no_other_call(
    name: str, log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, method, replacement = CRASHES[name]
    async with running(Way(ErrorCode.UPSTREAM_UNREACHABLE)) as here:
        await has_a_token(here)
        with monkeypatch.context() as patch:
            patch.setattr(part(here.app), method, replacement)
            response = await here.ask(call_bytes())
        assert_shape(response, ErrorCode.UPSTREAM_UNREACHABLE, "unknown", SystemClock().wall())
        assert response.header("Connection") == b"close"
        (event,) = [
            line for line in map(json.loads, log_file.read_text().splitlines()) if line["event"] == "request.failed"
        ]
        assert (event["level"], event["error"]) == ("error", "BugError")
        await assert_nothing_shows(here.app, log_file, response)
        await has_a_token(here)


async def test_a_crash_of_the_token_fetch_shows_no_secret_and_counts_as_no_token(log_file: Path) -> None:
    way = Way(ErrorCode.TOKEN_UNAVAILABLE, settings={"token_prefetch": "false", "token_wait_timeout": "50ms"})
    async with running(way) as here:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(here.app.sidecar._credentials.api._source, "fetch", broken)
            response = await here.ask(call_bytes())
            assert_shape(response, way.code, way.outcome, SystemClock().wall())
            await assert_nothing_shows(here.app, log_file, response)


async def test_a_crash_of_a_background_task_shows_no_secret(log_file: Path) -> None:
    async with running(Way(ErrorCode.BAD_REQUEST)) as here:
        task = here.app.sidecar._tasks.spawn(broken(), name="doomed")
        await asyncio.wait([task])
        (event,) = [
            line for line in map(json.loads, log_file.read_text().splitlines()) if line["event"] == "task.failed"
        ]
        assert event["error"] == "BugError"
        await has_a_token(here)
        response = await here.ask(WAYS["a traversal"].request)
        await assert_nothing_shows(here.app, log_file, response)


async def test_a_crash_of_an_admin_page_shows_no_secret(log_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(Way(ErrorCode.BAD_REQUEST)) as here:
        monkeypatch.setattr(type(here.app.sidecar._upstream.pool), "open", property(broken_at_once))
        response = await here.ask(WAYS["a traversal"].request)
        pages = await admin_pages(here.app)
        assert pages["/status"].startswith("HTTP/1.1 500 ")
        assert pages["/events"].startswith("HTTP/1.1 500 ")
        await assert_nothing_shows(here.app, log_file, response)


def test_the_look_finds_each_secret() -> None:
    """Else all of the above would prove nothing."""
    text = " ".join(map(str, BugError().args)) + basic("acme", PASSWORD)
    assert set(shown(text)) == {*SENT, *canary.leaks(text), "4970105191923460"}
    assert len(canary.leaks(text)) == 4
    assert shown(basic("acme", CANARY_CALLER_KEY)) == ["the caller key"]
