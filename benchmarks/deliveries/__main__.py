"""The command ``python -m benchmarks.deliveries``.

Random callers, a random upstream, the whole sidecar between them: whose response does each caller get, how often is
each request delivered, and is each caller told the right outcome? Prints what happened, and every broken promise with
what repeats it; the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

import structlog
import uvloop

from benchmarks.deliveries.plan import draw
from benchmarks.deliveries.storm import Plan, run

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def main() -> int:
    """Run the command line; return the exit status."""
    about = (__doc__ or "").partition("\n\n")[2]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliveries", description=about)
    parser.add_argument("--calls", type=int, default=Plan.calls)
    parser.add_argument("--seed", type=int, default=Plan.seed, help="draws what callers and upstream do")
    parser.add_argument("--loop", choices=sorted(LOOPS), default="uvloop")
    parser.add_argument("--tls", action="store_true", help="TLS towards upstream")
    parser.add_argument("--callers", type=int, default=Plan.callers, help="conversations at a time")
    parser.add_argument("--only", type=int, metavar="N", help="this conversation of the seed alone; tells what it is")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if given.only is not None:
        print(draw(given.seed, given.only))
    with asyncio.Runner(loop_factory=LOOPS[given.loop]) as runner:
        report = runner.run(run(Plan(given.calls, given.seed, given.tls, given.callers, given.only)))
    for line in report.lines():
        print(line)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
