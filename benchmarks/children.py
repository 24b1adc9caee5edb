"""Programs that a benchmark starts: pinned to a core, their output in files, ended by their own ids."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from benchmarks.measure.cores import pinned
from benchmarks.measure.processes import tree

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

#: Seconds that a program has to end after SIGTERM.
_PATIENCE: Final = 5.0
#: Below the ports that Linux gives to outgoing connections, so that no caller's connection takes one of them.
_PORTS: Final = range(18_000, 32_000)


class ChildError(Exception):
    """A program ended before it should, or never became ready; the message has the end of its output."""


@dataclass(frozen=True)
class Launch:
    """A program with its arguments, and what its environment has besides the neutral variables."""

    command: tuple[str | Path, ...]
    environ: dict[str, str] = field(default_factory=dict)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    for _ in range(100):
        port = random.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise ChildError("no free port found")


class Child:
    """A running program. A context manager: at its end the program and its descendants are gone."""

    def __init__(self, name: str, launch: Launch, *, core: int, directory: Path) -> None:
        self.name = name
        self.output = directory / f"{name}.out"
        self.begun = time.perf_counter()
        with self.output.open("ab") as output, pinned(core):
            self._process = subprocess.Popen(
                launch.command,
                env={**neutral_environment(), **launch.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def pids(self) -> tuple[int, ...]:
        """Return its process and all descendants."""
        return tuple(tree(self.pid))

    def check_that_it_runs(self) -> None:
        """Raise ChildError if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise ChildError(f"{self.name} ended with {code}: {self.last_words()}")

    def wait_for_line(self, line: str, *, seconds: float = 30.0) -> None:
        """Return once ``line`` was printed. Raises ChildError."""
        end = self.begun + seconds
        while line not in self.output.read_text("utf-8", "replace").splitlines():
            self.check_that_it_runs()
            if time.perf_counter() > end:
                raise ChildError(f"{self.name} did not print {line!r}: {self.last_words()}")
            time.sleep(0.005)

    def last_words(self) -> str:
        """Return the end of its output."""
        with self.output.open("rb") as output:
            output.seek(max(0, self.output.stat().st_size - 2000))
            lines = output.read().decode("utf-8", "replace").strip().splitlines()
        return " | ".join(lines[-5:])

    def stop(self) -> None:
        """End it: by SIGTERM, by SIGKILL if that takes too long, and then whatever it left behind in its session."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        # Its session has its id, and nobody else is in it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def neutral_environment() -> dict[str, str]:
    """Return what programs get of this process's environment: nothing that would change what is measured."""
    return {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL"}}
