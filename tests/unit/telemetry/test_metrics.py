"""What is counted, and how it is exposed."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.deprecation import DEPRECATIONS
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.telemetry.exposition import PREFIX, Histogram, LabelledGauge, number
from sidecar.telemetry.metrics import Metrics, Unauthorized
from sidecar.tokens.events import OUTCOMES
from sidecar.version import __version__
from tests.support import prometheus
from tests.support.call_record import call_record
from tests.support.metrics import METRICS

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord


def exposed(metrics: Metrics) -> dict[str, prometheus.Family]:
    families = prometheus.parse(metrics.expose().decode())
    assert all(name.startswith(PREFIX) for name in families)
    return {name.removeprefix(PREFIX): family for name, family in families.items()}


def call(**fields: Any) -> CallRecord:
    return call_record(**{"id": "i", "started": 0.0, "method": "GET", "path": "/", "status": 200, **fields})


def test_every_metric_of_the_contract_is_declared_and_no_other() -> None:
    """Section 8's list, in its order."""
    assert list(METRICS) == [
        *("build_info", "requests_total", "errors_total", "request_duration_seconds", "upstream_duration_seconds"),
        *("requests_in_flight", "connections", "token_requests_total", "token_expiry_timestamp_seconds"),
        *("token_wait_seconds", "unauthorized_total", "recovered_total", "latched", "rate_limit_remaining"),
        *("rate_limit_reset_timestamp_seconds", "client_certificate_expiry_timestamp_seconds"),
        *("config_last_reload_successful", "store_up", "hooks", "replay_buffer_bytes", "upstream_connections"),
        *("upstream_pool_waiting", "rate_held_total", "deprecated_calls_total"),
    ]


def test_names_follow_prometheus_conventions() -> None:
    """Counters end in _total and nothing else does; no unit but base units."""
    for name, metric in METRICS.items():
        assert name.endswith("_total") == (metric.kind == "counter")
        assert not name.endswith(("_ms", "_milliseconds", "_kilobytes", "_minutes"))
        assert metric.description.endswith(".")


def test_families_without_a_sample_are_left_out() -> None:
    assert set(exposed(Metrics())) == {
        *("build_info", "requests_total", "errors_total", "unauthorized_total", "recovered_total"),
        *("request_duration_seconds", "upstream_duration_seconds", "token_wait_seconds", "rate_held_total"),
        "deprecated_calls_total",
    }


def test_build_info_tells_the_version() -> None:
    assert exposed(Metrics())["build_info"].value(version=__version__) == 1


def test_a_call_is_counted_by_method_status_and_source() -> None:
    metrics = Metrics()
    metrics.observe_call(call())
    metrics.observe_call(call())
    metrics.observe_call(call(method="POST", status=503, source="sidecar"))
    requests = exposed(metrics)["requests_total"]
    assert requests.value(method="GET", status="200", source="upstream") == 2
    assert requests.value(method="POST", status="503", source="sidecar") == 1


@pytest.mark.parametrize("method", ["PROPFIND", "get", "X" * 5000, ""])
def test_methods_that_are_not_http_s_usual_ones_share_a_label(method: str) -> None:
    metrics = Metrics()
    metrics.observe_call(call(method=method))
    assert exposed(metrics)["requests_total"].value(method="other", status="200", source="upstream") == 1


def test_a_call_whose_caller_left_before_a_response_has_no_status() -> None:
    metrics = Metrics()
    metrics.observe_call(call(status=0, source="sidecar"))
    assert exposed(metrics)["requests_total"].value(method="GET", status="none", source="sidecar") == 1


def test_durations_fall_into_their_buckets() -> None:
    metrics = Metrics()
    metrics.observe_call(call(duration=0.005, deliveries=1, upstream_seconds=0.004))
    metrics.observe_call(call(duration=0.3, deliveries=1, upstream_seconds=0.2))
    metrics.observe_call(call(duration=100.0))
    durations = exposed(metrics)["request_duration_seconds"]
    assert durations.value("_bucket", le="0.0025") == 0
    assert durations.value("_bucket", le="0.005") == 1
    assert durations.value("_bucket", le="0.25") == 1
    assert durations.value("_bucket", le="0.5") == 2
    assert durations.value("_bucket", le="60") == 2
    assert durations.value("_count") == 3
    assert durations.value("_sum") == pytest.approx(100.305)


@pytest.mark.parametrize("name", ["request_duration_seconds", "upstream_duration_seconds"])
def test_buckets_fit_an_own_response_and_an_upstream_timeout(name: str) -> None:
    """From below a millisecond to upstream.response_timeout, no bucket more than 2.5 times the one before."""
    bounds = [float(dict(labels)["le"]) for _, labels in exposed(Metrics())[name].samples if labels]
    assert bounds[0] < 0.0005
    assert bounds[-2:] == [60, float("inf")]
    assert all(later <= 2.5 * earlier for earlier, later in itertools.pairwise(bounds[:-1]))


def test_a_call_that_never_went_upstream_has_no_upstream_duration() -> None:
    metrics = Metrics()
    metrics.observe_call(call(duration=1.0))
    assert exposed(metrics)["upstream_duration_seconds"].value("_count") == 0


def test_recoveries_are_counted_each_by_its_way() -> None:
    metrics = Metrics()
    record = call()
    record.add_recovered("connection")
    record.add_recovered("token")
    record.add_recovered("token")
    metrics.observe_call(record)
    recovered = exposed(metrics)["recovered_total"]
    assert recovered.value(how="connection") == 1
    assert recovered.value(how="token") == 1
    assert recovered.value(how="idempotency") == 0


def test_errors_are_counted_by_code_and_outcome() -> None:
    metrics = Metrics()
    record = call(status=0)
    record.failed(SidecarError(ErrorCode.UPSTREAM_UNREACHABLE, "lost", outcome=Outcome.UNKNOWN))
    metrics.observe_call(record)
    families = exposed(metrics)
    assert families["errors_total"].value(code="upstream_unreachable", outcome="unknown") == 1
    assert families["errors_total"].value(code="upstream_unreachable", outcome="not-sent") == 0
    assert families["requests_total"].value(method="GET", status="502", source="sidecar") == 1


def labels_at_zero(metrics: Metrics, name: str) -> set[tuple[str, ...]]:
    """The label values, in the family's order, of samples that nothing was counted for yet."""
    samples = exposed(metrics)[name].samples
    assert set(samples.values()) == {0}
    return {tuple(dict(labels)[label] for label in METRICS[name].labels) for _, labels in samples}


def test_each_error_that_can_be_starts_at_zero_so_that_the_first_one_shows_as_an_increase() -> None:
    errors = labels_at_zero(Metrics(), "errors_total")
    assert {code for code, outcome in errors if outcome == "not-sent"} == set(ErrorCode) - {"upstream_timeout"}
    assert {code for code, outcome in errors if outcome == "unknown"} == {
        *("upstream_unreachable", "upstream_timeout", "bad_request", "request_timeout", "body_too_large")
    }
    assert {code for code, outcome in errors if outcome == "rejected"} == {
        *("credentials_refused", "token_locked_out", "token_unavailable"),
        *("upstream_unreachable", "overloaded", "shutting_down"),
    }


def test_the_responses_that_alerts_look_at_start_at_zero() -> None:
    responses = labels_at_zero(Metrics(), "requests_total")
    assert {("POST", "503", "upstream"), ("GET", "429", "upstream"), ("PUT", "200", "upstream")} < responses
    assert {source for _, _, source in responses} == {"upstream"}


def test_401s_and_recoveries_start_at_zero() -> None:
    assert labels_at_zero(Metrics(), "unauthorized_total") == {("token",), ("sca",), ("futile",)}
    assert labels_at_zero(Metrics(), "recovered_total") == {("token",), ("connection",), ("idempotency",)}


def test_token_requests_of_a_known_credential_start_at_zero() -> None:
    metrics = Metrics()
    metrics.expect_token_requests("api")
    assert labels_at_zero(metrics, "token_requests_total") == {
        ("api", outcome) for outcome in ("ok", "locked_out", "refused", "transient")
    }


def test_token_requests_and_waits_are_counted() -> None:
    metrics = Metrics()
    metrics.token_request("api", "ok")
    metrics.token_request("api", "locked_out")
    metrics.token_request("api", "locked_out")
    metrics.token_wait(0.2)
    families = exposed(metrics)
    assert families["token_requests_total"].value(credential="api", outcome="locked_out") == 2
    assert families["token_wait_seconds"].value("_bucket", le="0.25") == 1


def test_a_credential_s_token_requests_begin_at_zero_so_that_the_first_refusal_shows_as_an_increase() -> None:
    metrics = Metrics()
    metrics.token_request("api", "ok")
    metrics.expect_token_requests("api")
    requests = exposed(metrics)["token_requests_total"]
    assert requests.value(credential="api", outcome="ok") == 1
    assert {dict(labels)["outcome"] for _, labels in requests.samples} == set(OUTCOMES.values())
    assert sum(requests.samples.values()) == 1


@pytest.mark.parametrize("kind", ["token", "sca", "futile"])
def test_answers_401_are_counted_by_kind(kind: Unauthorized) -> None:
    metrics = Metrics()
    metrics.unauthorized(kind)
    unauthorized = exposed(metrics)["unauthorized_total"]
    assert unauthorized.value(kind=kind) == 1
    assert sum(unauthorized.samples.values()) == 1


def test_a_gauge_is_read_at_each_scrape() -> None:
    metrics = Metrics()
    open_connections = [3]
    metrics.upstream_connections.read = lambda: open_connections[0]
    assert exposed(metrics)["upstream_connections"].value() == 3
    open_connections[0] = 5
    assert exposed(metrics)["upstream_connections"].value() == 5


def test_a_gauge_without_a_value_is_left_out() -> None:
    metrics = Metrics()
    metrics.certificate_expiry.read = lambda: None
    assert "client_certificate_expiry_timestamp_seconds" not in exposed(metrics)


def test_a_labelled_gauge_tells_all_its_samples() -> None:
    metrics = Metrics()
    metrics.latched.read = lambda: [(("api", "lockout"), 1), (("embedded", "lockout"), 0)]
    latched = exposed(metrics)["latched"]
    assert latched.value(credential="api", reason="lockout") == 1
    assert latched.value(credential="embedded", reason="lockout") == 0


def test_a_metric_is_one_object_and_each_sidecar_has_its_own() -> None:
    """Every attribute that is a metric is exposed, under a name of its own; none is shared by two Metrics."""
    one, other = Metrics(), Metrics()
    assert len({metric.name for metric in one}) == len(list(one)) == len(METRICS)
    one.unauthorized("sca")
    one.store_up.read = lambda: 1
    assert exposed(other)["unauthorized_total"].value(kind="sca") == 0
    assert "store_up" not in exposed(other)


def test_totals_add_up() -> None:
    metrics = Metrics()
    metrics.observe_call(call())
    for status in (399, 400, 499, 500, 599):
        metrics.observe_call(call(status=status))
    metrics.observe_call(call(status=403, source="sidecar"))
    record = call(method="POST", status=0)
    record.failed(SidecarError(ErrorCode.OVERLOADED, "full"))
    metrics.observe_call(record)
    metrics.token_request("api", "ok")
    assert metrics.totals() == {
        "requests": 8,
        "client_errors": 2,
        "server_errors": 2,
        "errors": 1,
        "recovered": 0,
        "token_requests": 1,
    }


@given(st.text(), st.text(alphabet=st.characters(codec="utf-8")))
def test_label_values_and_help_survive_the_exposition(label: str, text: str) -> None:
    """Backslashes, quotes and line ends are escaped; nothing else is touched."""
    gauge = LabelledGauge("x_info", f"H{text}.", ("label",))
    gauge.read = lambda: [((label,), 1.5)]
    lines = gauge.expose()
    assert all("\n" not in line for line in lines)
    (read,) = prometheus.parse("\n".join(lines) + "\n").values()
    assert read.value(label=label) == 1.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1733404277, "1733404277"),
        (1e22, "1e+22"),
        (-2.5, "-2.5"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_are_written_as_prometheus_reads_them(value: float, text: str) -> None:
    assert number(value) == text


@given(st.lists(st.floats(min_value=0, max_value=1e6)))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    histogram = Histogram("h", "H.", (0.1, 1.0, 10.0))
    for value in values:
        histogram.observe(value)
    assert sum(histogram.buckets.counts) == len(values)
    lines = histogram.lines()
    assert lines[1] == f'{PREFIX}h_bucket{{le="1"}} {sum(value <= 1.0 for value in values)}'


def test_prometheus_client_is_not_needed_at_run_time() -> None:
    """Its import costs 75 ms and 14 MiB."""
    code = (
        "import sys, sidecar.telemetry.metrics as m; m.Metrics().expose();"
        "sys.exit(any(n.startswith('prometheus') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_call_to_a_deprecated_endpoint_is_counted_by_its_word() -> None:
    metrics = Metrics()
    for row in (DEPRECATIONS[0], DEPRECATIONS[1], DEPRECATIONS[-1]):
        metrics.observe_call(call(deprecation=row))
    metrics.observe_call(call())
    counted = exposed(metrics)["deprecated_calls_total"]
    assert (counted.value(what="legacy_users"), counted.value(what="giropay")) == (2, 1)
