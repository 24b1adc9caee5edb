"""What ``page_cost`` and ``instructions`` measure with: an upstream, a load, and sidecars, whole or less a part.

``python -m benchmarks.page_cost_processes upstream [DIRECTORY] | load PORT SECONDS CALLS | sidecar WITHOUT``
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.upstream import write_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.telemetry.recorder import CallRecorder as Recorder

CONNECTIONS: Final = 16

_BODY: Final = b'{"Id":"user_m_00001001","Tag":"' + b"x" * 540 + b'"}'
_LIMITS: Final = (
    b"X-RateLimit: 12,12,12,12\r\nX-RateLimit-Remaining: 2288,4488,8788,105588\r\nX-RateLimit-Reset: %s\r\n"
)
_TOKEN: Final = b'{"access_token":"benchmark","token_type":"Bearer","expires_in":1200}'
_CALL: Final = b"GET /v2.01/_/users/user_m_%d HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
_BEARER: Final = b"\r\nAuthorization: Bearer benchmark"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"


# --- the other processes ---------------------------------------------------------------------------------------------


class _Upstream(asyncio.Protocol):
    """Answers each request as soon as it is whole; requests come one at a time."""

    limits = _LIMITS % b",".join([str(int(time.time()) + 900).encode()] * 4)
    response = _HEAD % (len(_BODY), limits) + _BODY
    token = _HEAD % (len(_TOKEN), b"") + _TOKEN
    refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length is not None and len(body) < int(length[1])):
            return
        self._seen = b""
        if head.startswith(b"POST /v2.01/oauth/token "):
            self._transport.write(self.token)
        else:
            self._transport.write(self.response if _BEARER in head else self.refusal)


async def _upstream(directory: str | None = None) -> None:
    """Serve; with the certificate in ``directory`` over TLS."""
    context = None
    if directory is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(directory, "server.pem"), Path(directory, "server.key"))
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class _Caller(asyncio.Protocol):
    """Makes one call after another, and counts the responses."""

    def __init__(self, take: Callable[[], int | None]) -> None:
        self._take = take
        self._seen = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._seen += len(data)
        if data.endswith(_BODY[-8:]):
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or EOFError("the sidecar closed a connection"))

    def _next(self) -> None:
        number = self._take()
        if number is None:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
        else:
            self._transport.write(_CALL % number)


async def _load(port: int, seconds: float, calls: int) -> None:
    """Call for ``seconds``, or so many times if that is not 0; print how many calls there were."""
    made = 0
    end = time.monotonic() + seconds

    def take() -> int | None:
        nonlocal made
        if made >= calls if calls else time.monotonic() >= end:
            return None
        made += 1
        return made

    loop = asyncio.get_running_loop()
    callers = [await loop.create_connection(lambda: _Caller(take), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(caller.done for _, caller in callers))
    print(made, flush=True)


def _sidecar(without: str) -> None:
    """Run ``mangopay-sidecar run`` as it is, or without a part of it, which no setting can turn off."""
    from sidecar.cli import main
    from sidecar.proxy.exchange import WaitBudget
    from sidecar.telemetry.recent import RecentCalls
    from sidecar.telemetry.recorder import CallRecorder

    if without != "nothing":
        init = CallRecorder.__init__

        def without_the_list(self: Recorder, ids: Any, clock: Any, observers: Any, **rest: Any) -> None:
            kept = [each for each in observers if not isinstance(getattr(each, "__self__", None), RecentCalls)]
            init(self, ids, clock, kept, **rest)

        CallRecorder.__init__ = without_the_list  # type: ignore[method-assign]
    if without == "timelines":

        def note(self: WaitBudget, record: Any, result: Any, **_: Any) -> None:
            record.token_wait_seconds = self.token_seconds

        WaitBudget.record_attempt = note  # type: ignore[method-assign]
    sys.argv = ["mangopay-sidecar", "run"]
    main()


# --- what drives them ------------------------------------------------------------------------------------------------


def _this(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.page_cost_processes", *map(str, arguments)]


@contextlib.contextmanager
def _child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


class NotStartedError(Exception):
    """The sidecar did not become ready; the message has what it said last."""


class Running:
    """A sidecar in front of an upstream."""

    def __init__(self, sidecar: subprocess.Popen[str], log: Path) -> None:
        """Wait until it is ready. Raises NotStartedError."""
        ready = re.search(r"proxy=http://127.0.0.1:(\d+) admin=http://127.0.0.1:(\d+)", _line(sidecar))
        if ready is None:
            said = log.read_text("utf-8", "replace").splitlines()[-1:]
            raise NotStartedError(f"the sidecar did not start: {' '.join(said)}")
        self.pid = sidecar.pid
        self.port, self.admin_port = map(int, ready.groups())

    def load(self, seconds: float = 0.0, calls: int = 0) -> int:
        """Have calls made; return how many there were."""
        done = subprocess.run(_this("load", self.port, seconds, calls), capture_output=True, text=True, check=True)
        return int(done.stdout)

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(prefix: list[str], without: str = "nothing") -> Iterator[Running]:
    """Run a sidecar, or one less a part, in front of an upstream; plain HTTP on both sides."""
    with in_front_of_upstream([*prefix, *_this("sidecar", without)]) as sidecar:
        yield sidecar


@contextlib.contextmanager
def in_front_of_upstream(
    command: list[str], *, tls: bool = False, environ: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Running]:
    """Run ``command``, which starts a sidecar, in front of an upstream that speaks TLS or not.

    ``environ`` is what the sidecar gets besides its settings. Raises NotStartedError.
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        if tls:
            write_certificates(directory)
        upstream = stack.enter_context(_child(_this("upstream", *([directory] if tls else []))))
        port = int(_line(upstream))
        to_upstream = (
            {"MANGOPAY_BASE_URL": f"https://127.0.0.1:{port}", "TLS_CA_FILE": str(directory / "ca.pem")}
            if tls
            else {"MANGOPAY_BASE_URL": f"http://127.0.0.1:{port}"}
        )
        settings = {
            "MANGOPAY_ENVIRONMENT": "sandbox" if tls else "emulator",
            **to_upstream,
            "MANGOPAY_CLIENT_ID": "acme",
            "MANGOPAY_API_KEY": "a-key-for-a-benchmark",
            "LISTEN_PORT": "0",
            "LISTEN_HOST": "127.0.0.1",
            "ADMIN_PORT": "0",
            "ADMIN_HOST": "127.0.0.1",
            "LOG_FORMAT": "json",
        }
        whole = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")},
            "PYTHONHASHSEED": "0",
            **{f"SIDECAR_{name}": value for name, value in settings.items()},
            **(environ or {}),
        }
        log = directory / "log"
        stderr = stack.enter_context(log.open("wb"))
        yield Running(stack.enter_context(_child(command, stderr=stderr, env=whole, cwd=cwd)), log)


@contextlib.contextmanager
def page(port: int) -> Iterator[list[int]]:
    """Listen to the events as an open page does; give the bytes received so far, in a list of one."""
    received = [0]
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def read() -> None:
            with contextlib.suppress(OSError):
                while data := sock.recv(65536):
                    received[0] += len(data)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield received
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def main(words: list[str]) -> None:
    """Run the command line."""
    match words:
        case ["upstream", *directory]:
            _run_with_uvloop(_upstream(*directory))
        case ["load", port, seconds, calls]:
            _run_with_uvloop(_load(int(port), float(seconds), int(calls)))
        case ["sidecar", without]:
            _sidecar(without)


def _run_with_uvloop(coroutine: Any) -> None:
    """Run ``coroutine`` until it ends or a signal comes."""
    from sidecar.cli.process import run_loop

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    run_loop(coroutine)


if __name__ == "__main__":
    main(sys.argv[1:])
