"""Hooks that Mangopay does not call any more, so that events are lost (``admin.watch_hooks``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.advice.texts.hooks import MEND, unseen_mend
from sidecar.core.text import count, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot

#: Hooks that are named.
_NAMED: Final = 5


def of_hooks(facts: Snapshot) -> Iterator[Finding]:
    """Tell of hooks that are not called, and of a look that failed, which says nothing of the hooks."""
    hooks = facts.hooks
    if hooks is None:
        return
    if hooks.failing:
        named = ", ".join(f"{hook.event_type} ({hook.state})" for hook in hooks.failing[:_NAMED])
        more = len(hooks.failing) - _NAMED
        yield Finding(
            FindingKind.HOOKS_FAILING,
            Level.WARNING,
            Area.MANGOPAY,
            "Mangopay does not call some hooks any more",
            f"Of {count(sum(hooks.states.values()), 'hook')}: {named}{f', and {more} more' if more > 0 else ''}. "
            "Their events are lost.",
            sentence(MEND),
        )
    if hooks.last_error:
        yield Finding(
            FindingKind.HOOKS_UNSEEN,
            Level.INFO,
            Area.MANGOPAY,
            "The hooks could not be looked at",
            sentence(f"the last look ended with {hooks.last_error}"),
            sentence(unseen_mend(hooks.last_error)),
        )
