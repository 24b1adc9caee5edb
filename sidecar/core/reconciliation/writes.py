"""Groups the log lines of one write, whatever files and pods they come from.

An app that was told ``unknown`` repeats with the same key, perhaps through another pod,
and may be told ``unknown`` again. Mangopay executes one of these tries at most, and
stores one response, so they are one write. A line that was read twice, since a file
was copied or rotated meanwhile, is one line; two with one id that tell of different
calls are two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sidecar.core.stored_response import comparable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.reconciliation.log_lines import UncertainCall


class UncertainWrite(msgspec.Struct, frozen=True):
    """All tries of one write that ended as ``unknown``, oldest first; at least one."""

    tries: tuple[UncertainCall, ...]

    @property
    def first(self) -> UncertainCall:
        """The try that began first."""
        return self.tries[0]

    @property
    def ended(self) -> float:
        """When the last try was over (Unix seconds)."""
        return max(each.ended for each in self.tries)


def group_writes(calls: Iterable[UncertainCall]) -> list[UncertainWrite]:
    """Return the writes that ``calls`` tell of, ordered by when each began."""
    tries: dict[tuple[str, ...], list[UncertainCall]] = {}
    known: set[tuple[str, ...]] = set()
    for call in sorted(calls, key=lambda call: call.started):
        where = (call.environment, comparable(call.path))
        same = (*where, call.id, call.method) if call.key is None else (*where, call.key)
        if (call.id, *same) in known:
            continue
        known.add((call.id, *same))
        tries.setdefault(same, []).append(call)
    return [UncertainWrite(tuple(each)) for each in tries.values()]
