"""Prose with one sentence a line, so that a change shows the sentences that it touches, and no others.

``python -m tests.support.prose FILE…`` writes Markdown files so; ``tests/unit/test_prose.py`` holds them to it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FENCE: Final = re.compile(r"^ *(```|~~~)")
#: What stands on lines of its own: headings, rows of tables, HTML and comments, link definitions.
_NO_PROSE: Final = re.compile(r"^ *(#{1,6} |\||<|!\[|\[[^\]]+\]: |$)")
_ITEM: Final = re.compile(r"^( *(?:[-*+]|\d+\.) +)")
#: In these a full stop ends nothing.
_VERBATIM: Final = re.compile(r"`[^`]*`|\]\([^)]*\)")
_END: Final = re.compile(r"[.!?][\"”’)*_\]]* +(?=\S)")
_ABBREVIATION: Final = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx)|\s\.\.)\.$", re.IGNORECASE)
#: A bold beginning is the paragraph's title: it stays with the sentence behind it.
_TITLE: Final = re.compile(r"\*\*[^*]+\*\* ?")


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a paragraph that is one line."""
    visible = _VERBATIM.sub(lambda found: "x" * len(found[0]), text)
    title = _TITLE.match(visible)
    begin, behind = 0, title.end() if title else 0
    for end in _END.finditer(visible):
        if end.end() > behind and not _ABBREVIATION.search(visible[: end.start() + 1]):
            yield text[begin : end.end()].rstrip()
            begin = end.end()
    yield text[begin:]


def one_a_line(document: str) -> str:
    """Return a Markdown document with each sentence of its prose on a line of its own."""
    return "\n".join(_lines(document.splitlines())) + "\n"


def _lines(lines: list[str]) -> Iterator[str]:
    paragraph: list[str] = []
    fenced = False
    for line in lines:
        fence = _FENCE.match(line) is not None
        if fenced or fence or _NO_PROSE.match(line):
            yield from _written(paragraph)
            paragraph = []
            fenced = fenced is not fence
            yield line
        elif _ITEM.match(line):
            yield from _written(paragraph)
            paragraph = [line]
        else:
            paragraph.append(line)
    yield from _written(paragraph)


def _written(paragraph: list[str]) -> Iterator[str]:
    """Yield a paragraph or an item of a list anew; further lines stand below the first one's text."""
    if not paragraph:
        return
    first = paragraph[0]
    item = _ITEM.match(first)
    begin = item[1] if item else first[: len(first) - len(first.lstrip())]
    text = " ".join([first[len(begin) :].strip(), *(line.strip() for line in paragraph[1:])])
    for number, sentence in enumerate(sentences(text)):
        yield f"{' ' * len(begin) if number else begin}{sentence}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name)
        file.write_text(one_a_line(file.read_text(encoding="utf-8")), encoding="utf-8")
