"""Where each request head begins and ends, followed beside the parser (contract section 4.6).

aiohttp's parser hands out requests, but not how many bytes they took: so it
cannot say how large a head is, nor whether half a head is waiting. It also
takes request lines of other protocols (``POST /x RTSP/1.0``) and several spaces
in a row. Counting along answers all of that. And if the two counts ever
disagree, the request is refused: that is how requests are smuggled.
"""

from __future__ import annotations

from typing import Final

from sidecar.downstream.refusals import malformed, too_large

#: Bytes of a whole request head, its blank line included. nginx takes 4 lines of 8 KiB, Node 16 KiB in all.
MAX_HEAD: Final = 64 * 1024

#: RFC 9112 section 2.2: at least one empty line before a request line is ignored. Some old clients send it.
_EMPTY_LINES: Final = 4

_END: Final = b"\r\n\r\n"
_VERSION: Final = b"HTTP/1."


class HeadBoundaries:
    """The bytes of one connection that belong to no finished head and no body yet."""

    __slots__ = ("_body_left", "head_size", "pending")

    def __init__(self) -> None:
        #: What follows the last head that was taken; empty between requests.
        self.pending = b""
        #: Bytes of the head that was taken last.
        self.head_size = 0
        self._body_left = 0

    @property
    def in_body(self) -> bool:
        """Whether the next bytes belong to a body."""
        return self._body_left > 0

    def is_partial(self, size: int) -> bool:
        """Whether what is pending is longer than ``size`` bytes, and a part of one head."""
        return len(self.pending) > size and _END not in self.pending

    def feed(self, data: bytes) -> None:
        """Take the next bytes that arrived, before the parser gets them."""
        left = self._body_left
        if left:
            if len(data) <= left:
                self._body_left = left - len(data)
                return
            data = data[left:]
            self._body_left = 0
        if self.pending:
            data = self.pending + data
        self.pending = _without_empty_lines(data) if data.startswith(b"\r\n") else data

    def take_head(self, method: str, target: str, body_length: int) -> int:
        """Take off the head of a request that the parser returned, and ``body_length`` bytes that are its body.

        Returns how many bytes after the head have arrived already. Raises
        SidecarError ``bad_request`` or ``headers_too_large``.
        """
        pending = self.pending
        end = pending.find(_END) + len(_END)
        if end < len(_END) or not pending.startswith(_VERSION, len(method) + len(target) + 2):
            raise malformed(pending)
        if end > MAX_HEAD:
            raise too_large()
        self.head_size = end
        after = len(pending) - end
        if after <= body_length:
            self._body_left = body_length - after
            self.pending = b""
        else:
            self.pending = _without_empty_lines(pending[end + body_length :])
        return after

    def is_within_body(self, size: int) -> bool:
        """Whether the next ``size`` bytes all belong to the body of the last request."""
        return size <= self._body_left

    def check(self) -> None:
        """Raise SidecarError ``headers_too_large`` if the head that is arriving is beyond the limit already."""
        if len(self.pending) > MAX_HEAD and self.pending.find(_END, 0, MAX_HEAD) < 0:
            raise too_large()

    def stop(self) -> None:
        """Forget what is pending: no further request is read."""
        self.pending = b""


def _without_empty_lines(data: bytes) -> bytes:
    for _ in range(_EMPTY_LINES):
        if not data.startswith(b"\r\n"):
            break
        data = data[2:]
    return data
