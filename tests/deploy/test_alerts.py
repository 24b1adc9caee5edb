"""What the alerts say: how bad it is, what is wrong, and the mend; and what is said about them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.monitoring import ALERTS, EXPRESSIONS, PROMETHEUS, ROOT
from tests.support.promtool import run_promtool

if TYPE_CHECKING:
    from pathlib import Path

README = PROMETHEUS / "README.md"
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
#: Where this repository's pages are found.
PAGES = URLS["Documentation"].removesuffix("/docs")
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
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
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
    base, _, chapter = ALERTS[alert]["annotations"]["runbook_url"].partition(f"{PAGES}/")
    page, _, anchor = chapter.partition("#")
    assert base == ""
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


# --- the Prometheus Operator -----------------------------------------------------------------------------------------


def operator(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PROMETHEUS / file).read_text())
    assert found["apiVersion"] == "monitoring.coreos.com/v1"
    return found


def test_the_operator_gets_the_same_rules() -> None:
    rule = operator("prometheusrule.yaml")
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())


def test_the_operator_scrapes_the_port_that_the_sidecar_has() -> None:
    monitor = operator("podmonitor.yaml")
    assert monitor["kind"] == "PodMonitor"
    assert monitor["spec"]["selector"] == {}  # any pod: what they are called is the app's to say
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    component = ROOT / "deploy" / "kubernetes" / "components" / "sidecar" / "pod-template.yaml"
    spec = yaml.safe_load(component.read_text())["spec"]["template"]["spec"]
    assert endpoint["port"] in {port["name"] for port in spec["initContainers"][0]["ports"]}
    assert endpoint["path"] == "/metrics"


def test_the_project_s_address_can_be_put_where_it_stands(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(PROMETHEUS, tmp_path / "deploy" / "prometheus")
    home = "https://git.example.com/you/mangopay-sidecar"
    for name in ("HOME_URL=" + home, "HOME_URL=https://git.example.com/other"):  # and again, elsewhere
        subprocess.run(["make", "--silent", "rehome", name], cwd=tmp_path, check=True)
        home = name.partition("=")[2]
        for file in ("alerts.yaml", "prometheusrule.yaml"):
            text = (tmp_path / "deploy" / "prometheus" / file).read_text()
            assert text.count(f"runbook_url: {home}/blob/main/") == len(ALERTS)
        urls = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["urls"]
        assert urls["Source"] == home
        assert all(url.startswith(home) for url in urls.values())
