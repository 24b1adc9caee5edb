"""Put a run into the documentation: ``python -m benchmarks.publish [RESULTS]``.

Copies the samples (``results.json``) to ``docs/performance/``, draws the charts there, and
writes the chapters of ``docs/performance.md`` that are made from them. A test holds these equal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from benchmarks.measure.results import Results
from benchmarks.report import charts, document

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "performance.md"
PLACE: Final = ROOT / "docs" / "performance"


def with_chapters(page: str, results: Results) -> str:
    """Return the page with the chapters of this run in place of those that it has. Raises ValueError if one lacks."""
    for title, text in document.sections(results, PLACE.name).items():
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
    PAGE.write_text(with_chapters(PAGE.read_text(), results))


if __name__ == "__main__":
    main(*sys.argv[1:])
