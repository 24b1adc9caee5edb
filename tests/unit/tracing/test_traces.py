"""Opening traces, and what becomes of a batch that a bug of ours spoils."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from structlog.testing import capture_logs

from sidecar.config import ConfigError, load
from sidecar.core.http.trace_context import CallTrace
from sidecar.threads import NoThreadError
from sidecar.tracing.exporting import CallExporter, FinishedCall
from sidecar.tracing.opening import open_traces
from tests.support.call_record import call_record
from tests.support.clock import FakeClock
from tests.support.configuration import ENVIRON

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord
    from sidecar.tracing.traces import Traces


def opened(**settings: str) -> Traces | None:
    environ = {**ENVIRON, **{f"SIDECAR_TRACING_{name.upper()}": value for name, value in settings.items()}}
    return open_traces(load(None, environ), clock=FakeClock(), chance=random.Random(1).getrandbits)


def sampled() -> CallTrace:
    return CallTrace(1, None, 2, 1, lambda bits: 3)


def record(trace: CallTrace | None) -> CallRecord:
    return call_record(id="id-1", started=1.0, method="GET", path="/", status=200, trace=trace)


def test_without_an_endpoint_there_are_no_traces() -> None:
    assert opened(sample="50%") is None


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sidecar.tracing.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(
        ConfigError, match=r"tracing\.otlp_endpoint is set, .*: pip install 'mangopay-sidecar\[otel\]'$"
    ):
        opened(otlp_endpoint="http://127.0.0.1:1")


async def test_headers_that_others_can_read_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret-of-mine")
    with capture_logs() as logs:
        traces = opened(otlp_endpoint="http://collector:4318")
        assert traces is not None
        await traces.close()
    assert [line["event"] for line in logs] == ["config.warning"]
    assert "secret-of-mine" not in str(logs)


async def test_calls_in_no_trace_and_calls_after_the_end_are_not_sent() -> None:
    traces = opened(otlp_endpoint="http://127.0.0.1:1")
    assert traces is not None
    traces.observe(record(None))
    traces.observe(record(CallTrace(1, None, 2, 0, lambda bits: 3)))
    assert traces.status().lost == 0
    await traces.close()
    traces.observe(record(sampled()))
    assert (traces.status().sent, traces.status().lost) == (0, 1)
    await traces.close()  # again: nothing happens


async def test_a_system_without_a_thread_left_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = opened(otlp_endpoint="http://127.0.0.1:1")
    assert traces is not None

    def none_left(_: object) -> None:
        raise NoThreadError("none")

    processor = traces._processor
    monkeypatch.setattr(traces._threads, "start", none_left)
    traces.observe(record(sampled()))
    with capture_logs() as logs:
        await traces.close()
    assert [(line["event"], line["calls"]) for line in logs] == [("tracing.unsent", 1)]
    processor._batch_processor._queue.clear()
    processor.shutdown()  # type: ignore[no-untyped-call]


def test_a_bug_of_ours_costs_a_batch_and_is_told() -> None:
    told: list[tuple[int, str | None]] = []

    class Broken:
        def spans(self, *_: object) -> None:
            raise ZeroDivisionError

    exporter = CallExporter(
        cast("Any", Broken()),
        cast("Any", SimpleNamespace(export=list)),
        cast("Any", SimpleNamespace()),
        lambda calls, lost: told.append((calls, lost)),
    )
    call = FinishedCall(record(sampled()), sampled())
    assert exporter.export([call, call]) is SpanExportResult.FAILURE
    assert (exporter.taken, told) == (2, [(2, "got nothing: ZeroDivisionError")])


def test_spans_that_cannot_be_encoded_are_no_fault_of_the_collectors() -> None:
    told: list[tuple[int, str | None]] = []
    exporter = CallExporter(
        cast("Any", SimpleNamespace(spans=lambda *_: [])),
        cast("Any", SimpleNamespace(export=lambda _: SpanExportResult.FAILURE)),
        cast("Any", SimpleNamespace(told="answered 200")),
        lambda calls, lost: told.append((calls, lost)),
    )
    exporter.export([FinishedCall(record(sampled()), sampled())])
    assert told == [(1, "was sent nothing: the spans could not be encoded")]


async def test_a_setting_that_the_sdk_cannot_read_is_told_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "secret-of-mine")
    with capture_logs() as logs:
        traces = opened(otlp_endpoint="http://127.0.0.1:1")
        assert traces is not None
        await asyncio.sleep(0)
        await traces.close()
    assert [(line["event"], line["message"]) for line in logs] == [
        ("tracing.sdk_reported", "Unsupported compression type: %s")
    ]
    assert "secret-of-mine" not in str(logs)


async def test_settings_that_the_sdk_refuses_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "-1")
    with pytest.raises(ConfigError, match="look at OTEL_BSP_SCHEDULE_DELAY"):
        opened(otlp_endpoint="http://127.0.0.1:1")
    for name in ("opentelemetry", "urllib3"):
        assert not [each for each in logging.getLogger(name).handlers if type(each).__module__.startswith("sidecar")]
        assert logging.getLogger(name).propagate


async def test_the_sdks_thread_gives_way_to_calls_sooner_than_threads_do_as_a_rule() -> None:
    usual = sys.getswitchinterval()
    traces = opened(otlp_endpoint="http://127.0.0.1:1")
    assert traces is not None
    assert sys.getswitchinterval() == pytest.approx(min(usual, 0.001))
    await traces.close()
    assert sys.getswitchinterval() == pytest.approx(usual)


async def test_a_warning_of_the_sdks_is_told_once() -> None:
    with capture_logs() as logs:
        traces = opened(otlp_endpoint="http://127.0.0.1:1")
        assert traces is not None
        for value in ("secret-1", "secret-2"):
            logging.getLogger("opentelemetry.somewhere").warning("cannot read %s", value)
        logging.getLogger("urllib3.connection").warning("odd header: %s", "secret-3")
        await asyncio.sleep(0)
        await traces.close()
    assert [(line["logger"], line["message"]) for line in logs] == [
        ("opentelemetry.somewhere", "cannot read %s"),
        ("urllib3.connection", "odd header: %s"),
    ]
