"""The image, built from the Dockerfile and run as a hardened container, for real: ``make image-check``.

Needs root on a Debian or Ubuntu machine with ``buildah``, ``runc`` and ``debootstrap`` from its own packages, and no
container engine and no registry of images: the base image is Debian with its Python, made here, and given to the
Dockerfile as ``BASE_IMAGE``. The container runs as an orchestrator would run it: another user, nothing writable, no
capability, no new privileges, no shell. Its network is a new one that leads nowhere, where the default ports are free.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.deploy.network import bring_loopback_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PROJECT: Final = Path(__file__).parents[2]
_IMAGE: Final = "localhost/mangopay-sidecar:check"
_BASE: Final = "localhost/base:check"
_LABELS: Final = {
    "VERSION": "1.2.3",
    "REVISION": "0123abc",
    "CREATED": "2026-01-02T03:04:05Z",
    "SOURCE": "https://git.example.com/mangopay-sidecar",
}
#: Milliseconds of CPU that one health check may cost.
_CHEAP: Final = 50.0
_SHELLS: Final = ("sh", "dash", "bash")
_USER: Final = 65532


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--base", type=Path, help="a directory with a root file system to use as the base image")
    options.add_argument("--try", dest="built", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.built is not None:
        try_out(Image.read(given.built))
        return
    missing = [tool for tool in ("buildah", "runc", "debootstrap") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        sys.exit(f"needs root, and Debian's packages {' '.join(missing) or 'buildah runc debootstrap'}")
    with tempfile.TemporaryDirectory(prefix="image-check-") as name:
        work = Path(name)
        store = Buildah(work)
        try:
            store.make_base(given.base or debian(work / "base"))
            for native in (False, True):
                store.build(native=native)
                store.describe(work / "image.json", native=native)
                command = ["unshare", "--net", sys.executable, "-m", "tests.deploy.built_image"]
                subprocess.run([*command, "--try", work / "image.json"], cwd=PROJECT, check=True)
        finally:
            store.forget()


# --- building --------------------------------------------------------------------------------------------------------


def debian(root: Path) -> Path:
    """Make a root file system of this machine's own release with Python in it, as bare as Python's official images.

    But for a compiler, which the Dockerfile would fetch by itself, in the versions of another release.
    """
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release["VERSION_CODENAME"].strip('"')
    packages = "--include=python3,python3-venv,python3-dev,gcc,libc6-dev,ca-certificates"
    command: list[str | Path] = ["debootstrap", "--variant=minbase", packages, suite, root]
    said = ""
    for _ in range(2):  # a mirror may hiccup
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode == 0:
            return root
        said = done.stdout
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(f"debootstrap failed:\n{said[-2000:]}")


class Buildah:
    """An image store of its own, gone at the end."""

    def __init__(self, work: Path) -> None:
        self._work = work

    def run(self, *arguments: str | Path) -> str:
        """Run ``buildah``; return what it printed."""
        command: list[str | Path] = ["buildah", "--storage-driver", "vfs", "--root", self._work / "store"]
        command += ["--runroot", self._work / "run", *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def make_base(self, root: Path) -> None:
        """Make ``root`` an image; without bytecode, as Python's official images are, and with this machine's trust."""
        for cached in root.glob("usr/lib/python3*/**/*.pyc"):
            cached.unlink()
        trust = Path("etc/ssl/certs/ca-certificates.crt")
        shutil.copyfile("/" / trust, root / trust)
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, root, "/")
        self.run("commit", "--quiet", "--rm", container, _BASE)

    def build(self, *, native: bool) -> None:
        """Build the Dockerfile, ``native``: compiled; in Docker's format: OCI's knows no health check."""
        arguments = {"BASE_IMAGE": _BASE, **({"COMPILE": "1"} if native else {}), **_LABELS}
        given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        self.run("bud", "--isolation", "chroot", "--format", "docker", *given, "--tag", _IMAGE, PROJECT)

    def describe(self, file: Path, *, native: bool) -> None:
        """Write down where the image's files are, and its configuration."""
        config = json.loads(self.run("inspect", "--type", "image", _IMAGE))["Docker"]["config"]
        root = self.run("mount", self.run("from", "--pull-never", _IMAGE))
        file.write_text(json.dumps({"root": root, "config": config, "native": native}))

    def forget(self) -> None:
        """Remove containers and images."""
        self.run("rm", "--all")
        self.run("rmi", "--all", "--force")


# --- running ---------------------------------------------------------------------------------------------------------


class Image:
    """A built image: its files, its configuration, and whether it was compiled."""

    def __init__(self, root: Path, config: Mapping[str, Any], *, native: bool) -> None:
        self.root = root
        self.config = config
        self.native = native

    @classmethod
    def read(cls, file: Path) -> Image:
        document = json.loads(file.read_text())
        return cls(Path(document["root"]), document["config"], native=document["native"])

    @contextmanager
    def running(
        self, *arguments: str, environ: Mapping[str, str], key: Path, entrypoint: bool = True
    ) -> Iterator[Container]:
        """Run a container with ``arguments`` behind the entry point; at the end it is gone."""
        with tempfile.TemporaryDirectory(prefix="bundle-") as bundle:
            subprocess.run(["runc", "spec"], cwd=bundle, check=True)
            file = Path(bundle, "config.json")
            spec = json.loads(file.read_text())
            command = [*(self.config["Entrypoint"] if entrypoint else ()), *arguments]
            self._harden(spec, command, environ, key)
            file.write_text(json.dumps(spec))
            container = Container(Path(bundle))
            try:
                yield container
            finally:
                container.end()

    def _harden(self, spec: dict[str, Any], command: Sequence[str], environ: Mapping[str, str], key: Path) -> None:
        user, group = map(int, self.config["User"].split(":"))
        spec["root"] = {"path": str(self.root), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": user, "gid": group},
            "args": command,
            "env": [*self.config["Env"], *(f"{name}={value}" for name, value in environ.items())],
            "cwd": self.config.get("WorkingDir") or "/",
            "capabilities": {},
            "noNewPrivileges": True,
        }
        mount = {"destination": "/run/secrets/api-key", "source": str(key), "options": ["bind", "ro"]}
        spec["mounts"].append(mount)
        # It shares the network of whoever runs this, as it shares a pod's.
        spec["linux"]["namespaces"] = [each for each in spec["linux"]["namespaces"] if each["type"] != "network"]
        spec["linux"]["maskedPaths"] += [f"/{place}/{shell}" for place in ("bin", "usr/bin") for shell in _SHELLS]


class Container:
    """A running container."""

    def __init__(self, bundle: Path) -> None:
        self._name = f"image-check-{os.getpid()}-{bundle.name}"
        self._stderr = (bundle / "stderr").open("w+b")
        self._process = subprocess.Popen(
            ["runc", "run", "--bundle", bundle, self._name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    @property
    def log(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode()

    def first_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip() or self.log

    def execute(self, *command: str) -> str:
        """Run a command inside, as ``kubectl exec`` does; return what it printed."""
        done = subprocess.run(
            ["runc", "exec", self._name, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def memory(self) -> float:
        """MiB of memory that only this process has."""
        state = json.loads(subprocess.run(["runc", "state", self._name], capture_output=True, check=True).stdout)
        rolled_up = Path(f"/proc/{state['pid']}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in rolled_up if line.startswith(("Rss:",))) / 1024

    def stop(self) -> tuple[int, float]:
        """Send the image's stop signal; return the exit code, and how long it took."""
        began = time.monotonic()
        subprocess.run(["runc", "kill", self._name, "TERM"], check=True)
        return self.ended(), time.monotonic() - began

    def ended(self) -> int:
        return self._process.wait(40)

    def end(self) -> None:
        if self._process.poll() is None:
            subprocess.run(["runc", "kill", self._name, "KILL"], check=False)
            self._process.wait(10)
        subprocess.run(["runc", "delete", "--force", self._name], check=False, stderr=subprocess.DEVNULL)
        self._stderr.close()


# --- what is tried ---------------------------------------------------------------------------------------------------


def try_out(image: Image) -> None:
    """Try everything; an AssertionError tells what is wrong."""
    bring_loopback_up()
    with tempfile.NamedTemporaryFile(prefix="api-key-") as key_file:
        key = Path(key_file.name)
        key.write_text("any-key-will-do\n")
        os.chown(key, 0, _USER)
        key.chmod(0o440)
        for trial in (configuration, version, bytecode, serving, wrapping):
            print(f"{trial.__name__}: {trial(image, key)}", flush=True)


def configuration(image: Image, _key: Path) -> str:
    """What the image says of itself."""
    config = image.config
    labels = {name.rpartition(".")[2].upper(): value for name, value in config["Labels"].items()}
    assert {name: labels[name] for name in _LABELS} == _LABELS, labels
    assert labels["LICENSES"] == "MIT"
    assert config["User"] == f"{_USER}:{_USER}"
    assert config["Cmd"] == ["run"]
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert config["Healthcheck"]["Test"][0] == "CMD", config["Healthcheck"]
    return f"user {config['User']}, {config['Entrypoint'] + config['Cmd']}"


def version(image: Image, key: Path) -> str:
    """Whether what each call runs is native code, and the command says so."""
    with image.running("--version", environ={}, key=key) as container:
        line = container.first_line()
        assert ("(compiled, CPython 3." in line) is image.native, line
        assert container.ended() == 0, container.log
    return line


def bytecode(image: Image, key: Path) -> str:
    """Nothing of what the sidecar imports is compiled when it starts."""
    code = (
        "import sidecar.app, sidecar.cli.run, os, sys; "
        "cached = [m.__cached__ for m in sys.modules.values() if getattr(m, '__cached__', None)]; "
        "print(len(cached), [each for each in cached if not os.path.exists(each)])"
    )
    with image.running(
        f"{Path(image.config['Entrypoint'][0]).parent}/python", "-c", code, environ={}, key=key, entrypoint=False
    ) as container:
        number, _, missing = container.first_line().partition(" ")
        assert missing == "[]", missing
    return f"{number} modules, all compiled"


def serving(image: Image, key: Path) -> str:
    """``run`` in front of the emulator, both from the image, on the default ports."""
    environ = {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": "http://127.0.0.1:18090",
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY_FILE": "/run/secrets/api-key",
    }
    with image.running("emulator", environ={}, key=key) as emulator:
        assert emulator.first_line() == "ready emulator=http://127.0.0.1:18090", emulator.log
        began = time.monotonic()
        with image.running("run", environ=environ, key=key) as sidecar:
            line = sidecar.first_line()
            started = time.monotonic() - began
            assert line.startswith("ready proxy=http://127.0.0.1:18080 admin=http://127.0.0.1:19090 "), line
            sidecar.execute("mangopay-sidecar", "wait")
            assert get(18080, "/v2.01/_/users?per_page=1") == 200
            assert "acme" in sidecar.execute("mangopay-sidecar", "status")
            cost = health_check_costs(image)
            memory = sidecar.memory()
            code, took = sidecar.stop()
            assert code == 0, (code, sidecar.log)
        assert health_check(image) == 1
        assert emulator.stop()[0] == 0
    assert cost < _CHEAP, f"a health check costs {cost:.1f} ms of CPU"
    return (
        f"ready after {started * 1000:.0f} ms, {memory:.0f} MiB resident, a health check costs {cost:.0f} ms of CPU, "
        f"stopped in {took * 1000:.0f} ms"
    )


def wrapping(image: Image, key: Path) -> str:
    """``wrap`` as a container's first process, around a command that calls Mangopay and ends with a status."""
    environ = {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": "http://127.0.0.1:18090",
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY_FILE": "/run/secrets/api-key",
    }
    app = (
        "import os, sys, urllib.request as u; "
        "sys.exit(u.urlopen(os.environ['MANGOPAY_BASE_URL'] + '/v2.01/_/users').status - 193)"
    )
    with image.running("emulator", environ={}, key=key) as emulator:
        assert emulator.first_line().startswith("ready "), emulator.log
        with image.running("wrap", "--", "python3", "-c", app, environ=environ, key=key) as wrapped:
            code = wrapped.ended()
            assert code == 7, (code, wrapped.log)
    return "the command's own status"


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def health_check(image: Image) -> int:
    """Run the health check on the image's files as another user; return its status."""
    command = image.config["Healthcheck"]["Test"][1:]
    return subprocess.run(
        command, env={}, preexec_fn=_inside(image.root), stderr=subprocess.DEVNULL, check=False
    ).returncode


def health_check_costs(image: Image) -> float:
    """Milliseconds of CPU, the median of 20, each from the start of the interpreter on."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    costs = []
    for _ in range(20):
        before = spent()
        assert health_check(image) == 0
        costs.append((spent() - before) * 1000)
    return statistics.median(costs)


def _inside(root: Path) -> Callable[[], None]:
    def enter() -> None:
        os.chroot(root)
        os.chdir("/")
        os.setgroups([])
        os.setgid(_USER)
        os.setuid(_USER)

    return enter


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
