"""What a PromQL expression refers to: its series, the functions that take them, and the labels that it results in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import promql_parser as promql

from tests.support.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.telemetry.exposition import Metric

#: What Prometheus puts on every series that it scrapes.
TARGET_LABELS: Final = frozenset({"job", "instance"})
#: The series of our families: a histogram has three.
SERIES: Final[Mapping[str, Metric]] = {
    family.name + suffix: family
    for family in METRICS.values()
    for suffix in (("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",))
}
#: The labels of every series that there is, those that Prometheus makes itself included.
LABELS: Final[Mapping[str, frozenset[str]]] = {
    name: TARGET_LABELS | frozenset(family.labels) | (frozenset({"le"}) if name.endswith("_bucket") else frozenset())
    for name, family in SERIES.items()
} | {"up": TARGET_LABELS, "ALERTS": TARGET_LABELS | {"alertname", "alertstate", "severity"}}

#: Grafana's own variables, and something to parse in their place.
_GRAFANA: Final = (("$__rate_interval", "5m"), ("$__interval", "1m"), ("$__range", "1h"))
_OPERATORS: Final = (
    (promql.MatchOp.Equal, "="),
    (promql.MatchOp.NotEqual, "!="),
    (promql.MatchOp.Re, "=~"),
    (promql.MatchOp.NotRe, "!~"),
)


@dataclass(frozen=True)
class Use:
    """One place in which an expression selects a series."""

    name: str
    #: Label, operator (``=``, ``!=``, ``=~``, ``!~``) and value.
    matchers: tuple[tuple[str, str, str], ...]
    #: The function whose argument it is directly; None if none.
    function: str | None


class Expression:
    """A parsed expression, Grafana's variables included; ``series`` are those that exist, with their labels."""

    def __init__(self, text: str, series: Mapping[str, frozenset[str]] = LABELS) -> None:
        """Raises ValueError if ``text`` is no PromQL."""
        for variable, stand_in in _GRAFANA:
            text = text.replace(variable, stand_in)
        self._root: Final[Any] = promql.parse(text)
        self._series: Final = series

    def uses(self) -> list[Use]:
        """Every series that is selected, once for each place."""
        return list(_uses(self._root))

    def parts(self) -> list[Any]:
        """Every node."""
        found: list[Any] = []
        promql.walk(self._root, pre_visit=found.append)
        return found

    @property
    def labels(self) -> frozenset[str]:
        """Labels that the resulting series can have; none for a scalar. Raises KeyError for an unknown series."""
        return self._labels(self._root)

    def named_labels(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Give each label that a ``by``, ``without``, ``on`` or ``ignoring`` names, with those that exist there."""
        for part in self.parts():
            if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
                existing = self._labels(part.expr)
                yield from ((label, existing) for label in part.modifier.labels)
            elif isinstance(part, promql.BinaryExpr) and part.modifier is not None and part.modifier.matching:
                existing = self._labels(part.lhs) & self._labels(part.rhs)
                yield from ((label, existing) for label in part.modifier.matching.labels)

    def quantiles(self) -> Iterator[tuple[list[Use], frozenset[str]]]:
        """Give what each ``histogram_quantile`` is made of: the series and the labels that reach it."""
        for part in self.parts():
            if isinstance(part, promql.Call) and part.func.name == "histogram_quantile":
                yield list(_uses(part.args[1])), self._labels(part.args[1])

    def _labels(self, node: Any) -> frozenset[str]:
        match node:
            case promql.VectorSelector():
                return self._series[node.name or ""]
            case promql.MatrixSelector():
                return self._labels(node.vector_selector)
            case promql.AggregateExpr():
                named = frozenset() if node.modifier is None else frozenset(node.modifier.labels)
                without = node.modifier is not None and node.modifier.type == promql.AggModifierType.Without
                inner = self._labels(node.expr)
                return inner - named if without else inner & named
            case promql.Call():
                inner = frozenset[str]().union(*map(self._labels, node.args))
                return inner - {"le"} if node.func.name == "histogram_quantile" else inner
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                return self._labels(node.expr)
            case promql.BinaryExpr():
                left, right = self._labels(node.lhs), self._labels(node.rhs)
                # Arithmetic, `and` and `unless` keep the left side's; `or` may have either's, a number has none.
                return left | right if not left or str(node.op) == "or" else left
        return frozenset()


def _uses(node: Any, function: str | None = None) -> Iterator[Use]:
    match node:
        case promql.VectorSelector():
            yield Use(node.name or "", tuple(_matchers(node)), function)
        case promql.MatrixSelector():
            yield from _uses(node.vector_selector, function)
        case promql.ParenExpr():
            yield from _uses(node.expr, function)
        case promql.Call():
            for argument in node.args:
                yield from _uses(argument, node.func.name)
        case promql.AggregateExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _uses(node.expr)
        case promql.BinaryExpr():
            yield from _uses(node.lhs)
            yield from _uses(node.rhs)


def _matchers(selector: promql.VectorSelector) -> Iterator[tuple[str, str, str]]:
    for matcher in selector.matchers.matchers:
        (operator,) = (text for kind, text in _OPERATORS if kind == matcher.op)
        yield matcher.name, operator, matcher.value
