"""The load generator: one thread, one epoll, every response checked.

``python -m benchmarks.load.generator`` reads a :class:`Work` from standard input
and writes a :class:`Tally` to standard output. It is plain sockets without an event
loop, so that a call costs it little more than the system calls, and calls in
flight at the end of the measured time are waited for: CPU time divided by
answered calls is exact even if few calls were made.
"""

from __future__ import annotations

import gc
import select
import socket
import ssl
import sys
import time
from collections import Counter
from typing import Final

from benchmarks.load.exchange import Tally, Work
from benchmarks.measure.cores import busy_seconds
from benchmarks.measure.processes import cpu_ns
from benchmarks.measure.statistics import percentile

#: Seconds without any event after which the calls in flight are given up.
PATIENCE: Final = 20.0
#: Failures after which a run is given up.
MOST_FAILURES: Final = 100
_PIECE: Final = 256 * 1024
_OK: Final = b"HTTP/1.1 200 "


class CallError(Exception):
    """A call went wrong; the message says how, without anything that differs from call to call."""


class Caller:
    """One caller and its connection."""

    __slots__ = ("_body", "_context", "_head", "_unsent", "_work", "begun", "sock")

    def __init__(self, work: Work, context: ssl.SSLContext | None) -> None:
        self._work = work
        self._context = context
        self.sock: socket.socket | None = None
        #: When the call was begun (``perf_counter_ns``).
        self.begun = 0
        self._unsent: memoryview | None = None
        self._head = b""
        #: Bytes of the response's body received; None until its head is complete.
        self._body: int | None = None

    def connect(self) -> socket.socket:
        """Open a connection."""
        sock = socket.create_connection(("127.0.0.1", self._work.port), PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_hostname="127.0.0.1")
        sock.setblocking(False)
        self.sock = sock
        return sock

    def close(self) -> None:
        """Hang up."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def begin(self, request: memoryview) -> bool:
        """Send a request; return whether all of it has gone."""
        self._head, self._body, self._unsent = b"", None, request
        return self.send_more()

    def send_more(self) -> bool:
        """Send what is left of the request; return whether nothing is left."""
        assert self.sock is not None
        while self._unsent is not None:
            try:
                sent = self.sock.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
            self._unsent = self._unsent[sent:] if sent < len(self._unsent) else None
        return True

    def receive(self) -> bool | None:
        """Read what is there; return whether the connection can be used again once the response is whole, else None.

        Raises CallError.
        """
        assert self.sock is not None
        try:
            data = self.sock.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ConnectionError as error:
            raise CallError(type(error).__name__) from None
        if not data:
            raise CallError("closed before the answer was whole")
        if self._body is None:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head
                return None
            if not head.startswith(_OK):
                raise CallError(f"status {head[9:12].decode('latin-1')}")
            self._head, self._body = head, 0
        self._body += len(data)
        if self._body < self._work.response:
            # TLS may hold more than one read returned, and epoll does not know of it.
            return self.receive() if self._context is not None else None
        return self._check()

    def _check(self) -> bool:
        if self._body != self._work.response or self._unsent is not None:
            raise CallError("the answer's length is wrong" if self._unsent is None else "answered before all was sent")
        return not self._work.new_connections and b"onnection: close" not in self._head


class Generator:
    """Drives the callers of one :class:`Work`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._request = memoryview(_request(work))
        self._poll = select.epoll()
        context = ssl.create_default_context(cafile=work.ca_file) if work.ca_file is not None else None
        self._callers = [Caller(work, context) for _ in range(work.callers)]
        #: Callers with a call in flight, by descriptor.
        self._busy: dict[int, Caller] = {}
        self._forget()

    def _forget(self) -> None:
        self._took: list[int] = []
        self._failures: Counter[str] = Counter()
        self._connections = 0

    def run(self) -> Tally:
        """Warm up, measure, and say what came of it."""
        work = self._work
        if work.warm_up:
            self._drive(work.warm_up)
        self._forget()
        before = self._clocks()
        begun = time.perf_counter()
        self._drive(work.seconds)
        seconds = time.perf_counter() - begun
        peer, upstream, callers, busy, stolen = (
            after - earlier for after, earlier in zip(self._clocks(), before, strict=True)
        )
        for caller in self._callers:
            caller.close()
        took = sorted(self._took)
        return Tally(
            answered=len(self._took),
            seconds=seconds,
            cpu_ns=int(peer),
            upstream_cpu_ns=int(upstream),
            callers_cpu_ns=int(callers),
            p50=percentile(took, 0.5) / 1000,
            p99=percentile(took, 0.99) / 1000,
            connections=self._connections,
            failures=dict(self._failures),
            cores_busy=busy,
            cores_stolen=stolen,
        )

    def _clocks(self) -> tuple[float, ...]:
        work = self._work
        return cpu_ns(work.pids), cpu_ns(work.upstream_pids), time.process_time_ns(), *busy_seconds(work.cores)

    def _drive(self, seconds: float) -> None:
        """Keep every caller busy for so long, then wait for the responses that are still to come."""
        end = time.perf_counter_ns() + int(seconds * 1e9)
        for caller in self._callers:
            self._call(caller)
        while self._busy:
            events = self._poll.poll(PATIENCE)
            if not events:
                self._failures[f"no answer within {PATIENCE:.0f} s"] += len(self._busy)
                for caller in list(self._busy.values()):
                    self._hang_up(caller)
                return
            for number, event in events:
                caller = self._busy[number]
                if event & select.EPOLLOUT:
                    self._send_more(caller)
                if event & ~select.EPOLLOUT:
                    self._answer(caller, end)

    def _answer(self, caller: Caller, end: int) -> None:
        try:
            reusable = caller.receive()
        except CallError as error:
            self._failures[str(error)] += 1
            reusable = False
        else:
            if reusable is None:
                return
            self._took.append(time.perf_counter_ns() - caller.begun)
        if not reusable:
            self._hang_up(caller)
        if time.perf_counter_ns() < end and self._failures.total() < MOST_FAILURES:
            self._call(caller)
        elif reusable:
            self._rest(caller)

    def _call(self, caller: Caller) -> None:
        caller.begun = time.perf_counter_ns()
        try:
            sock = caller.sock
            if sock is None:
                sock = caller.connect()
                self._connections += 1
            if sock.fileno() not in self._busy:
                self._poll.register(sock, select.EPOLLIN)
                self._busy[sock.fileno()] = caller
            if not caller.begin(self._request):
                self._poll.modify(sock, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self._failures[type(error).__name__] += 1
            self._hang_up(caller)

    def _send_more(self, caller: Caller) -> None:
        assert caller.sock is not None
        try:
            if caller.send_more():
                self._poll.modify(caller.sock, select.EPOLLIN)
        except OSError:
            self._poll.modify(caller.sock, select.EPOLLIN)  # what came back, if anything, says more

    def _rest(self, caller: Caller) -> None:
        """Keep the connection for later; what happens on it meanwhile is noticed by the next call."""
        assert caller.sock is not None
        self._poll.unregister(caller.sock)
        del self._busy[caller.sock.fileno()]

    def _hang_up(self, caller: Caller) -> None:
        if caller.sock is not None:
            self._busy.pop(caller.sock.fileno(), None)
        caller.close()


def _request(work: Work) -> bytes:
    headers = {"Host": f"127.0.0.1:{work.port}", "Accept": "application/json", **work.headers}
    if work.body or work.method != "GET":
        headers |= {"Content-Type": "application/json", "Content-Length": str(work.body)}
    lines = [f"{work.method} {work.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return (
        "\r\n".join([*lines, "", ""]).encode("latin-1")
        + b"0123456789abcdef" * (work.body // 16)
        + b"." * (work.body % 16)
    )


def main() -> None:
    """Do the work that standard input says."""
    work = Work.from_json(sys.stdin.read())
    generator = Generator(work)
    gc.disable()
    print(generator.run().to_json())


if __name__ == "__main__":
    main()
