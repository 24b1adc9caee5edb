"""What eight builds of the official SDKs send goes up as they sent it, and they get the responses that Mangopay gives.

This stands in for the SDKs that cannot be run here: Java, PHP, Ruby, and older majors.
"""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.emulator.settings import Credentials
from tests.support import canary, sdk_requests
from tests.support.emulator import issue_token, running_emulator
from tests.support.sidecar import Sidecar

if TYPE_CHECKING:
    from sidecar.emulator.server import Received
    from tests.support.sdk_requests import RecordedRequest

pytestmark = [pytest.mark.sdk, pytest.mark.parametrize("sdk", sdk_requests.SDKS)]

#: Made anew on the way up, or meant for the next hop only (contract section 4.3).
_NOT_COMPARED: Final = frozenset({"host", "authorization", "content-length", "connection", "expect"})


@dataclass(frozen=True)
class Got:
    """What an SDK gets for one request."""

    status: int
    header_lines: tuple[bytes, ...]
    body: bytes

    @property
    def names(self) -> list[bytes]:
        """The names of the headers, in order and case; Connection is between neighbours."""
        names = [line.partition(b":")[0] for line in self.header_lines]
        return [name for name in names if name.lower() != b"connection"]

    @property
    def kind(self) -> object:
        """What identifies the body, dates and serial numbers aside."""
        value = json.loads(self.body or b"null")
        return value.get("Type", sorted(value)) if isinstance(value, dict) else type(value)


async def replay(requests: list[RecordedRequest], port: int, token: str | None = None) -> list[Got]:
    """Send ``requests`` over one connection, as an SDK does; with ``token`` in place of the one they were made with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return [await _replay(request, reader, writer, port=port, token=token) for request in requests]
    finally:
        writer.close()
        await writer.wait_closed()


async def _replay(
    request: RecordedRequest,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    port: int,
    token: str | None,
) -> Got:
    replaced = {}
    if ":" in (request.header("Host") or ""):  # some token calls leave the port out
        replaced["Host"] = f"127.0.0.1:{port}"
    if token is not None:
        replaced["Authorization"] = f"Bearer {token}"
    writer.write(request.head(**replaced))
    if request.header("Expect"):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(request.body)
    got = await _answer(reader)
    canary.record("an answer to a recorded request", b"\n".join([*got.header_lines, got.body]))
    return got


async def _answer(reader: asyncio.StreamReader) -> Got:
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    lengths = [line.partition(b":")[2] for line in lines if line.lower().startswith(b"content-length:")]
    body = await reader.readexactly(int(lengths[0])) if lengths else b""
    return Got(int(status_line.split()[1]), tuple(lines), body)


@dataclass(frozen=True)
class Replayed:
    """What became of one build's requests: the token call first, then all the others."""

    token_call: Got
    #: Whether Mangopay noticed the token call.
    token_call_seen: bool
    calls: list[RecordedRequest]
    #: The responses that came through the sidecar, and those that Mangopay gives without it.
    through: list[Got]
    direct: list[Got]
    #: What Mangopay got from the sidecar.
    received: list[Received]
    token_requests: int
    upstream_port: int


@functools.cache
def replayed(sdk: str) -> Replayed:
    """Replay what a build sent, once, through the sidecar and without it."""
    return asyncio.run(_replay_both_ways(sdk))


async def _replay_both_ways(sdk: str) -> Replayed:
    token_call, *calls = sdk_requests.recorded(sdk)
    keys = Credentials({sdk_requests.CLIENT_ID: [canary.CANARY_API_KEY]}, any_client=False)
    async with running_emulator() as mangopay:
        direct = await replay(calls, mangopay.port, issue_token(mangopay, sdk_requests.CLIENT_ID))
    async with running_emulator(credentials=keys) as mangopay:
        sidecar = await asyncio.to_thread(
            Sidecar, f"http://127.0.0.1:{mangopay.port}", client_id=sdk_requests.CLIENT_ID
        )
        try:
            await asyncio.to_thread(sidecar.wait_until_ready)
            mangopay.received.clear()
            (token,) = await replay([token_call], sidecar.port)
            token_call_seen = bool(mangopay.received)
            through = await replay(calls, sidecar.port)
            received, token_requests = list(mangopay.received), mangopay.stats.token_requests
        finally:
            await asyncio.to_thread(sidecar.close)
    assert sidecar.complaints == []
    return Replayed(token, token_call_seen, calls, through, direct, received, token_requests, mangopay.port)


def sent(request: RecordedRequest) -> list[tuple[bytes, bytes]]:
    """The headers that have to reach Mangopay, in order."""
    headers = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers)
    return [(name, value) for name, value in headers if name.decode("latin-1").lower() not in _NOT_COMPARED]


def arrived(request: Received) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in request.headers if name.decode("latin-1").lower() not in _NOT_COMPARED]


def values(request: Received, name: bytes) -> list[bytes]:
    return [value for field, value in request.headers if field.lower() == name]


def test_a_token_call_is_answered_here_whatever_its_path_and_body_look_like(sdk: str) -> None:
    response = replayed(sdk).token_call
    token = json.loads(response.body)

    assert response.status == 200
    assert token["access_token"].startswith("sidecar_")
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
    assert not replayed(sdk).token_call_seen


def test_every_request_goes_up_as_it_was_sent(sdk: str) -> None:
    calls, received = replayed(sdk).calls, replayed(sdk).received

    assert [(request.method, request.target) for request in received] == [(call.method, call.target) for call in calls]
    assert [request.body for request in received] == [call.body for call in calls]
    assert [arrived(request) for request in received] == [sent(call) for call in calls]


def test_mangopay_sees_one_length_and_the_real_token(sdk: str) -> None:
    for request in replayed(sdk).received:
        (authorization,) = values(request, b"authorization")
        assert authorization.startswith(b"Bearer " + canary.CANARY_TOKEN.encode())
        assert values(request, b"host") == [b"127.0.0.1:%d" % replayed(sdk).upstream_port]
        assert values(request, b"expect") == values(request, b"transfer-encoding") == []
        if request.body:
            assert values(request, b"content-length") == [b"%d" % len(request.body)]
    assert replayed(sdk).token_requests == 1


def test_every_response_is_what_mangopay_itself_would_give(sdk: str) -> None:
    through, direct = replayed(sdk).through, replayed(sdk).direct

    assert {response.status for response in direct} >= {200, 204, 400, 401, 404, 409, 429, 500}
    assert [response.status for response in through] == [response.status for response in direct]
    assert [response.names for response in through] == [response.names for response in direct]
    assert [response.kind for response in through] == [response.kind for response in direct]
