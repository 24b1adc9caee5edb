"""The command that ``wrap`` runs: forked early, started late.

The fork comes first of all, while this process has one thread and has read no
secret: after that nothing but execve(2) is safe in a child, and what there is
to do before it (the parent's death, signals) needs Python. The child
waits at a pipe until it is told the sidecar's address; then it becomes the
command, and its process id stays the same.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit

from sidecar.cli.output import print_error
from sidecar.cli.process import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: As a shell counts (POSIX XCU 2.8.2): for a command that was found but cannot be run, and for one that was not found.
CANNOT_RUN: Final = 126
NOT_FOUND: Final = 127
#: A command that ended by signal n has the status 128 + n.
BY_SIGNAL: Final = 128

#: What whoever stops or steers a process sends; it is meant for the command.
_PASSED_ON: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
#: What a terminal sends by itself, and then to every process of its foreground group.
_OF_TERMINALS: Final = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGQUIT))
#: In place of a sender's process id.
_TERMINAL: Final = -1
#: Python ignores these, and what is ignored stays so across execve(2).
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)

_SHELL: Final = "/bin/sh"
_PREFIX: Final = "SIDECAR_"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
#: Programs read one of the two or both, and differ in which one wins.
_NO_PROXY: Final = ("NO_PROXY", "no_proxy")


class Child:
    """A process that becomes ``command`` when it is told to."""

    def __init__(self, pid: int, pipe: int) -> None:
        """Use :meth:`fork`."""
        self._pid: Final = pid
        self._pipe: int | None = pipe

    @classmethod
    def fork(cls, command: Sequence[str]) -> Child:
        """Make the child. To be called while this process has one thread. Raises OSError."""
        # Its default is to be ignored, and a system may drop what is ignored even if somebody waits for it.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        here = os.getpid()
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            _become(command, read_end, write_end, here)
        os.close(read_end)
        return cls(pid, write_end)

    def start(self, base_url: str, emulator_url: str = "") -> None:
        """Let the child become the command, with ``base_url``, and ``emulator_url`` if any, in its environment."""
        if self._pipe is not None:
            with suppress(BrokenPipeError):  # it was killed; watch() tells
                os.write(self._pipe, f"{base_url} {emulator_url}".encode())
            self.abandon()

    def abandon(self) -> None:
        """Let a child end that was not started. May be repeated."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    @staticmethod
    def hold_signals() -> set[signal.Signals]:
        """Keep the signals that :meth:`watch` is about for its thread, and return them. May be repeated.

        To be called before there is any other thread: those that are made later inherit it, and a signal is given to
        any thread that does not block it.
        """
        held = {number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN}
        held.add(signal.SIGCHLD)
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        return held

    def watch(self, on_end: Callable[[int], None], on_signal: Callable[[signal.Signals], None]) -> None:
        """Pass signals on to the child from now on, and call ``on_end`` with its exit status when it has ended.

        From then on ``on_signal`` gets the signals. Both are called on a thread
        of their own. A third party that sends a signal to the whole process
        group reaches the child twice; a terminal's signals are recognised and
        not passed on.
        """
        watched = self.hold_signals()
        watcher = threading.Thread(
            target=self._watch, args=(watched, on_end, on_signal), name="wrap.watcher", daemon=True
        )
        watcher.start()

    def _watch(
        self,
        watched: set[signal.Signals],
        on_end: Callable[[int], None],
        on_signal: Callable[[signal.Signals], None],
    ) -> None:
        running = True
        number, sender = signal.SIGCHLD, 0  # it may have ended before anybody watched
        while True:
            if number is not signal.SIGCHLD:
                if not running:
                    on_signal(number)
                elif not _has_reached(self._pid, number, sender):
                    self._pass_on(number)
            # Only here does the process id become free: no signal goes to a stranger.
            elif (status := _reap(self._pid)) is not None:
                running = False
                on_end(status)
            number, sender = _next_signal(watched)

    def _pass_on(self, number: signal.Signals) -> None:
        try:
            os.kill(self._pid, number)
        except PermissionError:  # sudo and its kin: this user may not signal it any more (kill(2))
            print_error(f"{number.name} cannot be passed on: the command runs as another user, so end it yourself")


def child_environment(environ: Mapping[str, str], base_url: str, emulator_url: str = "") -> dict[str, str]:
    """Return the command's environment: ``environ`` without what is the sidecar's, and with the way to it.

    Requests to ``base_url`` do not go through a proxy.
    ``emulator_url`` is where the emulator's control routes are; empty if it was not started.
    """
    host = urlsplit(base_url).hostname or ""
    kept = {name: value for name, value in environ.items() if not name.startswith(_PREFIX)}
    kept["MANGOPAY_BASE_URL"] = base_url
    if emulator_url:
        kept["MANGOPAY_EMULATOR_URL"] = emulator_url
    given = {name: environ[name] for name in _NO_PROXY if name in environ}
    for name in _NO_PROXY:
        # If only one of the two is there, the other must not hide what it says.
        kept[name] = _without_proxy(given.get(name, next(iter(given.values()), "")), host)
    return kept


def _without_proxy(value: str, host: str) -> str:
    value = value.strip(", ")
    if value == "*":
        return value  # no proxy for anything; in a list of names the star would be read as a name
    entries = value.replace(",", " ").split()
    missing = [entry for entry in dict.fromkeys((*_LOOPBACK, host)) if entry and entry not in entries]
    return ",".join([value, *missing] if value else missing)


# --- the forked process ----------------------------------------------------------------------------------------------


def _become(command: Sequence[str], read_end: int, write_end: int, parent: int) -> NoReturn:
    """Wait for the base URL, then become ``command``; if there is none, just end."""
    status = CANNOT_RUN
    try:
        os.close(write_end)
        die_with_parent(parent)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        with open(read_end, "rb") as pipe:
            base_url, _, emulator_url = pipe.read().decode().partition(" ")
        if base_url:
            status = _execute(command, base_url, emulator_url)
    finally:
        # Whatever happens, this copy of the process does not go on as the sidecar.
        os._exit(status)


def _execute(command: Sequence[str], base_url: str, emulator_url: str) -> int:
    """Execute the command; return the exit status if that fails. What was given is not repeated: it may be a key."""
    try:
        os.execvpe(  # noqa: S606 - without a shell is as it should be
            command[0], list(command), child_environment(os.environ, base_url, emulator_url)
        )
    except (FileNotFoundError, NotADirectoryError):
        print_error(
            "the command after -- is not found: check its name and PATH (variables are set by env NAME=VALUE …)"
        )
        return NOT_FOUND
    except OSError as error:
        if error.errno == errno.ENOEXEC and (path := shutil.which(command[0])) is not None and _is_text(path):
            # A script without a first line that names its interpreter: a shell runs it, as execvp(3) does.
            os.execve(  # noqa: S606 - this is how a script without one is run
                _SHELL, [_SHELL, path, *command[1:]], child_environment(os.environ, base_url, emulator_url)
            )
        print_error(f"the command after -- cannot be run ({error.strerror}): check that it is a program, and its mode")
    return CANNOT_RUN


def _is_text(path: str) -> bool:
    with Path(path).open("rb") as file:
        start = file.read(80)
    return not start.startswith(b"\x7f") and b"\0" not in start


# --- signals ---------------------------------------------------------------------------------------------------------


def _next_signal(watched: set[signal.Signals]) -> tuple[signal.Signals, int]:
    """Wait for a signal; return it, and the process id of who sent it (0 if not known)."""
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(watched)
        # sigaction(2): a code above 0 means the kernel; a user's kill(2) and kin have 0 or less.
        return signal.Signals(info.si_signo), info.si_pid if info.si_code <= 0 else _TERMINAL
    number = signal.Signals(signal.sigwait(watched))
    return number, _TERMINAL if number in _OF_TERMINALS and _in_foreground() else 0


def _has_reached(child: int, number: signal.Signals, sender: int) -> bool:
    """Whether the command has a signal already that ``sender`` sent to this process."""
    if sender != _TERMINAL:
        # The command signalled its whole group, itself included: do not pass it back.
        return sender == child
    # A terminal that is closed tells the leader of its session alone (credentials(7)).
    return number is not signal.SIGHUP or os.getsid(0) != os.getpid()


def _in_foreground() -> bool:
    """Tell whether a terminal's signals reach this process, and with it the command."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _reap(pid: int) -> int | None:
    """Take the status of every child that has ended; return that of ``pid`` if it is among them.

    As process 1 of a container this one inherits orphans, which nobody else would reap.
    """
    found: int | None = None
    with suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
                found = code if code >= 0 else BY_SIGNAL - code
    return found
