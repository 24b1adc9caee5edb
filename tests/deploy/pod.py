"""A rendered workload, brought to life on this machine: the part of the kubelet that its configuration depends on.

What is taken from the manifest: commands, arguments, variables in their order
with ``$(NAME)`` expanded, ConfigMaps, the pod's address, volumes with their
modes and group, ports and probes. What differs: paths of volumes are moved
below a directory, and ports are free ones.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: The pod's address: one of this machine's own, but not the one that loopback listeners have (macOS has no other).
POD_IP: Final = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
_WORKLOADS: Final = ("Deployment", "Job")
_FIELDS: Final = {"status.podIP": POD_IP}
_stamp: Final = itertools.count()


@dataclass(frozen=True)
class Probe:
    """An ``httpGet`` probe, where it goes on this machine."""

    kind: str
    host: str
    port: int
    path: str


class Pod:
    """The pod of the one workload among ``documents``; its volumes come to lie below ``directory``."""

    def __init__(
        self, documents: Iterable[dict[str, Any]], directory: Path, secrets: Mapping[str, Mapping[str, bytes]]
    ) -> None:
        by_kind: dict[str, dict[str, Any]] = {}
        for document in documents:
            by_kind.setdefault(document["kind"], {})[document["metadata"]["name"]] = document
        (self.workload,) = [each for kind in _WORKLOADS for each in by_kind.get(kind, {}).values()]
        self.spec: Final[dict[str, Any]] = self.workload["spec"]["template"]["spec"]
        self.containers: Final[dict[str, dict[str, Any]]] = {
            each["name"]: each for each in (*self.spec.get("initContainers", ()), *self.spec["containers"])
        }
        self._config_maps: Final = by_kind.get("ConfigMap", {})
        self._secrets: Final = secrets
        self._directory: Final = directory
        self._ports: dict[str, str] = {}
        for volume in self.spec["volumes"]:
            self._make(volume)

    # --- containers --------------------------------------------------------------------------------------------------

    def environ(self, name: str) -> dict[str, str]:
        """Return a container's variables, as they are on this machine."""
        container = self.containers[name]
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found |= self._config_maps[source["configMapRef"]["name"]]["data"]
        for entry in container.get("env", ()):
            if "valueFrom" in entry:
                found[entry["name"]] = _FIELDS[entry["valueFrom"]["fieldRef"]["fieldPath"]]
            else:
                found[entry["name"]] = self.here(_expanded(entry["value"], found), name)
        return found

    def command(self, name: str) -> list[str]:
        """Return a container's command and arguments, as they are on this machine."""
        container, environ = self.containers[name], self.environ(name)
        words = [*container.get("command", ()), *container.get("args", ())]
        return [self.here(_expanded(word, environ), name) for word in words]

    def probe(self, name: str, kind: str) -> Probe:
        """Return a container's probe."""
        container = self.containers[name]
        asked = container[kind]["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        port = ports.get(asked["port"], asked["port"])
        return Probe(kind, asked.get("host", POD_IP), int(self.here(str(port), name)), asked["path"])

    def here(self, text: str, container: str) -> str:
        """Replace what is different on this machine: five-digit ports, and paths below the container's volumes."""
        text = re.sub(r"(?<![0-9.])1[89]0[89]0(?![0-9])", lambda found: self._port(found[0]), text)
        for mount in self.containers[container].get("volumeMounts", ()):
            text = re.sub(rf"{mount['mountPath']}(?=/|$)", str(self.volume(mount["name"])), text)
        return text

    def _port(self, declared: str) -> str:
        return self._ports.setdefault(declared, str(free_port()))

    # --- volumes -----------------------------------------------------------------------------------------------------

    def volume(self, name: str) -> Path:
        """Where a volume is."""
        return self._directory / name

    def replace_secret(self, volume: str, files: Mapping[str, bytes]) -> None:
        """Put other files into a Secret's volume as the kubelet does: the link ``..data`` is swapped."""
        (declared,) = [each for each in self.spec["volumes"] if each["name"] == volume]
        self._project(self.volume(volume), files, declared["secret"]["defaultMode"])

    def _make(self, volume: dict[str, Any]) -> None:
        path = self.volume(volume["name"])
        path.mkdir()
        if "secret" in volume:
            files = self._secrets[volume["secret"]["secretName"]]
            self._project(path, files, volume["secret"].get("defaultMode", 0o644))
        elif "configMap" in volume:
            data = self._config_maps[volume["configMap"]["name"]]["data"]
            self._project(path, {name: text.encode() for name, text in data.items()}, 0o644)
        else:
            assert "emptyDir" in volume, volume
            path.chmod(0o777)
            if self._give_to_group(path):
                path.chmod(0o2777)

    def _project(self, path: Path, files: Mapping[str, bytes], mode: int) -> None:
        """Write files as the kubelet's atomic writer does: ``NAME`` leads to ``..data/NAME``, and that elsewhere."""
        fresh = path / f"..{next(_stamp)}"
        fresh.mkdir()
        for name, content in files.items():
            file = fresh / name
            file.write_bytes(content)
            self._give_to_group(file)
            file.chmod(mode)
            if not (path / name).is_symlink():
                (path / name).symlink_to(f"..data/{name}")
        data = path / "..data"
        old = data.resolve() if data.is_symlink() else None
        (path / "..data_tmp").symlink_to(fresh.name)
        (path / "..data_tmp").rename(data)
        if old is not None:
            shutil.rmtree(old)

    def _give_to_group(self, path: Path) -> bool:
        """Give it to the pod's ``fsGroup``; tell whether there is one."""
        group = self.spec.get("securityContext", {}).get("fsGroup")
        if group is not None and os.geteuid() == 0:
            os.chown(path, 0, group)
        return group is not None


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """Expand ``$(NAME)`` as Kubernetes does: what is not defined stays as it is."""
    return re.sub(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", lambda found: environ.get(found[1], found[0]), text)
