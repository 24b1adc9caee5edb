"""The sidecar beside the proxies that one would pick instead: ``make bench``, or ``python -m benchmarks.compare``.

Installs the peers into ``.bench/``, and the sidecar once more on another Python of the
machine, if it has one, and compiled on both. Runs everything side by side in shuffled rounds, and writes
``results.json``, ``report.md`` and charts into ``.bench/results`` (``--output``).
Linux, two cores; nginx and wrk are needed, and installed by apt-get if root.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import upstream
from benchmarks.bench import Bench
from benchmarks.children import ChildError
from benchmarks.measure import interpreters, machine
from benchmarks.measure.cores import Cores
from benchmarks.measure.results import Results
from benchmarks.peers.all import others
from benchmarks.peers.debian import program, version
from benchmarks.peers.sidecar import InstalledSidecar, SidecarPeer
from benchmarks.peers.site import NotInstallableError
from benchmarks.report import document
from benchmarks.rounds import Plan, Rounds
from benchmarks.scenarios import calls, gain, life, start

if TYPE_CHECKING:
    from benchmarks.peers.site import Peer

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = ROOT / ".bench"
CURVES: Final = "curves"
SCENARIOS: Final = (
    start.NAME,
    life.NAME,
    *(each.name for each in calls.ALL),
    *map(gain.name, gain.ROUND_TRIPS),
    CURVES,
)


def main() -> int:
    """Run the command line; return the exit status: 1 if a measurement failed."""
    given = _arguments()
    # As Ctrl-C does, a polite end runs every clean-up on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _allow_many_connections()
    try:
        results = measure(given)
    except KeyboardInterrupt:
        return 130
    except (NotInstallableError, ChildError, interpreters.NoInterpreterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    document.write(results, given.output)
    print((given.output / document.NAME).read_text())
    if "interrupted" in results.about:
        return 130
    return 1 if results.failures() else 0


def measure(given: argparse.Namespace) -> Results:
    """Install, start, measure, stop. Raises NotInstallableError or ChildError if nothing can be measured."""
    results = Results(about=machine.describe())
    peers = _install(_wanted(given), results)
    nginx, wrk = program("nginx", "nginx-light"), _wrk(results)
    results.about |= {
        "upstream": f"nginx {version([nginx, '-v'], r'nginx/([0-9.]+)')}, TLS 1.3, AES-128-GCM, ECDSA P-256",
        "rounds": f"{given.rounds} of {given.seconds:g} s a measurement, seed {given.seed}",
        "load average before": f"{machine.load_average():.2f}",
    }
    cores = Cores.of_this_machine()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        serving = stack.enter_context(upstream.serve(nginx, directory, cores.upstream))
        rounds = Rounds(
            Bench(directory, cores, serving, wrk), _plan(given), peers, random.Random(given.seed), _tell, results
        )
        try:
            rounds.run()
        except KeyboardInterrupt:
            results.about["interrupted"] = "these are the measurements made until then"
    results.about["load average after"] = f"{machine.load_average():.2f}"
    return results


def _install(wanted: list[Peer], results: Results) -> list[Peer]:
    CACHE.mkdir(exist_ok=True)
    peers = []
    for peer in wanted:
        _tell(f"installing {peer.name}")
        try:
            results.versions[peer.name] = f"{peer.install(CACHE)}; {peer.described}"
        except NotInstallableError as error:
            results.missing[peer.name] = str(error)
            _tell(f"{peer.name} cannot be installed: {error}")
        else:
            peers.append(peer)
            if isinstance(peer, SidecarPeer):
                results.ours.append(peer.name)
                if peer.build is not None:
                    results.builds[peer.name] = peer.build
    return peers


def _wrk(results: Results) -> Path | None:
    try:
        return program("wrk", "wrk")
    except NotInstallableError as error:
        results.missing["wrk"] = f"{error}; our own generator did its part, so fast peers look slower than they are"
        return None


def _wanted(given: argparse.Namespace) -> list[Peer]:
    picked = None if given.peers is None else {name.strip().lower() for name in given.peers.split(",")}
    rivals = [peer for peer in others() if picked is None or peer.name.lower() in picked]
    if not given.sidecar:
        first = SidecarPeer("sidecar", Path(sys.executable).with_name("mangopay-sidecar"))
        return [first, *_in_other_builds(given.python, compiled=given.compiled), *rivals]
    pairs = [each.partition("=") for each in given.sidecar]
    return [*(SidecarPeer(name, Path(path).absolute()) for name, _, path in pairs), *rivals]


def _in_other_builds(python: str | None, *, compiled: bool) -> list[InstalledSidecar]:
    """Return the sidecar on another Python, the one that is given or one that the machine has, and compiled on both."""
    base = None if python == "none" else interpreters.another() if python is None else Path(python)
    other = [] if base is None else [base]
    if not compiled:
        return [InstalledSidecar(each) for each in other]
    return [
        InstalledSidecar(None, compiled=True),
        *(InstalledSidecar(each, compiled=kind) for each in other for kind in (False, True)),
    ]


def _plan(given: argparse.Namespace) -> Plan:
    picked = set(SCENARIOS if given.scenarios is None else given.scenarios.split(","))
    return Plan(
        rounds=given.rounds,
        seconds=given.seconds,
        warm_up=max(0.4, given.seconds / 4),
        calls=[each for each in calls.ALL if each.name in picked],
        life=life.NAME in picked,
        start=start.NAME in picked,
        gains=[each for each in gain.ROUND_TRIPS if gain.name(each) in picked],
        curves=min(given.rounds, 1 if given.quick else 3) if CURVES in picked else 0,
        curves_of=frozenset() if given.quick else Plan.curves_of,
        tries=given.tries,
    )


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as it goes: upstream, peers and callers hold thousands of sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="a few minutes: two short rounds, fewer curves")
    parser.add_argument("--rounds", type=int, help="default 7, with --quick 2")
    parser.add_argument("--seconds", type=float, help="of load in each measurement (default 2.5, with --quick 1)")
    parser.add_argument("--tries", type=int, help="of a measurement that others disturb (default 3, with --quick 1)")
    parser.add_argument("--peers", help="only these besides the sidecar: " + ",".join(p.name.lower() for p in others()))
    parser.add_argument("--scenarios", help="only these: " + ",".join(SCENARIOS))
    parser.add_argument(
        "--sidecar",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a mangopay-sidecar of another checkout, several for a comparison (default: this checkout's)",
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="measure this checkout on another Python too; none: on its own alone (default: /usr/bin/python3 or the "
        "PATH's, if it is of another version or build)",
    )
    parser.add_argument(
        "--compiled",
        action=argparse.BooleanOptionalAction,
        help="measure this checkout compiled too (default: yes, but with --quick; compiling takes a minute a Python)",
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--output", type=Path, default=CACHE / "results")
    given = parser.parse_args()
    given.rounds = given.rounds or (2 if given.quick else 7)
    given.seconds = given.seconds or (1.0 if given.quick else 2.5)
    given.compiled = not given.quick if given.compiled is None else given.compiled
    given.tries = given.tries or (1 if given.quick else 3)
    unknown = set((given.scenarios or "").split(",")) - {*SCENARIOS, ""}
    if unknown:
        parser.error(f"unknown scenarios: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return given


if __name__ == "__main__":
    sys.exit(main())
