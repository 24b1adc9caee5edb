"""Traces of the command as users run it: nothing is imported without them, and they hold up no end."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_cli_run import settings
from tests.support.background import Background
from tests.support.collector import Collector, running_collector
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


@pytest.fixture
def background() -> Iterator[Background]:
    with Background() as background:
        yield background


@pytest.mark.parametrize("traced", [False, True])
def test_run_imports_opentelemetry_only_for_traces(upstream: str, traced: bool) -> None:
    environ = settings(upstream, PYTHONPROFILEIMPORTTIME="1")
    if traced:
        environ["SIDECAR_TRACING_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
    with Command("run", environ=environ, measured=True) as command:
        command.wait_for("^ready ")
        assert command.stop() == 0
        imported = {
            line.rpartition("|")[2].strip().split(".")[0]
            for line in command.stderr.splitlines()
            if line.startswith("import time:")
        }
    assert "sidecar" in imported
    assert imported & {"opentelemetry", "requests", "urllib3", "google"} == (
        {"opentelemetry", "requests", "urllib3", "google"} if traced else set()
    )


def call(command: Command) -> None:
    url = command.wait_for(r"^ready proxy=(\S+)")[1]
    with urllib.request.urlopen(f"{url}/v2.01/_/users") as response:
        assert response.status == 200


def test_sigterm_sends_what_is_left(upstream: str, background: Background) -> None:
    """By itself the SDK would send in 5 minutes."""
    collector: Collector = background.enter(running_collector())
    environ = settings(
        upstream,
        SIDECAR_TRACING_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="300000",
        OTEL_SERVICE_NAME="shop",
    )
    with Command("run", environ=environ) as command:
        call(command)
        assert command.stop() == 0
        assert command.complaints == []
    (server,) = collector.servers
    assert server.name == "GET /v2.01/{client}/users"
    assert [span.own("token_generation") for span in collector.attempts(server)] == [1]
    assert collector.resources[0]["service.name"] == "shop"


def test_a_collector_that_hangs_does_not_hold_the_end(upstream: str, background: Background) -> None:
    collector: Collector = background.enter(running_collector(b"", b"", b""))
    environ = settings(
        upstream,
        SIDECAR_TRACING_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_TIMEOUT="60",
        SIDECAR_LOG_FORMAT="json",
    )
    with Command("run", environ=environ) as command:
        call(command)
        assert command.stop(timeout=15) == 0
        (unsent,) = [line for line in command.log if line["event"] == "tracing.unsent"]
        assert (unsent["level"], unsent["calls"]) == ("warning", 1)
        assert command.complaints == []
    assert len(collector.heads) == 1


def test_a_setting_of_the_sdks_that_is_no_good_is_an_error_of_the_configuration(upstream: str) -> None:
    environ = settings(upstream, SIDECAR_TRACING_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_BSP_SCHEDULE_DELAY="-1")
    with Command("run", environ=environ) as command:
        assert command.wait() == 2
        assert "look at OTEL_BSP_SCHEDULE_DELAY" in command.stderr
        assert command.stderr.count("\n") == 1
