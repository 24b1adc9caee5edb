"""How spans go to the collector, and what is said where they do not."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import requests

from sidecar.core.endpoint import Endpoint
from sidecar.tracing import collector
from sidecar.tracing.collector import CollectorSession
from sidecar.tracing.opening import exposed_headers, resource_of
from sidecar.tracing.traces import collector_url
from sidecar.version import __version__
from tests.support.canary import CANARY_API_KEY


def caused(error: Exception, by: BaseException) -> Exception:
    error.__cause__ = by
    return error


def circle() -> Exception:
    error = requests.ConnectionError()
    error.__cause__ = error
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (requests.ConnectTimeout(CANARY_API_KEY), "did not answer in time"),
        (requests.ReadTimeout(CANARY_API_KEY), "did not answer in time"),
        (requests.ConnectionError(OSError(111, CANARY_API_KEY)), "cannot be reached: connection refused"),
        (
            caused(requests.ConnectionError(), ConnectionResetError(104, "x")),
            "cannot be reached: connection reset by peer",
        ),
        (requests.exceptions.SSLError(ssl.SSLError(1, "x")), "cannot be reached by TLS: no reason given"),
        (requests.exceptions.InvalidHeader(CANARY_API_KEY), "cannot be reached: InvalidHeader"),
        # An error of the resolver's has a number below 0, which is none of the system's.
        (requests.ConnectionError(socket.gaierror(-2, "x")), "cannot be reached: ConnectionError"),
        (circle(), "cannot be reached: ConnectionError"),
    ],
)
def test_a_failure_is_told_in_fixed_words(error: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(requests.Session, "request", fail)
    with CollectorSession({}) as session:
        with pytest.raises(type(error)):
            session.request("POST", "http://127.0.0.1:1")
        assert session.told == told
        assert CANARY_API_KEY not in session.told


def test_nothing_of_the_environment_is_used_but_what_the_sdk_names() -> None:
    with CollectorSession({}) as session:
        assert session.trust_env is False


@pytest.mark.parametrize(
    ("environ", "system_store"),
    [
        ({}, True),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "ca"}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "ca"}, False),
    ],
)
def test_a_private_authority_is_trusted_alone(
    environ: dict[str, str], system_store: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def context(*, system_store: bool) -> ssl.SSLContext:
        asked.append(system_store)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(collector, "verifying_context", context)
    with CollectorSession(environ):
        assert asked == [system_store]


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example/", "https://otel.example/v1/traces"),
        ("https://otel.example/tenant", "https://otel.example/tenant/v1/traces"),
        ("https://otel.example/tenant/v1/traces", "https://otel.example/tenant/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_the_usual_path_is_added_where_it_is_missing(endpoint: str, url: str) -> None:
    assert collector_url(Endpoint.parse(endpoint)) == url


@pytest.mark.parametrize(
    ("endpoint", "environ", "exposed"),
    [
        ("http://collector:4318", {"OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, True),
        ("http://collector:4318", {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=b"}, True),
        ("http://collector:4318", {"OTEL_EXPORTER_OTLP_HEADERS": ""}, False),
        ("https://collector:4318", {"OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, False),
        ("http://127.0.0.1:4318", {"OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, False),
        ("http://collector:4318", {}, False),
    ],
)
def test_headers_in_plain_text_on_a_network_are_known(endpoint: str, environ: dict[str, str], exposed: bool) -> None:
    assert (exposed_headers(Endpoint.parse(endpoint), environ) is not None) is exposed


def test_a_service_that_nobody_named_has_our_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=payments")
    attributes = resource_of("sandbox").attributes
    assert (attributes["service.name"], attributes["service.version"]) == ("mangopay-sidecar", __version__)
    assert (attributes["team"], attributes["mangopay_sidecar.environment"]) == ("payments", "sandbox")
    assert attributes["telemetry.sdk.name"] == "opentelemetry"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop")
    assert resource_of("sandbox").attributes["service.name"] == "shop"
