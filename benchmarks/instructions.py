"""Instructions a call, held to a baseline: ``make instructions``, or ``python -m benchmarks.instructions``.

Runs ``mangopay-sidecar run`` as users run it (uvloop, a log line a call to a file,
metrics, deadlines, guard, replay buffer, admin port) under valgrind's callgrind, in
front of an upstream that speaks TLS, and counts what a call costs: no other load on
the machine can blur that. Exit status 1: a cost is out of bounds, or has no
baseline. 2: nothing could be counted.

``--write`` makes what was counted the baseline. ``--where`` tells which part of a
call's way costs how much. ``--sidecar CHECKOUT`` counts another checkout's sidecar,
``--set limits.reserve=20%`` one with another setting: what that costs.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.counting import baseline, distribution, reference
from benchmarks.counting.callgrind import Callgrind, CountingError
from benchmarks.counting.workloads import WORKLOADS, Caller, CallFailedError
from benchmarks.measure import interpreters
from benchmarks.page_cost_processes import NotStartedError, in_front_of_upstream
from benchmarks.upstream import write_certificates

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[1]
BASELINES: Final = Path(__file__).parent / "counting" / "baseline.json"
#: What the event loop calls when a connection comes in, and never else: opening one separates two stretches.
_MARK: Final = "accept*"
#: Calls of each kind before any is counted; calls of a stretch; stretches, of which the median counts.
_WARM_UP, _CALLS, _STRETCHES = 200, 100, 5
#: Seconds without calls in which is counted what goes on all the time, by the clock.
_IDLE: Final = 4.0


@dataclass
class _Stretches:
    """The counted stretches of a sidecar's run, and the seconds that each took."""

    found: list[tuple[int, float]] = field(default_factory=list)

    def cost(self, empty: int, idle: float) -> float:
        """Return the median cost of a call.

        ``empty`` is the count of a stretch in which nothing happens, ``idle`` what a
        sidecar without calls needs in a second.
        """
        return statistics.median((count - empty - seconds * idle) / _CALLS for count, seconds in self.found)


def count(checkout: Path = ROOT, environ: dict[str, str] | None = None) -> baseline.Counts:
    """Count; ``environ`` is what the sidecar gets besides its settings. Raises CountingError."""
    with tempfile.TemporaryDirectory(prefix="instructions-") as name:
        directory = Path(name, "reference")
        directory.mkdir()
        write_certificates(directory)
        callgrind = Callgrind(directory, reference.MARK)
        command = [sys.executable, "-m", "benchmarks.counting.reference", str(directory)]
        # Both at once: each needs a core for itself, and neither cares for the other.
        with subprocess.Popen(
            [*callgrind.prefix, *command], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "0"}
        ) as work:
            try:
                calls = _count_calls(Path(name), checkout, environ or {})
            except BaseException:
                work.terminate()
                raise
        if work.returncode:
            raise CountingError(f"the reference work ended with {work.returncode}: {callgrind.last_words()}")
        return baseline.Counts(callgrind.median_of_last(reference.ROUNDS), calls, _build())


def _count_calls(directory: Path, checkout: Path, environ: dict[str, str]) -> dict[str, float]:
    callgrind = Callgrind(directory, _MARK)
    command = [*callgrind.prefix, sys.executable, "-m", "sidecar", "run"]
    with (
        in_front_of_upstream(command, tls=True, cwd=checkout, environ=environ) as sidecar,
        Caller(sidecar.port) as caller,
    ):

        def stretch(what: Callable[[], None]) -> tuple[int, float]:
            return callgrind.stretch(lambda: _mark(caller), what)

        for each in WORKLOADS:
            caller.make(each, _WARM_UP)
        empty = min(stretch(lambda: None)[0] for _ in range(3))
        found = {each.name: _Stretches() for each in WORKLOADS}
        for _ in range(_STRETCHES):
            for each in WORKLOADS:
                found[each.name].found.append(stretch(functools.partial(caller.make, each, _CALLS)))
        idle, seconds = stretch(functools.partial(time.sleep, _IDLE))
        return {name: stretches.cost(empty, (idle - empty) / seconds) for name, stretches in found.items()}


def _mark(caller: Caller) -> None:
    """Begin a new stretch: open a connection, and wait until it serves, so that the dump has been written."""
    with caller.connect() as connection:
        caller.call(connection, WORKLOADS[0])


def kind() -> str:
    """Return what a baseline is for: interpreters that differ in this differ in more than a build does."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{platform.python_implementation().lower()}-{version}-{platform.machine()}"


def _build() -> str:
    libc = " ".join(platform.libc_ver())
    return f"{interpreters.this()}, {platform.python_compiler()}, {ssl.OPENSSL_VERSION}, {libc}"


def main() -> int:
    """Run the command line; return the exit status."""
    given = _arguments()
    try:
        counted = count(given.sidecar, dict(given.set))
        shown = [] if given.where is None else _where(given.where, given.sidecar, counted)
    except (CountingError, CallFailedError, NotStartedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    baselines = baseline.read(BASELINES.read_text()) if BASELINES.exists() else {}
    if given.write:
        baselines[kind()] = counted
        BASELINES.write_text(baseline.written(baselines))
    held = baseline.nearest(baselines, kind())
    titles = {each.name: each.title for each in WORKLOADS}
    print("\n".join([*baseline.report(kind(), counted, held, titles), *shown]))
    return 0 if all(verdict.holds for verdict in baseline.judge(counted, held)) else 1


def _where(name: str, checkout: Path, counted: baseline.Counts) -> list[str]:
    [workload] = [each for each in WORKLOADS if each.name == name]
    return ["", workload.title, "", *distribution.measure(workload, checkout, counted.calls[name]).table()]


def _arguments() -> argparse.Namespace:
    names = [each.name for each in WORKLOADS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="make what is counted the baseline of this interpreter")
    parser.add_argument(
        "--where", nargs="?", choices=names, const=names[0], help="tell what each part of a call's way costs as well"
    )
    parser.add_argument(
        "--sidecar", type=Path, default=ROOT, metavar="CHECKOUT", help="count the one of another checkout"
    )
    parser.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", help="count one with this setting"
    )
    return parser.parse_args()


def _setting(text: str) -> tuple[str, str]:
    """Return the variable and the value of ``limits.reserve=20%``."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("not KEY=VALUE")
    return f"SIDECAR_{key.replace('.', '_').upper()}", value


if __name__ == "__main__":
    # As Ctrl-C does, a polite end runs every clean-up on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
