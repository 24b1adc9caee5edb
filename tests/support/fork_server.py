"""A process that has imported the sidecar's commands and forks for each that a test runs.

Most of what a command costs in a test is the start of Python and its imports,
some 0.4 s of CPU. A forked one has that behind it, and is in everything else
the command as users run it: a process of its own, with its own environment,
session, signals and standard streams, which ends as the interpreter ends.

:class:`ForkServer` is the side of the tests. ``python -m tests.support.fork_server FD``
is the other: it has one thread, and nothing else happens in it.
"""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Seconds until the server must have forked; generous, since test machines are busy.
_PATIENCE: Final = 30.0
#: What the commands import when they are at work, besides their own modules.
_IMPORTED: Final = ("sidecar.app", "sidecar.check.examine", "sidecar.cli.wrapped", "sidecar.emulator.server", "uvloop")


class ForkedProcess:
    """A forked command, with the part of :class:`subprocess.Popen` that the tests use.

    It is no child of this process: the server waits for it, and tells how it ended.
    """

    def __init__(self, channel: socket.socket, stdout: int, stderr: int) -> None:
        """Take over ``channel``, which the server tells the process id and later the exit code on, and two pipes."""
        self._channel: Final = channel
        self._said = b""
        self.stdout: Final = os.fdopen(stdout, "rb")
        self.stderr: Final = os.fdopen(stderr, "rb")
        self.returncode: int | None = None
        self.pid: Final = self._number(_PATIENCE)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None: it still runs."""
        if self.returncode is None and (self._said or select.select([self._channel], [], [], 0)[0]):
            self.returncode = self._number(_PATIENCE)
            self._channel.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not self._said:
            select.select([self._channel], [], [], timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("a forked command", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # the server knows, and is about to tell
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _number(self, timeout: float) -> int:
        self._channel.settimeout(timeout)
        while b"\n" not in self._said:
            piece = self._channel.recv(64)
            assert piece, "the fork server is gone"
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        return int(line)


class ForkServer:
    """The server, as its client sees it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Start it with this environment: of it is what Python itself reads when it starts."""
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process: Final = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                env=dict(environ),
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The parent of all that it runs."""
        return self._process.pid

    def run(self, arguments: Sequence[str], environ: Mapping[str, str], *, absent: Sequence[str] = ()) -> ForkedProcess:
        """Run a command in the current directory, with exactly this environment, and without ``absent`` modules."""
        ours, theirs = socket.socketpair()
        (stdout, their_stdout), (stderr, their_stderr) = os.pipe(), os.pipe()
        request = {
            "arguments": list(arguments),
            "environ": dict(environ),
            "directory": os.getcwd(),  # noqa: PTH109
            "absent": list(absent),
        }
        try:
            descriptors = [theirs.fileno(), their_stdout, their_stderr]
            socket.send_fds(self._control, [b"+"], descriptors)
            ours.sendall(json.dumps(request).encode() + b"\n")
        finally:
            theirs.close()
            os.close(their_stdout)
            os.close(their_stderr)
        return ForkedProcess(ours, stdout, stderr)

    def close(self) -> None:
        """End the server; it leaves as soon as it hears nothing more. Its commands go on."""
        self._control.close()
        self._process.wait(_PATIENCE)


# --- the server ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Child:
    pid: int
    #: Where its end is told.
    channel: socket.socket


def _serve(control: socket.socket) -> None:
    """Fork for each request until the other side is gone. Returns in the server; a child leaves by SystemExit.

    A child holds the writing end of a pipe, so that its end can be waited for
    without a signal handler, which it would inherit.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(child := key.data, _Child):
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
                    _tell(child.channel, code)
                    child.channel.close()
                    continue
                said, descriptors, _, _ = socket.recv_fds(control, 1, 3)
                if not said:
                    return
                _fork(selector, control, descriptors)


def _fork(selector: selectors.BaseSelector, control: socket.socket, descriptors: list[int]) -> None:
    channel = socket.socket(fileno=descriptors[0])
    stdout, stderr = descriptors[1:]
    request = _request(channel)
    alive, held = os.pipe()
    if (pid := os.fork()) != 0:
        for descriptor in (held, stdout, stderr):
            os.close(descriptor)
        selector.register(alive, selectors.EVENT_READ, _Child(pid, channel))
        _tell(channel, pid)
        return
    for key in list(selector.get_map().values()):
        if isinstance(key.data, _Child):
            os.close(key.fd)
            key.data.channel.close()
    selector.close()
    os.close(alive)
    channel.close()
    control.close()
    _become(request, stdout, stderr)


def _request(channel: socket.socket) -> dict[str, Any]:
    said = b""
    while not said.endswith(b"\n"):
        piece = channel.recv(65_536)
        assert piece, "whoever asked has ended before it had said what for"
        said += piece
    request: dict[str, Any] = json.loads(said)
    return request


def _tell(channel: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody waits for it any more
        channel.sendall(b"%d\n" % number)


def _become(request: dict[str, Any], stdout: int, stderr: int) -> NoReturn:
    """Be the command that was asked for."""
    from sidecar.cli import main

    os.setsid()
    for descriptor, number in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environ"])
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(request["absent"]))  # None is the import system's word for "not to be found"
    sys.argv = ["mangopay-sidecar", *request["arguments"]]
    main()


def _import_commands() -> None:
    """Import what the commands import, in the way they do."""
    import gc
    from importlib import import_module

    import click

    from sidecar.cli.group import root
    from sidecar.cli.process import without_rich

    commands = (f"sidecar.cli.{name}" for name in root.list_commands(click.Context(root)))
    with without_rich():
        for name in (*commands, *_IMPORTED):
            import_module(name)
    gc.collect()
    gc.freeze()  # so that no collection in a child copies all of these pages


if __name__ == "__main__":
    _import_commands()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)
