"""A collector of traces: takes OTLP over HTTP as the specification has it, and decodes the real protobuf."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support import canary

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
_KINDS: Final = {2: "server", 3: "client"}
_STATUSES: Final = {0: "unset", 1: "ok", 2: "error"}


@dataclass
class Span:
    """A span as it came over the wire."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    #: Name and attributes.
    events: list[tuple[str, dict[str, Any]]]
    status: str
    began: int
    ended: int

    def own(self, name: str) -> Any:
        """An attribute of the sidecar's own; None if it has none of the name."""
        return self.attributes.get(f"mangopay_sidecar.{name}")

    @property
    def traceparent(self) -> str:
        """How a request names this span."""
        return f"00-{self.trace_id}-{self.span_id}-01"


@dataclass
class Collector:
    """What was received."""

    port: int = 0
    #: Given out one after another; then all is well. An empty one: no answer at all.
    answers: list[bytes] = field(default_factory=list)
    #: Head and body of each request.
    heads: list[bytes] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """What ``tracing.otlp_endpoint`` is set to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def servers(self) -> list[Span]:
        """The spans of calls, in the order in which they came."""
        return [span for span in self.spans if span.kind == "server"]

    def attempts(self, of: Span) -> list[Span]:
        """The client spans below a call's."""
        below = [span for span in self.spans if span.parent_id == of.span_id]
        assert all(span.trace_id == of.trace_id and span.kind == "client" for span in below)
        return sorted(below, key=lambda span: span.began)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while head := await _head(reader):
                body = await reader.readexactly(_length(head))
                self.heads.append(head)
                answer = self.answers.pop(0) if self.answers else OK
                if answer.startswith(b"HTTP/1.1 200"):
                    self.take(gzip.decompress(body) if b"content-encoding: gzip" in head.lower() else body)
                self.came.set()
                if not answer:
                    await reader.read()  # until the other side gives up
                writer.write(answer)
        finally:
            writer.close()

    def take(self, body: bytes) -> None:
        """Decode a request, and have it searched for secrets."""
        request = ExportTraceServiceRequest.FromString(body)
        canary.record("spans", str(request))
        canary.record("spans as sent", body)
        for of_resource in request.resource_spans:
            self.resources.append(_attributes(of_resource.resource.attributes))
            for scope in of_resource.scope_spans:
                assert scope.scope.name == "mangopay-sidecar"
                self.spans += [_span(span) for span in scope.spans]


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def _length(head: bytes) -> int:
    (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(length.partition(b":")[2])


def _span(span: WireSpan) -> Span:
    return Span(
        span.name,
        _KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        [(event.name, _attributes(event.attributes)) for event in span.events],
        _STATUSES[span.status.code],
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@asynccontextmanager
async def running_collector(*answers: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[Collector]:
    """Serve on a free port; ``answers`` are given to the first requests."""
    collector = Collector(answers=list(answers))
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(collector.answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    collector.port = server.sockets[0].getsockname()[1]
    try:
        yield collector
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
