"""Put a run into the documentation: ``python -m benchmarks.publish [RESULTS]``.

Copies the samples (``results.json``) to ``docs/performance/``, draws the charts there, and writes the chapters that
are made from them: all of it in ``benchmarks/README.md``, what users ask for in ``docs/performance.md``. A test holds
these equal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure.results import Results
from benchmarks.report import charts, document, summary

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).parents[1]
PLACE: Final = ROOT / "docs" / "performance"
FOR_USERS: Final = ROOT / "docs" / "performance.md"
WHOLE: Final = ROOT / "benchmarks" / "README.md"


def chapters(results: Results) -> dict[Path, dict[str, str]]:
    """Return the chapters of this run, by page and title."""
    return {FOR_USERS: summary.chapters(results), WHOLE: document.sections(results, "../docs/performance")}


def with_chapters(page: str, made: Mapping[str, str]) -> str:
    """Return the page with these chapters in place of those that it has. Raises ValueError if it has no place."""
    for title, text in made.items():
        begin, end = (f"<!-- made by benchmarks.publish, {title}: {what} -->\n" for what in ("begin", "end"))
        before, found, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"the page has no place for the chapter {title!r}")
        page = f"{before}{begin}{text}\n{end}{after}"
    return page


def main(given: str = str(ROOT / ".bench" / "results")) -> None:
    """Run the command line."""
    results = Results.from_json((Path(given) / document.SAMPLES).read_text())
    PLACE.mkdir(exist_ok=True)
    (PLACE / document.SAMPLES).write_text(results.to_json())
    for old in PLACE.glob("*.svg"):
        old.unlink()
    for name, text in charts.all_of(results).items():
        (PLACE / name).write_text(text)
    for page, made in chapters(results).items():
        page.write_text(with_chapters(page.read_text(), made))


if __name__ == "__main__":
    main(*sys.argv[1:])
