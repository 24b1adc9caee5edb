"""How long `run` takes to its ready line and how much memory it then has, beside a bare ``import aiohttp.web``.

``python -m benchmarks.startup [ROUNDS]``: both in turn, so that a noisy machine
hits both alike; prints medians and the ratio of each round.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

COMMAND: Final = Path(sys.executable).with_name("mangopay-sidecar")
BASE: Final = "import aiohttp.web, sys; print('ready', flush=True); sys.stdin.read()"
#: Nothing answers there: the first token request fails, as it would before Mangopay has been reached.
ENVIRON: Final = {
    "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
    "SIDECAR_MANGOPAY_BASE_URL": "http://127.0.0.1:9",
    "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
    "SIDECAR_MANGOPAY_API_KEY": "a-key-for-a-benchmark",
    "SIDECAR_LISTEN_PORT": "0",
    "SIDECAR_ADMIN_PORT": "0",
}


def measure(command: list[str | Path]) -> tuple[float, float]:
    """Start a command; return the seconds to its first line, and its resident memory (MiB) a second later."""
    begun = time.perf_counter()
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | ENVIRON
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - begun
        time.sleep(1)
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        assert found is not None
        process.send_signal(signal.SIGTERM)
        process.communicate()
    return seconds, int(found[1]) / 1024


def main(rounds: int) -> None:
    """Measure and print."""
    commands: tuple[list[str | Path], list[str | Path]] = ([COMMAND, "run"], [sys.executable, "-c", BASE])
    for command in commands:
        measure(command)  # so that bytecode and caches are there
    results = [tuple(measure(command) for command in commands) for _ in range(rounds)]
    ours, base = zip(*results, strict=True)
    ratio = statistics.median(mine[0] / other[0] for mine, other in results)
    more = statistics.median(mine[1] - other[1] for mine, other in results)
    print(f"rounds                     {rounds}")
    print(f"run to ready line          {statistics.median(each[0] for each in ours) * 1000:.0f} ms")
    print(f"import aiohttp.web         {statistics.median(each[0] for each in base) * 1000:.0f} ms")
    print(f"ratio, median of rounds    {ratio:.2f}")
    print(f"idle memory, run           {statistics.median(each[1] for each in ours):.1f} MiB")
    print(f"idle memory, import alone  {statistics.median(each[1] for each in base):.1f} MiB")
    print(f"more, median of rounds     {more:.1f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
