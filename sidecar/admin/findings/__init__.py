"""What the status document means, in plain words.

Is it the token, the key, the lock, the rate limit, the network or Mangopay?

A pure function from the facts to findings: the page, the ``status`` command and
``/status`` show the same. The words for causes and mends are those of
``sidecar.advice.texts``, which calls, the log and ``check`` use too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.admin.findings.calls import of_calls, of_deprecated_calls, of_foreign_calls
from sidecar.admin.findings.hooks import of_hooks
from sidecar.admin.findings.limits import of_batch_lane, of_certificate, of_limits, of_rate_limits
from sidecar.admin.findings.process import of_phase, of_reload, of_store, of_tracing
from sidecar.admin.findings.tokens import of_tokens
from sidecar.admin.findings.upstream import of_recovered, of_upstream
from sidecar.core.text import sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot

_RULES: Final = (
    *(of_phase, of_tokens, of_upstream, of_rate_limits, of_batch_lane, of_certificate),
    *(of_limits, of_reload, of_store, of_tracing, of_foreign_calls, of_deprecated_calls, of_calls, of_hooks),
    of_recovered,
)
_RANKS: Final = {level: rank for rank, level in enumerate(reversed(Level))}


def findings(facts: Snapshot) -> tuple[Finding, ...]:
    """Return what can be said of ``facts``, the worst first; at least one. Its own ``findings`` are ignored."""
    found: dict[tuple[FindingKind, str], Finding] = {}
    for rule in _RULES:
        for finding in rule(facts):
            known = found.setdefault((finding.kind, finding.title), finding)
            if _RANKS[finding.level] < _RANKS[known.level]:
                found[finding.kind, finding.title] = finding
    told = sorted(found.values(), key=lambda finding: _RANKS[finding.level])
    return (*_headline(facts, told), *told)


def _headline(facts: Snapshot, told: list[Finding]) -> Iterator[Finding]:
    """What stands above all if nothing is wrong, or if nothing else says why calls are not served."""
    ready = facts.readiness
    if told and told[0].level in (Level.CRITICAL, Level.WARNING):
        return
    if not ready.ready:
        if not told:
            title = "Calls are not served yet"
            yield Finding(
                FindingKind.NOT_READY, Level.WARNING, Area.SIDECAR, title, sentence(ready.message), "See the log."
            )
        return
    token = facts.tokens[0] if facts.tokens else None
    if token is None or not token.valid:
        text, until, label = "Calls are served; the next one fetches a token.", None, ""
    else:
        text = "Calls are served with a valid token, which the sidecar refreshes by itself while it is used."
        until, label = (token.refresh_at, "token is refreshed") if token.next_attempt_at is not None else (None, "")
    yield Finding(FindingKind.HEALTHY, Level.OK, Area.SIDECAR, "Everything works", text, "", until, label)
