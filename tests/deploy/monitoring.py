"""The dashboard and the rules of ``deploy/``, read; and every expression in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, get_args

import yaml

from sidecar.core.deprecation import DEPRECATIONS
from sidecar.core.errors import ErrorCode, Outcome
from sidecar.core.hooks import HookState
from sidecar.telemetry.metrics import TOKEN_OUTCOMES, RateHeld, Unauthorized
from sidecar.telemetry.record import Recovery, Source
from tests.support.promql import LABELS, Expression

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "deploy" / "grafana" / "mangopay-sidecar.json").read_text())

_GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
_RULES: Final = [rule for group in _GROUPS for rule in group["rules"]]
ALERTS: Final[dict[str, dict[str, Any]]] = {rule["alert"]: rule for rule in _RULES if "alert" in rule}
RECORDED: Final[dict[str, str]] = {rule["record"]: rule["expr"] for rule in _RULES if "record" in rule}

PANELS: Final[list[dict[str, Any]]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ROWS: Final[list[dict[str, Any]]] = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
VARIABLES: Final[dict[str, dict[str, Any]]] = {each["name"]: each for each in DASHBOARD["templating"]["list"]}

#: The values that a label can have, by family and label; those not named here have too many to list.
VALUES: Final = {
    ("requests_total", "method"): {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"},
    ("requests_total", "status"): {*map(str, range(200, 600)), "none"},
    ("requests_total", "source"): set(get_args(Source)),
    ("errors_total", "code"): set(ErrorCode),
    ("errors_total", "outcome"): set(Outcome),
    ("token_requests_total", "credential"): {"api", "embedded"},
    ("token_requests_total", "outcome"): set(TOKEN_OUTCOMES),
    ("token_expiry_timestamp_seconds", "credential"): {"api", "embedded"},
    ("unauthorized_total", "kind"): set(get_args(Unauthorized)),
    ("recovered_total", "how"): set(get_args(Recovery)),
    ("rate_held_total", "result"): set(get_args(RateHeld)),
    ("deprecated_calls_total", "what"): {row.what for row in DEPRECATIONS},
    ("latched", "credential"): {"api", "embedded"},
    ("latched", "reason"): {"lockout", "refused"},
    ("hooks", "status"): set(HookState),
}
_LABEL_VALUES: Final = re.compile(r"label_values\((.+), (\w+)\)")


def label_values(variable: dict[str, Any]) -> tuple[str, str]:
    """Return the selector and the label of a variable's query."""
    match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
    assert match is not None, variable["query"]
    return match[1], match[2]


def target_name(panel: dict[str, Any], target: dict[str, Any]) -> str:
    """Return the key of a target's expression in :data:`EXPRESSIONS`."""
    return f"panel {panel['id']} {panel['title']} {target['refId']}"


def _texts() -> dict[str, str]:
    texts = {f"alert {name}": rule["expr"] for name, rule in ALERTS.items()} | RECORDED
    for panel in PANELS:
        texts |= {target_name(panel, target): target["expr"] for target in panel["targets"]}
    texts |= {f"annotation {each['name']}": each["expr"] for each in DASHBOARD["annotations"]["list"] if "expr" in each}
    return texts | {
        f"variable {name}": label_values(each)[0] for name, each in VARIABLES.items() if "query" in each["query"]
    }


#: Every series that there is, those that the rules record included.
SERIES: Final = {**LABELS, **{name: Expression(text).labels for name, text in RECORDED.items()}}
#: Every expression of deploy/, by where it is.
EXPRESSIONS: Final = {where: Expression(text, SERIES) for where, text in _texts().items()}
