"""What a Redis server sends, up to the most that a reply to us can have (contract section 5.9).

redis-py believes each length that a server announces, and takes in all of it. Here a reply has a limit that
is looked at before its bytes are read: a string by the length that stands before it, and any reply by all that was
read of it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.core.tokens.shared_document import LONGEST

#: Bytes of one reply: a document, one byte more of one that is too long, and what frames it.
MOST_BYTES: Final = LONGEST + 16 * 1024
#: Lines of one reply (a string's own bytes are none). The longest is an array of four.
MOST_LINES: Final = 64
#: Bytes of a line; the longest are error messages.
_LONGEST_LINE: Final = 8 * 1024


class ReplyTooLongError(OSError):
    """A server sends more than any reply to us has."""


class BoundedReader(asyncio.StreamReader):
    """The reading end of a connection, of which :meth:`begin_reply` is called before each reply is read."""

    def __init__(self) -> None:
        super().__init__(limit=_LONGEST_LINE)
        self._bytes_left = MOST_BYTES
        self._lines_left = MOST_LINES

    def begin_reply(self) -> None:
        """Count anew."""
        self._bytes_left = MOST_BYTES
        self._lines_left = MOST_LINES

    async def readexactly(self, n: int) -> bytes:
        """Read ``n`` bytes. Raises ReplyTooLongError before any of them is read, and as StreamReader does."""
        self._count(n)
        return await super().readexactly(n)

    async def read(self, n: int = -1) -> bytes:
        """Read what there is, ``n`` bytes at most: hiredis does, where it is installed. Raises ReplyTooLongError."""
        data = await super().read(n)
        self._count(len(data))
        return data

    async def readline(self) -> bytes:
        """Read a line. Raises ReplyTooLongError."""
        self._lines_left -= 1
        if self._lines_left < 0:
            raise ReplyTooLongError
        try:
            line = await super().readline()
        except ValueError:  # it is longer than the limit
            raise ReplyTooLongError from None
        self._count(len(line))
        return line

    def _count(self, size: int) -> None:
        if not 0 <= size <= self._bytes_left:
            raise ReplyTooLongError
        self._bytes_left -= size
