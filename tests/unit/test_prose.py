"""Prose has one sentence a line, in every document; tables, code and headings apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.prose import one_a_line

ROOT = Path(__file__).parents[2]
FOLDERS = (".github", "benchmarks", "deploy", "docs", "sidecar", "tests")
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")))
    if "node_modules" not in path.parts
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_line_of_a_document_is_one_sentence(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    wanted = one_a_line(text).splitlines()
    wrong = [line for line in text.splitlines() if line not in wanted]
    assert not wrong, f"write it anew: python -m tests.support.prose {name}"


def test_the_documents_are_found() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/deploy.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One. Two\nand more? Three", ["One.", "Two and more?", "Three"]),
        ("- An item. Its\n  second sentence.\n- Another", ["- An item.", "  Its second sentence.", "- Another"]),
        ("10. An item. More", ["10. An item.", "    More"]),
        ('He said "no." She went (far.) Then', ['He said "no."', "She went (far.)", "Then"]),
        ("**A title.** Its sentence. Another", ["**A title.** Its sentence.", "Another"]),
        ("A call. aiohttp answers", ["A call.", "aiohttp answers"]),
        ("Some, e.g. `a. b` or 1.5 of [x](y. z) etc. too", ["Some, e.g. `a. b` or 1.5 of [x](y. z) etc. too"]),
        ("# A. B\n| c. d |\n```\ne. f\n\ng\n```\n<i>h. i</i>", None),
        ("One.\n\nTwo\n```sh\nx\n```\nthree\nfour", ["One.", "", "Two", "```sh", "x", "```", "three four"]),
    ],
)
def test_sentences_are_told_apart(text: str, lines: list[str] | None) -> None:
    assert one_a_line(text).splitlines() == (text.splitlines() if lines is None else lines)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_to_write_a_document_twice_changes_nothing_more(name: str) -> None:
    once = one_a_line((ROOT / name).read_text(encoding="utf-8"))
    assert one_a_line(once) == once
