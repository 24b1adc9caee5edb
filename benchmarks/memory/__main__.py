"""``python -m benchmarks.memory``: try each attack on the real command with its defaults, and all at once.

Prints the peak of resident memory (VmHWM) of each; the exit status is 1 if one is above 224 MiB (contract section 8).
The upstream and the attacker are this process; only Linux tells the peak.
"""

from __future__ import annotations

import argparse
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.memory.attacks import ATTACKS, Attacker, all_at_once
from benchmarks.memory.upstream import serving
from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import ABSENT, Command

if TYPE_CHECKING:
    from collections.abc import Callable

#: MiB.
LIMIT: Final = 224
#: Seconds for what was sent to be taken in.
_SETTLE: Final = 2.0


def peak_of(pid: int) -> float:
    """Return the most memory that the process has ever held (MiB)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def attacked(url: str, ca_file: Path, attack: Callable[[Attacker], None] | None, loop: str = "uvloop") -> float:
    """Return the peak (MiB) of a sidecar of its own that meets ``attack``, on that event loop."""
    environ = {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "sandbox",
        "SIDECAR_MANGOPAY_BASE_URL": url,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_TLS_CA_FILE": str(ca_file),
        "SIDECAR_LISTEN_HOST": "127.0.0.1",
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_HOST": "127.0.0.1",
        "SIDECAR_ADMIN_PORT": "0",
    }
    with Command("run", environ=environ, measured=True, loop=loop) as sidecar:
        ready = sidecar.wait_for(r"^ready proxy=http://127\.0\.0\.1:(\d+) admin=http://127\.0\.0\.1:(\d+)")
        attacker = Attacker(int(ready[1]), int(ready[2]))
        try:
            if attack is not None:
                attack(attacker)
            time.sleep(_SETTLE)
            return peak_of(sidecar.pid)
        finally:
            attacker.close()


def main() -> int:
    """Run, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", help="of which names a part is given; default: all")
    parser.add_argument("--loop", choices=ABSENT, default="uvloop", help="which event loop the sidecar runs on")
    given = parser.parse_args()
    chosen = given.attacks
    if sys.platform != "linux":
        parser.error("only Linux tells a process's peak")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    tried: dict[str, Callable[[Attacker], None] | None] = {"nothing": None, **ATTACKS, "all at once": all_at_once}
    worst = 0.0
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory)) as (url, ca_file):
        for name, attack in tried.items():
            if chosen and not any(part in name for part in chosen):
                continue
            peak = attacked(url, ca_file, attack, given.loop)
            worst = max(worst, peak)
            print(f"{name:<40} {peak:6.0f} MiB", flush=True)
    print(f"{'the most, of ' + str(LIMIT):<40} {worst:6.0f} MiB")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
