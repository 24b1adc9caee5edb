"""What people read says retried, refreshed, expired and resets; its makers' own words for these stay among themselves.

Public names (``mend`` and ``last_mended`` of documents, the finding ``token_mended``) are no words of a sentence.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
UNUSUAL = re.compile(r"\b(?:mended|mends|mending|to mend|the mend|anew|is well)\b", re.IGNORECASE)
DOCUMENTS = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "deploy" / "prometheus").glob("*.yaml"),
        *(ROOT / "sidecar" / "admin" / "page").iterdir(),
    )
    # What contributors read: the change log tells of the words themselves.
    if path.is_file() and path.name not in {"CONTRIBUTING.md", "CHANGELOG.md"}
)
MODULES = sorted(path for path in (ROOT / "sidecar").rglob("*.py") if "emulator" not in path.parts)


def sentences(path: Path) -> Iterator[str]:
    """Return the strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def commands_help(path: Path) -> Iterator[str]:
    """Return the docstrings of commands, which are their help."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "command":
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_and_the_page_use_usual_words(path: Path) -> None:
    if path.suffix not in {".md", ".yaml", ".html", ".js", ".css"}:
        return
    assert UNUSUAL.findall(path.read_text(encoding="utf-8")) == []


def test_messages_use_usual_words() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in MODULES
        for text in (*sentences(path), *commands_help(path))
        if " " in text and UNUSUAL.search(text)
    }
    assert found == set()
