"""The random upstream: it does with each delivery what the plan says, and writes down what it saw."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from contextlib import aclosing
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from benchmarks.deliveries.ledger import Page
from benchmarks.deliveries.messages import NOISE, ONE_RECORD, SURPLUS, response
from benchmarks.deliveries.plan import (
    Action,
    Ending,
    ReadBack,
    Reading,
    Reply,
    TokenReply,
    leaves_at_once,
    token_reply,
)
from benchmarks.deliveries.wire import Wire
from tests.support.canary import CANARY_TOKEN

if TYPE_CHECKING:
    import ssl

    from benchmarks.deliveries.ledger import Ledger
    from benchmarks.deliveries.messages import Rendered
    from benchmarks.deliveries.oracle import Evidence

#: Seconds that a slow token takes, and that a request without an answer keeps its connection.
_SLOW: Final = 0.05
_HANG: Final = 5.0
_LINE: Final = re.compile(rb"([A-Z]+) ([^ ?]+)")
_NUMBER: Final = re.compile(rb"[?&]number=([0-9]+)")
_KEY: Final = re.compile(rb"/responses/dlv-[0-9]+-0*([0-9]+)")
_TOKEN: Final = re.compile(rb"\r\nauthorization: bearer " + CANARY_TOKEN.encode() + rb"-([0-9]+)\r\n", re.IGNORECASE)
_REVOKED: Final = Reply(Action.TOKEN_401, executes=False, status=401, padding=20)
_PAGE: Final = b"<!DOCTYPE html><html><title>Attention required</title></html>"


class RandomUpstream:
    """A listening server. ``seed`` draws what it does besides the calls' own replies."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self._ledger: Final = ledger
        self._seed: Final = seed
        self._wires: Final[set[Wire]] = set()
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._server: asyncio.Server | None = None
        self._accepted = 0
        # How often it was asked for the stored response to a call.
        self._asked: Final[Counter[int]] = Counter()
        #: From now on every request is answered well.
        self.calm = False
        self.port = 0
        #: What was done, by its name.
        self.counts: Final[Counter[str]] = Counter()
        #: Errors of this program.
        self.errors: Final[list[str]] = []

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Listen on a free loopback port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Wire(self._opened), "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in list(self._wires):
            wire.drop()
            await wire.closed.wait()
        await self._server.wait_closed()

    def _opened(self, wire: Wire) -> None:
        self._wires.add(wire)
        task = asyncio.ensure_future(self._serve(wire, self._accepted))
        self._accepted += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, wire: Wire, number: int) -> None:
        try:
            if not self.calm and leaves_at_once(self._seed, number):
                self.counts["connection reset at once"] += 1
                wire.reset()
                return
            while await self._request(wire):
                pass
        except EOFError:
            if wire.held and not _NUMBER.search(wire.held):
                self._ledger.strays.append(bytes(wire.held[:200]))
        except Exception as error:
            self.errors.append(repr(error))
        finally:
            wire.close()
            self._wires.discard(wire)

    async def _request(self, wire: Wire) -> bool:
        """Serve one request; return whether another may follow."""
        head = await wire.head()
        line = _LINE.match(head)
        if line is None:
            self._ledger.strays.append(head[:200])
            return False
        method, path = line[1].decode(), line[2]
        if path.endswith(b"/oauth/token"):
            return await self._token(wire, head)
        if asked := _KEY.search(path):
            return await self._read_back(wire, head, self._ledger.evidence[int(asked[1])])
        number = _NUMBER.search(head)
        evidence = None if number is None else self._ledger.evidence.get(int(number[1]))
        if evidence is None:
            self._ledger.strays.append(head[:200])
            return False
        return await self._deliver(wire, head, Page(evidence, method))

    # --- deliveries --------------------------------------------------------------------------------------------------

    async def _deliver(self, wire: Wire, head: bytes, page: Page) -> bool:
        if page.call.revokes and page.number == 1:
            self._ledger.revoke()
        reply = Reply() if self.calm else page.call.reply(page.number)
        if not self._is_valid(head):
            reply = _REVOKED
        self.counts[f"deliveries: {reply.action}"] += 1
        async with aclosing(wire.body(head)) as body:
            received = 0
            wanted = {Reading.LINE: 0, Reading.PART: (page.call.size or 0) // 2}.get(reply.reading)
            while wanted is None or received < wanted:
                piece = await anext(body, b"")
                if not piece:
                    break
                page.received(piece)
                received += len(piece)
            if wanted is None:
                page.received_all()
            goes_on = await self._act(wire, page, reply)
            if not goes_on:
                return False
            if wanted is not None:  # an early response: the rest of the request follows, or the connection ends
                async for piece in body:
                    page.received(piece)
                page.received_all()
        return True

    def _is_valid(self, head: bytes) -> bool:
        token = _TOKEN.search(head)
        return token is not None and int(token[1]) >= self._ledger.valid_from

    async def _act(self, wire: Wire, page: Page, reply: Reply) -> bool:
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.action in {Action.LEAVE, Action.HANG}:
            page.acts(reply, None)
            if reply.action is Action.HANG:
                await _wait_for_end(wire)
            else:
                _end(wire, reply.ending)
            return False
        rendered = response(page.call, page.number, reply)
        page.acts(reply, rendered)
        await _send(wire, page, reply, rendered)
        keep = reply.ending is Ending.KEEP and reply.cut is None and rendered.complete_at == len(rendered.data)
        if not keep:
            _end(wire, reply.ending)
        return keep

    # --- reading back ------------------------------------------------------------------------------------------------

    async def _read_back(self, wire: Wire, head: bytes, evidence: Evidence) -> bool:
        call, stored = evidence.call, evidence.stored
        kind = ReadBack.TRUTH if self.calm else call.read_back
        self.counts[f"read back: {kind}"] += 1
        self._asked[call.number] += 1
        first = self._asked[call.number] == 1
        if not self._is_valid(head) or (kind is ReadBack.UNAUTHORIZED and first):
            await wire.send(_json(401, {"Type": "unauthorized"}))
            return True
        if kind is ReadBack.RESET:
            wire.reset()
            return False
        if kind in {ReadBack.ERROR, ReadBack.FORBIDDEN}:
            await wire.send(_json(500 if kind is ReadBack.ERROR else 403, {"Type": "whatever"}))
        elif kind is ReadBack.PAGE:
            await wire.send(_whole(200, _PAGE, b"text/html"))
        elif kind is ReadBack.OTHERS:
            others = b'{"Number": %d, "Delivery": 1}' % (call.number + 1)
            await wire.send(_stored(call.path + "9", 200, others, time.time()))
        elif kind is ReadBack.STALE:
            await wire.send(_stored(call.path, 200, b'{"Number": 0, "Delivery": 1}', time.time() - 3600))
        elif stored is None or (kind is ReadBack.LATE and first):
            await wire.send(_json(404, {"Type": "ressource_not_found"}))
        else:
            await wire.send(_stored(call.path, stored.status, stored.body, time.time()))
        return True

    # --- tokens ------------------------------------------------------------------------------------------------------

    async def _token(self, wire: Wire, head: bytes) -> bool:
        async with aclosing(wire.body(head)) as body:
            async for _ in body:
                pass
        kind = TokenReply.GOOD if self.calm else token_reply(self._seed, self._ledger.token_requests)
        self._ledger.token_requests += 1
        self.counts[f"token requests: {kind}"] += 1
        if kind in {TokenReply.GOOD, TokenReply.SLOW}:
            token = f"{CANARY_TOKEN}-{self._ledger.issue()}"
            if kind is TokenReply.SLOW:
                await asyncio.sleep(_SLOW)
            await wire.send(_json(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600}))
            return True
        if kind is TokenReply.RESET:
            wire.reset()
            return False
        data = {
            TokenReply.ERROR: _json(500, {"error": "server_error"}),
            TokenReply.BUSY: _json(429, {"Type": "too_many"}),
            TokenReply.PAGE: _whole(403, _PAGE, b"text/html"),
            TokenReply.NOT_JSON: _whole(200, b"access_token=x", b"text/plain"),
            TokenReply.CUT: _json(200, {"access_token": "x"})[:-5],
            TokenReply.LOCKED: _json(400, {"error": "unauthorized_client"}),
            TokenReply.REFUSED: _json(401, {"error": "invalid_client"}),
        }[kind]
        await wire.send(data)
        return kind is not TokenReply.CUT


async def _send(wire: Wire, page: Page, reply: Reply, rendered: Rendered) -> None:
    data = rendered.data if reply.cut is None else rendered.data[: int(reply.cut * len(rendered.data))]
    surplus = b""
    if reply.ending is Ending.SURPLUS and rendered.complete_at == len(data):
        surplus = SURPLUS if len(data) < ONE_RECORD else NOISE
    size = max(1, -(-len(data) // reply.pieces))
    for at in range(0, len(data), size):
        end = min(at + size, len(data))
        page.wrote(reply, rendered, end)
        await wire.send(data[at:end] + (surplus if end == len(data) else b""))
        if reply.pause:
            await asyncio.sleep(reply.pause)


def _end(wire: Wire, ending: Ending) -> None:
    if ending is Ending.RESET:
        wire.reset()
    elif ending is Ending.HALF:
        wire.half_close()
    elif ending is Ending.CLOSE:
        wire.drop()
    else:
        wire.close()


async def _wait_for_end(wire: Wire) -> None:
    try:
        async with asyncio.timeout(_HANG):
            await wire.closed.wait()
    except TimeoutError:
        wire.close()


def _json(status: int, document: dict[str, object]) -> bytes:
    return _whole(status, json.dumps(document).encode(), b"application/json")


def _whole(status: int, body: bytes, kind: bytes) -> bytes:
    date = formatdate(usegmt=True).encode()
    head = b"HTTP/1.1 %d Whatever\r\nContent-Type: %b\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, date, len(body)) + body


def _stored(path: str, status: int, body: bytes, at: float) -> bytes:
    fields = {"StatusCode": str(status), "ContentType": "application/json", "Date": int(at)}
    document = json.dumps({**fields, "RequestURL": f"https://api.mangopay.com{path.replace('v2', 'V2')}"})
    resource = body.decode() or "null"
    return _whole(200, f'{document[:-1]}, "Resource": {resource}}}'.encode(), b"application/json")
