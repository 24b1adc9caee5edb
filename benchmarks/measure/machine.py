"""The machine and the checkout, for whoever reads the numbers."""

from __future__ import annotations

import os
import platform
import re
import ssl
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.measure import interpreters

_ROOT: Final = Path(__file__).parents[2]


def describe() -> dict[str, str]:
    """Return what the numbers depend on, as name and value."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "CPU": "unknown" if cpu is None else cpu[1],
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": "unknown" if total is None else f"{int(total[1]) / 1024**2:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "Python": f"{interpreters.this()}, {ssl.OPENSSL_VERSION}",
        "checkout of the benchmark": checkout(_ROOT),
    }


def checkout(root: Path) -> str:
    """Return the commit of a checkout, and whether it has changes that are not committed."""
    commit = _git(root, "rev-parse", "--short", "HEAD") or "no checkout"
    return f"{commit}{', with changes' if _git(root, 'status', '--porcelain', '--', 'sidecar') else ''}"


def load_average() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
