"""What the alerts say: how bad it is, what is wrong, and the mend; and what is said about them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.deploy.monitoring import ALERTS, EXPRESSIONS, PROMETHEUS, ROOT
from tests.support.promtool import run_promtool

if TYPE_CHECKING:
    from pathlib import Path

README = PROMETHEUS / "README.md"
#: A single event is worth an alert, so it does not wait for a second one.
AT_ONCE = {"MangopaySidecarOutcomeUnknown", "MangopaySidecarCallerRefused"}


def anchors(page: Path) -> set[str]:
    """The anchors that headings get: lower case, without punctuation, blanks as dashes."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_prometheus_takes_rules_and_example_as_they_are() -> None:
    run_promtool("check", "rules", PROMETHEUS / "alerts.yaml")
    run_promtool("check", "config", PROMETHEUS / "scrape.yaml")


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_the_mend(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    for name in ("summary", "description"):
        text = rule["annotations"][name]
        assert "\n" not in text
        assert text.endswith(".")
    assert len(rule["annotations"]["summary"]) <= 160
    assert ("for" in rule) is (alert not in AT_ONCE)


@pytest.mark.parametrize("alert", ALERTS)
def test_annotations_show_labels_that_the_alert_has(alert: str) -> None:
    text = " ".join(ALERTS[alert]["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= EXPRESSIONS[f"alert {alert}"].labels


@pytest.mark.parametrize("alert", ALERTS)
def test_the_runbook_is_a_chapter_of_this_repository(alert: str) -> None:
    page, _, anchor = ALERTS[alert]["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / page)


def test_the_readme_explains_every_alert_and_no_other() -> None:
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|", README.read_text(), re.MULTILINE)
    assert table == [(alert, rule["labels"]["severity"]) for alert, rule in ALERTS.items()]


def test_the_readme_s_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README.read_text())
    assert targets
    for target in targets:
        file, _, anchor = target.partition("#")
        page = README.parent / file if file else README
        assert page.is_file(), target
        assert not anchor or anchor in anchors(page), target
