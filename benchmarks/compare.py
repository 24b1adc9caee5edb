"""The sidecar beside the proxies that one would pick instead: ``make bench``, or ``python -m benchmarks.compare``.

Installs the peers into ``.bench/``, runs everything side by side in shuffled rounds,
and writes ``results.json``, ``report.md`` and charts into ``.bench/results`` (``--output``).
Linux, two cores; nginx and wrk are needed, and installed by apt-get if root.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import upstream
from benchmarks.bench import Bench
from benchmarks.measure import machine
from benchmarks.measure.cores import Cores
from benchmarks.measure.results import Results
from benchmarks.peers.debian import program
from benchmarks.peers.envoy import Envoy
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.sidecar import SidecarPeer
from benchmarks.peers.site import NotInstallableError
from benchmarks.report import tables, targets
from benchmarks.rounds import Plan, Rounds
from benchmarks.scenarios import calls, life

if TYPE_CHECKING:
    from benchmarks.peers.site import Peer

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = ROOT / ".bench"
OURS: Final = "sidecar"


def main() -> int:
    """Run the command line; return the exit status: 1 if a measurement failed."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = measure(given)
    except NotInstallableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "results.json").write_text(results.to_json())
    report = "\n".join(_report(results)) + "\n"
    (given.output / "report.md").write_text(report)
    print(report)
    return 1 if results.failures() else 0


def measure(given: argparse.Namespace) -> Results:
    """Install, start, measure, stop."""
    results = Results(about=machine.describe())
    wanted: list[Peer] = [Nginx(), Envoy(), *_sidecars(given.sidecar)]
    picked = None if given.peers is None else {name.lower() for name in given.peers.split(",")}
    CACHE.mkdir(exist_ok=True)
    peers = []
    for peer in wanted:
        if picked is not None and peer.name.lower() not in picked and not isinstance(peer, SidecarPeer):
            continue
        try:
            results.versions[peer.name] = peer.install(CACHE)
        except NotInstallableError as error:
            results.missing[peer.name] = str(error)
        else:
            peers.append(peer)
    nginx, wrk = program("nginx", "nginx-light"), program("wrk", "wrk")
    results.about |= {"seed": str(given.seed), "load average before": f"{machine.load_average():.2f}"}
    scenarios = None if given.scenarios is None else given.scenarios.split(",")
    plan = Plan(
        given.rounds,
        given.seconds,
        given.seconds / 4,
        [each for each in calls.ALL if scenarios is None or each.name in scenarios],
        scenarios is None or life.NAME in scenarios,
    )
    cores = Cores.of_this_machine()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        serving = stack.enter_context(upstream.serve(nginx, directory, cores.upstream))
        rounds = Rounds(
            Bench(directory, cores, serving, wrk),
            plan,
            peers,
            random.Random(given.seed),
            lambda line: print(line, file=sys.stderr, flush=True),
            results,
        )
        try:
            rounds.run()
        except KeyboardInterrupt:
            results.about["interrupted"] = "yes: what follows is from the rounds until then"
    results.about["load average after"] = f"{machine.load_average():.2f}"
    return results


def _report(results: Results) -> list[str]:
    lines = [f"- {name}: {value}" for name, value in (results.about | results.versions).items()]
    lines += [f"- **missing**: {name}: {why}" for name, why in results.missing.items()]
    peers = list(results.versions)
    for each in calls.ALL:
        if any(sample.scenario == each.name for sample in results.samples):
            lines += ["", f"## {each.title}", "", *tables.table(results, each.name, peers, tables.CALLS, "Envoy")]
    if any(sample.scenario == life.NAME for sample in results.samples):
        lines += ["", "## A process's life", "", *tables.table(results, life.NAME, peers, tables.LIFE, "Envoy")]
    for failure in results.failures():
        lines.append(f"- **failed**: round {failure.round}, {failure.scenario}, {failure.peer}: {failure.failure}")
    for name in peers:
        if name.startswith(OURS) or name not in {"nginx", "Envoy"}:
            lines += ["", f"## Targets: {name}", "", *targets.table(targets.verdicts(results, name))]
    return lines


def _sidecars(given: list[str]) -> list[SidecarPeer]:
    own = SidecarPeer(OURS, Path(sys.executable).with_name("mangopay-sidecar"))
    pairs = [each.partition("=") for each in given]
    return [own] if not pairs else [SidecarPeer(name, Path(path).absolute()) for name, _, path in pairs]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.5, help="of load in each measurement")
    parser.add_argument("--peers", help="only these, comma-separated; the sidecar is always there")
    parser.add_argument("--scenarios", help="only these, comma-separated")
    parser.add_argument(
        "--sidecar",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a mangopay-sidecar of another checkout, several for a comparison (default: this checkout's)",
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--output", type=Path, default=CACHE / "results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
