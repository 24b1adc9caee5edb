"""From what the configuration says to traces; OpenTelemetry is imported here, and only then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.config import ConfigError
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource

    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.tracing.traces import Traces

_KEY: Final = "tracing.otlp_endpoint"
_SERVICE_NAME: Final = "service.name"
#: What the SDK calls a service that nobody named.
_NAMELESS: Final = "unknown_service"
#: Where the SDK takes headers for the collector from: a password, as a rule.
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")

_log = structlog.get_logger()


def open_traces(config: Config, *, clock: Clock, chance: Callable[[int], int]) -> Traces | None:
    """Make what sends traces; None: no collector is configured.

    ``chance`` gives as many random bits as it is asked for. Call it on the event loop. Raises ConfigError if it could
    never work: a package is missing, or a setting of the SDK's is no good.
    """
    collector = config.tracing.otlp_endpoint
    if collector is None:
        return None
    if (warning := exposed_headers(collector, os.environ)) is not None:
        _log.warning("config.warning", message=warning)
    return make_traces(config, collector, clock=clock, chance=chance)


def make_traces(config: Config, collector: Endpoint, *, clock: Clock, chance: Callable[[int], int]) -> Traces:
    """Make what sends traces to ``collector``; see :func:`open_traces`."""
    try:
        from sidecar.tracing.spans import SpanMaker
        from sidecar.tracing.traces import Traces
    except ImportError:
        raise ConfigError(
            _KEY,
            "is set, and the packages of OpenTelemetry are not installed",
            "pip install 'mangopay-sidecar[otel]'",
        ) from None
    maker = SpanMaker(resource_of(config.mangopay.environment), config.mangopay.endpoint)
    try:
        return Traces(collector, config.tracing.sample, maker, clock=clock, chance=chance)
    except ValueError:  # its message may quote what it refuses
        raise ConfigError(
            _KEY, "cannot be used with the variables that OpenTelemetry reads", "look at OTEL_BSP_SCHEDULE_DELAY"
        ) from None


def exposed_headers(collector: Endpoint, environ: Mapping[str, str]) -> str | None:
    """Return a warning if headers of the user's go over a network in plain text; None: they do not."""
    if collector.scheme != "http" or collector.is_loopback or not any(environ.get(name) for name in _HEADERS):
        return None
    return (
        f"{_KEY} is plain http:// to a host that is not loopback, and headers are set for it "
        f"({' or '.join(_HEADERS)}): whoever is on the way can read them; use https://"
    )


def resource_of(environment: str) -> Resource:
    """Return what is said of this process: what the SDK finds in its ``OTEL_`` variables wins over our own."""
    from opentelemetry.sdk.resources import Resource

    found = dict(Resource.create().attributes)
    if str(found.get(_SERVICE_NAME, "")).startswith(_NAMELESS):
        del found[_SERVICE_NAME]
    return Resource(
        {
            _SERVICE_NAME: "mangopay-sidecar",
            "service.version": __version__,
            "mangopay_sidecar.environment": environment,
            **found,
        }
    )
