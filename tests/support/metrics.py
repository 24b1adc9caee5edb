"""The metrics that there are, by their names without the prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.telemetry.exposition import PREFIX, Metric
from sidecar.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS: Final[Mapping[str, Metric]] = {metric.name.removeprefix(PREFIX): metric for metric in Metrics()}
