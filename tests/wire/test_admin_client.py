"""What ``status``, ``wait`` and ``check`` make of whoever sits on the admin port."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from sidecar.admin.client import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = b"HTTP/1.1 503 No\r\nContent-Type: application/json\r\n\r\n"


@contextmanager
def dribbling(first: bytes) -> Iterator[int]:
    """Serve a port that says ``first``, and then a byte now and then, for ever; give its number."""
    over = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            peer, _ = listener.accept()
            with peer:
                peer.sendall(first)
                while not over.wait(0.02):
                    peer.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nX: ", _HEAD, _HEAD + b'{"ready": '])
def test_a_response_that_comes_byte_by_byte_is_none(first: bytes) -> None:
    with dribbling(first) as port:
        assert ask(["127.0.0.1"], port, "/status", timeout=0.2) is None
