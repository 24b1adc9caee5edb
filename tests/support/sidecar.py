"""The command as users run it: a child process, its output collected, stopped as an init system stops it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from tests.support import canary
from tests.support.fork_server import ForkedProcess, ForkServer

if TYPE_CHECKING:
    from types import TracebackType

COMMAND: Final = Path(sys.executable).with_name("mangopay-sidecar")
#: By the event loop that a command is to have: modules that cannot be imported then.
ABSENT: Final[Mapping[str, list[str]]] = {"uvloop": [], "asyncio": ["uvloop"]}
#: Seconds until a command must have said that it is ready; generous, since test machines are busy.
_READY: Final = 30.0
#: What Python writes for a forgotten socket or coroutine, and asyncio for a task that failed unseen.
_COMPLAINT: Final = re.compile(
    r"ResourceWarning|RuntimeWarning|Traceback \(most recent call last\)|was never retrieved"
)

#: How the names of variables begin that Python, the C library or OpenSSL read once, at their start.
_READ_AT_START: Final = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_", "TZ")

Section = Mapping[str, "str | int | float | bool | list[str]"]


class Command:
    """``mangopay-sidecar`` with arguments. A context manager: at its end the process is gone, killed if need be.

    The child gets ``environ`` and a few neutral variables, nothing else of this process's environment. It is forked
    from a process that has imported what it needs, which saves the most of its start. A test that looks at the process
    itself, its start or its size says ``measured``: it is executed then, and coverage does not follow it there.
    ``loop`` is ``uvloop`` or ``asyncio``, as where uvloop is not installed.
    """

    def __init__(
        self,
        *arguments: str | Path,
        environ: Mapping[str, str] | None = None,
        measured: bool = False,
        loop: str = "uvloop",
    ) -> None:
        self.name = f"mangopay-sidecar {arguments[0] if arguments else ''}".strip()
        self._process = _start([str(each) for each in arguments], environ or {}, measured, loop)
        self._grew = threading.Condition()
        self._output: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._readers = [self._collect("stdout", self._process.stdout), self._collect("stderr", self._process.stderr)]
        self._tickets = [
            canary.watch(f"stdout of {self.name}", lambda: self.stdout),
            canary.watch(f"stderr of {self.name}", lambda: self.stderr),
        ]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> str:
        """Everything written to standard output so far."""
        return "".join(self._output["stdout"])

    @property
    def stderr(self) -> str:
        """Everything written to standard error so far: the log."""
        return "".join(self._output["stderr"])

    @property
    def complaints(self) -> list[str]:
        """Lines of the log that tell of a leaked resource, a lost task or an unexpected exception."""
        return [line for line in self.stderr.splitlines() if _COMPLAINT.search(line)]

    @property
    def log(self) -> list[dict[str, object]]:
        """The log's JSON lines (``log.format = "json"``)."""
        lines = (line for line in self.stderr.splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def wait_for(self, pattern: str, *, stream: str = "stdout", timeout: float = _READY) -> re.Match[str]:
        """Return the first match of ``pattern`` (``^`` and ``$`` match at lines) in what was printed.

        Fails once ``timeout`` seconds have passed or the process has ended without it.
        """
        search = re.compile(pattern, re.MULTILINE).search

        def found() -> bool:
            return search("".join(self._output[stream])) is not None or not self._readers_run()

        with self._grew:
            self._grew.wait_for(found, timeout)
        if match := search("".join(self._output[stream])):
            return match
        raise AssertionError(
            f"{self.name} did not print {pattern!r} within {timeout:g} s (exit code {self._process.poll()})\n"
            f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"
        )

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = 40.0) -> int:
        """Send a signal and return the exit code; the process has ``timeout`` seconds to drain."""
        self._process.send_signal(number)
        return self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 40.0) -> int:
        """Return the exit code once the process has ended and its output is read whole."""
        code = self._process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    def close(self) -> None:
        """End the process, by force if it takes more than 5 s, and look at its output one last time."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        while self._tickets:
            canary.unwatch(self._tickets.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _readers_run(self) -> bool:
        return any(reader.is_alive() for reader in self._readers)

    def _collect(self, stream: str, pipe: IO[bytes] | None) -> threading.Thread:
        assert pipe is not None

        def read() -> None:
            for line in pipe:
                with self._grew:
                    self._output[stream].append(line.decode("utf-8", "replace"))
                    self._grew.notify_all()
            with self._grew:
                self._grew.notify_all()

        thread = threading.Thread(target=read, name=f"{self.name} {stream}", daemon=True)
        thread.start()
        return thread


class Sidecar(Command):
    """``mangopay-sidecar run`` in front of ``upstream`` (a base URL), on free ports, with planted secrets.

    ``sections`` are further sections of the configuration file. Returns from
    the constructor once the ready line is there.
    """

    def __init__(
        self,
        upstream: str,
        *,
        client_id: str = "acme",
        api_key: str = canary.CANARY_API_KEY,
        environ: Mapping[str, str] | None = None,
        measured: bool = False,
        loop: str = "uvloop",
        **sections: Section,
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="sidecar-")
        defaults: dict[str, Section] = {
            "mangopay": {"environment": "emulator", "base_url": upstream, "client_id": client_id, "api_key": api_key},
            "listen": {"host": ["127.0.0.1"], "port": 0},
            "admin": {"host": ["127.0.0.1"], "port": 0},
            "log": {"format": "json"},
        }
        merged = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in {**defaults, **sections}}
        path = Path(self._directory.name, "sidecar.toml")
        path.touch(mode=0o600)
        path.write_text(_toml(merged), encoding="utf-8")
        super().__init__("run", "--config", path, environ=environ, measured=measured, loop=loop)
        try:
            words = self.wait_for(r"^ready (.*)$")[1].split()
        except AssertionError:
            self.close()
            raise
        #: What the ready line said: ``proxy``, ``admin``, ``environment``, ``client_id``.
        self.ready: dict[str, str] = dict(word.partition("=")[::2] for word in words)

    @property
    def url(self) -> str:
        """The proxy port's base URL."""
        return self.ready["proxy"]

    @property
    def port(self) -> int:
        """The proxy port."""
        return int(self.url.rpartition(":")[2])

    @property
    def admin_url(self) -> str:
        """The admin port's base URL."""
        return self.ready["admin"]

    def admin(self, path: str) -> tuple[int, str]:
        """Ask the admin port; return the status and the body."""
        connection = http.client.HTTPConnection(urlsplit(self.admin_url).netloc, timeout=_READY)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        canary.record(f"{path} of the admin port", body)
        return response.status, body

    def wait_until_ready(self) -> None:
        """Return once the first token is there: the ready line only says that calls are served."""
        end = time.monotonic() + _READY
        while self.admin("/readyz")[0] != 200:
            assert time.monotonic() < end, f"not ready within {_READY:g} s:\n{self.stderr}"
            time.sleep(0.01)

    def close(self) -> None:
        super().close()
        self._directory.cleanup()


def _start(
    arguments: list[str], environ: Mapping[str, str], measured: bool, loop: str
) -> subprocess.Popen[bytes] | ForkedProcess:
    whole = {**_neutral_environment(coverage=not measured), **environ}
    if not measured and not any(name.startswith(_READ_AT_START) for name in environ):
        return _fork_server().run(arguments, whole, absent=ABSENT[loop])
    return subprocess.Popen(
        command_on(loop, *arguments),
        env=whole,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def command_on(loop: str, *arguments: str) -> list[str]:
    """Return what starts the command on one of the event loops that it may have."""
    if loop == "uvloop":
        return [str(COMMAND), *arguments]
    return [sys.executable, "-c", f"{program_prefix(loop)}from sidecar.cli import main; main()", *arguments]


def program_prefix(loop: str) -> str:
    """Return the beginning of a Python program in which the sidecar runs on that event loop."""
    return "".join(f"import sys; sys.modules[{name!r}] = None\n" for name in ABSENT[loop])


@cache
def _fork_server() -> ForkServer:
    return ForkServer(_neutral_environment(coverage=True))


def running_fork_server() -> ForkServer | None:
    """Return the process that commands are forked from, if one was started; whoever ends the tests closes it."""
    return _fork_server() if _fork_server.cache_info().currsize else None


def _neutral_environment(coverage: bool) -> dict[str, str]:
    # With the last one set, a package that is installed comes before one that lies in the current directory.
    kept = {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONSAFEPATH"}
    environment = {
        name: value for name, value in os.environ.items() if name in kept or (coverage and name.startswith("COVERAGE_"))
    }
    return {**environment, "PYTHONWARNINGS": "default::ResourceWarning"}


def _toml(sections: Mapping[str, Section]) -> str:
    """Write the little TOML that a configuration needs; JSON's strings, numbers, booleans and lists are TOML too."""
    blocks = (
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])
        for name, keys in sections.items()
    )
    return "\n\n".join(blocks) + "\n"
