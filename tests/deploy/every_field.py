"""Objects of Kubernetes with every field set, made from the schemas that Kubernetes publishes."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any, Final

import kubernetes_validate

_API_VERSIONS: Final = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
KINDS: Final = tuple(_API_VERSIONS)


def workload(kind: str, name: str) -> dict[str, Any]:
    """Return an object of ``kind``, one of KINDS: each field of its ``spec`` has a value, at every depth."""
    api_version = _API_VERSIONS[kind]
    schema = _schema(f"{kind.lower()}-{api_version.replace('/', '-')}.json")
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": {"mangopay-sidecar": "true"}, "annotations": {"its": "own"}},
        "spec": _sample(schema["properties"]["spec"], "spec"),
    }


def pod_spec(workload: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a workload that is its pods' spec."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: dict[str, Any] = spec["template"]["spec"]
    return found


@functools.cache
def _schema(file: str) -> dict[str, Any]:
    version = f"v{kubernetes_validate.latest_version()}-local"
    path = files("kubernetes_validate") / "kubernetes-json-schema" / version / file
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _sample(schema: dict[str, Any], name: str) -> Any:
    if "$ref" in schema:
        file, _, pointer = schema["$ref"].partition("#")
        target: Any = _schema(file.rpartition("/")[2] or "_definitions.json")
        for part in filter(None, pointer.split("/")):
            target = target[part]
        return _sample(target, name)
    if schema.get("enum"):
        return next(each for each in schema["enum"] if each is not None)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next(each for each in kind if each != "null")
    match kind:
        case "object" if "properties" in schema:
            return {key: _sample(each, key) for key, each in schema["properties"].items()}
        case "object":
            return {"key": _sample(schema.get("additionalProperties") or {}, name)}
        case "array":
            return [_sample(schema["items"], name)]
        case "boolean":
            return True
        case "integer" | "number":
            return 7
        case _:
            return f"its-{name.lower()}"
