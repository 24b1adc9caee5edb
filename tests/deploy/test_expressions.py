"""What the dashboard and the alerts ask for exists: metrics, labels, values; and is asked for as its kind allows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sidecar.telemetry.exposition import PREFIX
from tests.deploy.monitoring import EXPRESSIONS, PANELS, RECORDED, SERIES, VALUES, VARIABLES, label_values, target_name
from tests.support.metrics import METRICS
from tests.support.promql import SERIES as OURS
from tests.support.promql import TARGET_LABELS, Expression, Use

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The functions of counters, and the other way round those of gauges.
OF_COUNTERS: Final = {"rate", "increase", "irate", "resets"}
OF_GAUGES: Final = {"deriv", "delta", "idelta", "predict_linear"}


def every_use() -> Iterator[tuple[str, Use]]:
    """Give every series that is selected, and where."""
    for where, expression in EXPRESSIONS.items():
        for use in expression.uses():
            yield where, use


def test_every_series_exists() -> None:
    assert [(where, use.name) for where, use in every_use() if use.name not in SERIES] == []


def test_every_label_exists_where_it_is_named() -> None:
    faults = [
        (where, use.name, label)
        for where, use in every_use()
        for label, _, _ in use.matchers
        if label not in SERIES[use.name]
    ]
    faults += [
        (where, "of " + ", ".join(sorted(existing)), label)
        for where, expression in EXPRESSIONS.items()
        for label, existing in expression.named_labels()
        if label not in existing
    ]
    assert faults == []


def test_every_value_can_occur() -> None:
    faults = []
    for where, use in every_use():
        family = OURS[use.name].name.removeprefix(PREFIX) if use.name in OURS else ""
        for label, operator, value in use.matchers:
            if not family or "$" in value:
                continue  # Prometheus' own series; a variable of the dashboard
            patterns = value.split("|") if operator in ("=~", "!~") else [re.escape(value)]
            possible = VALUES[family, label]
            faults += [
                (where, use.name, label, pattern)
                for pattern in patterns
                if not any(re.fullmatch(pattern, each) for each in possible)
            ]
    assert faults == []


def test_counters_are_asked_for_as_counters_and_gauges_as_gauges() -> None:
    """As it stands a counter says nothing; and a gauge has no rate."""
    for where, use in every_use():
        kind = OURS[use.name].kind if use.name in OURS else "gauge"
        if kind == "gauge":
            assert use.function not in OF_COUNTERS, (where, use)
        else:
            assert use.function in OF_COUNTERS - OF_GAUGES, (where, use)


def test_quantiles_are_of_buckets_that_kept_their_bounds() -> None:
    seen = 0
    for where, expression in EXPRESSIONS.items():
        for uses, labels in expression.quantiles():
            assert all(use.name.endswith("_bucket") for use in uses), where
            assert "le" in labels, where
            seen += 1
    assert seen >= 9, "three quantiles of three histograms"


def test_every_metric_of_the_contract_is_on_the_dashboard() -> None:
    shown = {OURS[use.name].name for where, use in every_use() if where.startswith("panel") and use.name in OURS}
    assert shown == {PREFIX + name for name in METRICS}


def test_every_variable_offers_the_values_of_a_label_that_exists() -> None:
    for name in ("job", "instance"):
        selector, label = label_values(VARIABLES[name])
        assert label == name
        assert label in Expression(selector).labels


def test_what_is_recorded_keeps_the_labels_of_its_target() -> None:
    assert RECORDED
    assert all(SERIES[name] == TARGET_LABELS for name in RECORDED)


def test_every_legend_names_labels_that_the_result_has() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            where = target_name(panel, target)
            labels = EXPRESSIONS[where].labels
            named = set(re.findall(r"\{\{ *(\w+) *\}\}", target.get("legendFormat", "")))
            assert named <= labels, f"{where}: of {sorted(labels)}"
            if panel["type"] in ("timeseries", "state-timeline") and labels:
                assert named, f"{where}: several series, and no telling them apart"
