"""Each alert fires when it should, and all keep silent otherwise: Prometheus' own ``promtool test rules`` says so."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.alert_cases import CASES, OTHER, SCRAPE, SUMMARIES, Case, healthy, remaining
from tests.deploy.monitoring import ALERTS, EXPRESSIONS, PROMETHEUS
from tests.support.promtool import run_promtool

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "MangopaySidecar"


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the rules whose alerts have a summary only: promtool compares every annotation word by word."""
    document = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            for name in ("description", "runbook_url"):
                rule.get("annotations", {}).pop(name, None)
    path = tmp_path_factory.mktemp("rules") / "alerts.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML as well, and written a hundred times faster
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_exactly_the_right_alerts_fire(case: Case, rules: Path, tmp_path: Path) -> None:
    test = tmp_path / "case.yaml"
    document = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [_as_promtool_has_it(case)]}
    test.write_text(json.dumps(document))
    assert "SUCCESS" in run_promtool("test", "rules", test)


def _as_promtool_has_it(case: Case) -> dict[str, Any]:
    base = {} if case.alone else healthy()
    assert set(case.series) - set(base) <= {OTHER, remaining("window_5")}, "no sidecar exposes such a series"
    moments = [(f"{int(minute * 60)}s", firing) for minute, firing in case.firing.items()]
    return {
        "interval": f"{SCRAPE}s",
        "input_series": [{"series": name, "values": values} for name, values in {**base, **case.series}.items()],
        # These fire, and no others …
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": moment,
                "exp_samples": [{"labels": f'{{alertname="{PREFIX}{alert}"}}', "value": 1} for alert in firing],
            }
            for moment, firing in moments
        ],
        # … with these words.
        "alert_rule_test": [
            {
                "alertname": PREFIX + alert,
                "eval_time": moment,
                "exp_alerts": [
                    {
                        "exp_labels": _labels(PREFIX + alert, case),
                        "exp_annotations": {"summary": case.summaries.get(alert) or SUMMARIES[alert]},
                    }
                ],
            }
            for moment, firing in moments
            for alert in firing
        ],
    }


def _labels(alert: str, case: Case) -> dict[str, str]:
    """The labels of the alert: its own, and of those of the series that made it fire all that its expression keeps."""
    kept = EXPRESSIONS[f"alert {alert}"].labels if not case.alone else frozenset()
    of_series = re.findall(r'(\w+)="([^"]*)"', " ".join(case.series))
    return {**{name: value for name, value in of_series if name in kept}, **ALERTS[alert]["labels"]}


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    """And one in which it does not: every other case names all alerts that fire in it."""
    fired = {PREFIX + alert for case in CASES for firing in case.firing.values() for alert in firing}
    assert fired == set(ALERTS)
