"""The process around a command: its descriptors, its core dumps, its event loop."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")

#: Seconds to close everything in, once nothing is waited for any more.
GRACE: Final = 0.9
#: <linux/prctl.h>
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4


def open_standard_descriptors() -> None:
    """Point those of stdin, stdout and stderr that are closed at /dev/null.

    Otherwise the first socket or file to be opened gets the number 0, 1 or 2,
    and what somebody prints ends up in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given out first (POSIX open), so this is it.
            os.open(os.devnull, os.O_RDWR)


def forbid_core_dumps() -> None:
    """Keep this process's memory, which holds keys and tokens, from other programs, as far as the system lets us.

    No core file is written: the limit is 0, and only root can raise it. On
    Linux the process is moreover not dumpable (prctl(2)): that holds where the
    kernel pipes cores to a program, which asks for no limit (core(5)), and only
    root can attach to the process or read its ``/proc/PID/environ`` and ``mem``
    (proc(5), ptrace(2)). A program that is executed later begins anew.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def end_as_first_process() -> None:
    """Let the signals that end a process end this one, if it is the first of its container.

    The kernel drops signals to that one whose handling is the default
    (pid_namespaces(7)). Commands that serve have handlers of their own later.
    """
    if os.getpid() == 1:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one of them
                signal.signal(number, lambda received, _: os._exit(128 + received))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends, and at once if it has ended already.

    ``parent`` is its process id. Holds across execve(2), but for programs that
    gain privileges by it; children do not inherit it. Only Linux can do this.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, argument: int) -> bool:
    """Call Linux's prctl(2), for which Python has no function; return whether it worked."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes  # 2 ms and 0.4 MiB

        # All five arguments: from some kernels on, those that an option does not use must be 0.
        arguments = (ctypes.c_ulong(number) for number in (argument, 0, 0, 0))
        return int(ctypes.CDLL(None).prctl(ctypes.c_int(option), *arguments)) == 0
    except (ImportError, OSError, AttributeError):  # a Python built without libffi, or linked statically
        return False


def leave_soon(status: int) -> None:
    """End this process with ``status`` :data:`GRACE` seconds from now, unless it has ended by itself before.

    Whatever hangs then is left as it is: a thread in a lookup, a store that does not answer, a stderr that nobody reads
    (contract section 8: gone within a second of the drain's end).
    """
    import threading

    def leave() -> None:
        threading.Event().wait(GRACE)
        os._exit(status)

    with suppress(RuntimeError):  # no thread is left: then it ends as fast as it can
        threading.Thread(target=leave, name="leave soon", daemon=True).start()


@contextmanager
def without_rich() -> Iterator[None]:
    """Make ``import rich`` fail within.

    structlog imports rich where it is installed, to paint tracebacks that the
    sidecar never shows, at the price of 40 ms and 5 MiB.
    """
    if "rich" in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules["rich"] = None  # the import system's word for "not to be found"
    try:
        yield
    finally:
        del modules["rich"]


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on a new event loop: uvloop's where it is installed, else asyncio's."""
    import asyncio

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
