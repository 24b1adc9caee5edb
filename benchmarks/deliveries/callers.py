"""The random callers: each conversation on a connection of its own, and what it was told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from benchmarks.deliveries.messages import Received, read_response, request
from benchmarks.deliveries.plan import Leaving
from tests.support.canary import leaks
from tests.support.raw_client import RawClient

if TYPE_CHECKING:
    from benchmarks.deliveries.oracle import Evidence, Told
    from benchmarks.deliveries.plan import Call, Conversation

#: Seconds that a caller waits for ``100 Continue`` before it sends its body all the same (RFC 9110 section 10.1.1).
_CONTINUE: Final = 0.3
#: Seconds that a caller waits after an error that says so: else a lockout would eat up all calls of the storm.
_BACK_OFF: Final = 0.5
#: The longest time between the request and the end of a caller that does not wait for the response (seconds).
_LINGER: Final = 0.03
#: Bytes of the response that one gets at most which leaves while receiving.
_HEARD: Final = 500


class Caller:
    """Makes the calls of a conversation on one connection, as far as it goes."""

    def __init__(self, client: RawClient, conversation: Conversation) -> None:
        self._client: Final = client
        self._conversation: Final = conversation
        self._held = b""
        self._ended: str | None = None
        #: All that was received.
        self.seen: Final[list[bytes]] = []

    async def pipeline(self, pages: list[Evidence]) -> None:
        """Send all requests at once, and read what comes."""
        await self._send(b"".join(b"".join(request(page.call)) for page in pages))
        for page in pages:
            leaving = self._conversation.leaving if page is pages[-1] else None
            page.told.left = leaving is not None
            if not await self._hear(page, leaving):
                break

    async def ask(self, page: Evidence, *, last: bool) -> bool:
        """Make one call; return whether another one may follow on this connection."""
        conversation, call = self._conversation, page.call
        leaving = conversation.leaving if last else None
        page.told.left = leaving is not None
        if leaving is Leaving.SENDING:
            data = b"".join(request(call))
            await self._send(data[: int(conversation.share * len(data))])
        else:
            await self._request(call)  # the response may come before all is sent, and the connection may end
        goes_on = await self._hear(page, leaving)
        if page.told.outcome == "not-sent":
            await asyncio.sleep(_BACK_OFF)
        return goes_on

    async def _hear(self, page: Evidence, leaving: Leaving | None) -> bool:
        """Take the response, or leave; return whether another response may follow."""
        conversation = self._conversation
        if leaving in {Leaving.SENDING, Leaving.WAITING}:
            await asyncio.sleep(conversation.share * _LINGER)
        elif leaving is Leaving.HALF:
            with suppress(OSError):
                self._client.half_close()
        if leaving in {None, Leaving.HALF, Leaving.RECEIVING}:
            most = int(conversation.share * _HEARD) if leaving is Leaving.RECEIVING else None
            goes_on = await self._receive(page.call, page.told, most)
            if leaving is None:
                return goes_on
        if conversation.resets:
            self._client.reset()
        return False

    async def _request(self, call: Call) -> bool:
        head, body = request(call)
        if call.expects:
            if not await self._send(head):
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONTINUE):
                    await self._more()
            return await self._send(body)
        data = head + body
        size = -(-len(data) // call.pieces)
        for at in range(0, len(data), size):
            if at and call.pause:
                await asyncio.sleep(call.pause)
            if not await self._send(data[at : at + size]):
                return False
        return True

    async def _send(self, data: bytes) -> bool:
        return await self._client.send_all(data)

    async def _receive(self, call: Call, told: Told, most: int | None) -> bool:
        """Take one response, or ``most`` bytes of it; return whether another one may follow."""
        while True:
            found = self._look(call)
            if found is not None and found.status >= 200 and (found.complete or self._ended):
                break
            if self._ended or (most is not None and len(self._held) >= most):
                break
            await self._more()
        if found is None or found.status < 200:
            return False
        told.status, told.headers, told.body, told.complete = found.status, found.headers, found.body, found.complete
        self._held = self._held[found.size :]
        return found.complete and found.headers.get("connection") != "close" and not call.http10

    def _look(self, call: Call) -> Received | None:
        """Return the response that has come so far, interim ones dropped."""
        while True:
            found = read_response(self._held, head_only=call.method == "HEAD", ended=self._ended == "end")
            if found is None or found.status >= 200:
                return found
            self._held = self._held[found.size :]

    async def _more(self) -> None:
        try:
            piece = await self._client.receive()
        except ConnectionError:
            self._ended = "reset"
            return
        if not piece:
            self._ended = "end"
        self.seen.append(piece)
        self._held += piece


async def converse(port: int, conversation: Conversation, pages: list[Evidence]) -> list[str]:
    """Carry out a conversation, on as many connections as it takes; return what the oracle does not see."""
    wrong: list[str] = []
    waiting = list(pages)
    while waiting:
        with await RawClient.connect(("127.0.0.1", port)) as client:
            caller = Caller(client, conversation)
            try:
                if conversation.pipelined:
                    await caller.pipeline(waiting)
                    waiting.clear()
                while waiting and await caller.ask(waiting.pop(0), last=not waiting):
                    pass
            except TimeoutError:
                wrong.append(f"conversation {conversation.index}: no response in time")
            wrong += [f"a caller got {secret}" for secret in leaks(b"".join(caller.seen).decode("latin-1"))]
    return wrong
