"""Fuzzes target, header and answer handling for a bounded time: ``python -m tests.fuzz.run --seconds 60``.

Coverage-guided by atheris where that is installed (``pip install atheris``: it
has wheels for Linux on x86-64 only), else by Hypothesis, which is said. An
input that breaks a promise is written to a file, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.seeds import CORPUS, from_cases
from tests.fuzz.targets import TARGETS

#: Bytes: longer than any head that matters.
_LONGEST_INPUT: Final = 4096


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, all targets together (default: 60)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.add_argument("--findings", type=Path, default=Path("build", "fuzz"), help="where broken inputs are written")
    parser.add_argument("--without-atheris", action="store_true", help="use Hypothesis even where atheris is installed")
    options = parser.parse_args()
    targets: list[str] = options.target or list(TARGETS)
    seconds = max(1.0, options.seconds / len(targets))
    options.findings.mkdir(parents=True, exist_ok=True)
    guided = not options.without_atheris and importlib.util.find_spec("atheris") is not None
    if not guided:
        version = ".".join(map(str, sys.version_info[:2]))
        print(
            f"atheris is not used (is it installed? it has wheels for Linux on x86-64 only; this is Python {version} "
            f"on {sys.platform}): the same targets run under Hypothesis, without coverage guidance."
        )
    run = _guided if guided else _undirected
    broken = [target for target in targets if not run(target, seconds, options.findings)]
    print(f"broken: {', '.join(broken)}" if broken else "no promise was broken")
    return 1 if broken else 0


def _guided(target: str, seconds: float, findings: Path) -> bool:
    """Run libFuzzer in a process of its own; return whether nothing was found."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        cases, grown = Path(directory, "cases"), Path(directory, "grown")
        cases.mkdir()
        grown.mkdir()
        for data in from_cases(target):
            cases.joinpath(hashlib.sha256(data).hexdigest()).write_bytes(data)
        print(f"{target}: atheris, {seconds:g} s", flush=True)
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.engine", target),
                *(f"-max_total_time={seconds:.0f}", f"-max_len={_LONGEST_INPUT}", "-timeout=10", "-rss_limit_mb=2048"),
                *(f"-dict={CORPUS / 'http.dict'}", f"-artifact_prefix={findings}/{target}-", "-verbosity=0"),
                *("-print_final_stats=1", str(grown), str(CORPUS / target), str(cases)),
            ],
            check=False,
        )
    return finished.returncode == 0


def _undirected(target: str, seconds: float, findings: Path) -> bool:
    from tests.fuzz.undirected import search

    tried, found = search(target, seconds)
    if found is None:
        print(f"{target}: {tried} inputs in {seconds:g} s, nothing found")
        return True
    path = findings / f"{target}-{hashlib.sha256(found).hexdigest()[:16]}"
    path.write_bytes(found)
    print(f"{target}: {found!r} breaks a promise; it is in {path}")
    TARGETS[target](found)
    return False


if __name__ == "__main__":
    sys.exit(main())
