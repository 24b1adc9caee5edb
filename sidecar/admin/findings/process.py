"""The process itself: its phase, its last reload, the store that it shares tokens through, and its traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.core.text import sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot


def of_phase(facts: Snapshot) -> Iterator[Finding]:
    """Tell that the sidecar starts or shuts down."""
    if facts.phase == "starting":
        yield Finding(FindingKind.STARTING, Level.INFO, Area.SIDECAR, "The sidecar is starting", "Wait a moment.", "")
    elif facts.phase != "serving":
        text = "Calls in flight are finished; new ones are answered 503 shutting_down, and were not sent to Mangopay."
        if facts.phase == "delaying":
            text = "New calls are still served for shutdown.delay; /readyz says 503 already."
        title = "The sidecar is shutting down"
        mend = "If nobody meant it to, see the log: shutdown.started names the signal."
        yield Finding(FindingKind.DRAINING, Level.WARNING, Area.SIDECAR, title, text, mend)


def of_reload(facts: Snapshot) -> Iterator[Finding]:
    """Tell that a changed file is no good."""
    if facts.reload is not None and not facts.reload.successful:
        yield Finding(
            FindingKind.RELOAD_FAILED,
            Level.WARNING,
            Area.SIDECAR,
            "Changed keys or certificates could not be taken over",
            sentence(facts.reload.error),
            "What is named here stays as it was. Put the file right: it is read again by itself, and on SIGHUP.",
        )


def of_store(facts: Snapshot) -> Iterator[Finding]:
    """Tell that tokens are not shared for now. No call fails by it, but a fleet then asks for many tokens."""
    if facts.store is not None and facts.store.up is False:
        yield Finding(
            FindingKind.STORE_DOWN,
            Level.WARNING,
            Area.TOKEN,
            "The token store does not work; tokens are this sidecar's own for now",
            sentence(f"the store ({facts.store.kind} at {facts.store.place}) {facts.store.last_error}"),
            "No call fails by this. Repair it before many sidecars ask Mangopay for tokens; it is then used again.",
        )


def of_tracing(facts: Snapshot) -> Iterator[Finding]:
    """Tell that traces are lost for now. No call fails or waits by it."""
    if facts.tracing is not None and facts.tracing.up is False:
        yield Finding(
            FindingKind.TRACES_LOST,
            Level.WARNING,
            Area.SIDECAR,
            "Traces are lost: the collector does not take them",
            sentence(f"the collector ({facts.tracing.collector}) {facts.tracing.last_error}"),
            "No call fails or waits by this. Check that the collector runs, and SIDECAR_TRACING_OTLP_ENDPOINT.",
        )
