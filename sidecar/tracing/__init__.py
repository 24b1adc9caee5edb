"""Traces (contract section 9): spans of finished calls, made and sent by OpenTelemetry's SDK in a thread of its own.

Nothing of OpenTelemetry is imported unless ``tracing.otlp_endpoint`` is set: :mod:`sidecar.tracing.opening` does it.
"""
