"""Which calls are of the batch lane (contract section 10).

A call is of the batch lane if its header says so (``X-Sidecar-Lane: batch``), or if
its method and path match one of the rules of ``limits.batch``, which are written
and compared as those of ``policy`` are. Every other call is of the normal lane.

An unknown lane counts as the normal one, and the log shows it: a spelling mistake in an
optional header must not stop a payment, and holding the call would be a guess. A path that
servers may read in several ways matches no rule: a call is held only if it surely is one
of those that were named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from sidecar.core.admission.policy import Rule, plain_segments
from sidecar.core.http.header_index import HeaderIndex, RawHeaders, index_of, select
from sidecar.core.http.headers import folded
from sidecar.core.redact import BEFORE_AN_ID, is_word

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of a call that is not in the normal one: what the log says of it. ``unknown``: its header names no lane.
Lane: TypeAlias = Literal["batch", "unknown"]

_BATCH: Final = b"batch"
_NORMAL: Final = b"normal"
_MOST_KEPT: Final = 1024
#: The lines of a head that name a lane.
LANES: Final = select(lambda name: folded(name) == b"x-sidecar-lane")


class LaneRules:
    """The rules of ``limits.batch``, compiled once."""

    __slots__ = ("_rules", "possible")

    def __init__(self, batch: Iterable[str]) -> None:
        """Raise ValueError if a rule cannot be read."""
        self._rules: Final = tuple(map(Rule.parse, batch))
        #: By method and masked path: whether a call may match a rule. Most calls need no look at their segments then.
        self.possible: Final = _Possible(self._rules)

    def lane(self, method: str, path: str, raw: RawHeaders, header_index: HeaderIndex | None = None) -> Lane | None:
        """Return the lane of a call, None for the normal one.

        ``path`` is :attr:`sidecar.core.admission.target.Target.path`; ``raw`` the request's header lines, and
        ``header_index`` theirs, where the caller has it. One line that says ``batch`` is enough.
        """
        named: Lane | None = None
        for _, index in (index_of(raw) if header_index is None else header_index)[LANES]:
            value = raw[index][1].strip(b" \t").lower()
            if value == _BATCH:
                return "batch"
            if value != _NORMAL:
                named = "unknown"
        segments = plain_segments(path) if self._rules else None
        if segments is None:
            return named
        method = method.upper()  # as it is for policy
        return "batch" if any(rule.matches(method, segments) for rule in self._rules) else named


class _Possible(dict[tuple[str, str], bool]):
    """Whether a call may match a rule, by its method and its masked path: these are few."""

    __slots__ = ("_rules",)

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        super().__init__()
        # What may be masked as an id says nothing.
        self._rules: Final = tuple((rule.method, frozenset(filter(is_word, rule.anchors))) for rule in rules)

    def __missing__(self, call: tuple[str, str]) -> bool:
        if len(self) >= _MOST_KEPT:
            self.clear()
        self[call] = possible = self._judge(*call)
        return possible

    def _judge(self, method: str, masked: str) -> bool:
        folded_path = masked.casefold()
        # Behind these everything is masked; and of a long path the end is missing.
        hidden = any(f"/{name}/{{id}}" in folded_path for name in BEFORE_AN_ID) or masked.endswith("...")
        there = frozenset(folded_path.split("/"))
        about = [words for wanted, words in self._rules if wanted in {"*", method.upper()}]
        return any(hidden or words <= there for words in about)
