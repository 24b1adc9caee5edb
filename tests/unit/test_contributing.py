"""What CONTRIBUTING.md and tests/README.md name is there: files, folders, commands and words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md")
#: A path within the repository: it has a slash or an ending.
NAMED = re.compile(r"(?<![\w./-])((?:sidecar|tests|docs|deploy)/[\w./-]*\w|[\w-]+\.(?:md|toml|yaml))(?![\w/])")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = set(NAMED.findall(text(page)))
    assert len(named) > 5
    folders = (ROOT, page.parent, ROOT / "tests" / "mutation")
    assert sorted(name for name in named if not any((folder / name).exists() for folder in folders)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_one_of_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text(page))) <= targets


def test_the_map_of_the_tests_has_every_folder() -> None:
    rows = re.findall(r"^\| `([\w/]+)` \|", text(PAGES[1]), re.MULTILINE)
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert {row.partition("/")[0] for row in rows} == folders
    assert all((ROOT / "tests" / row).is_dir() for row in rows)


def test_every_word_of_the_glossary_is_used_where_it_says() -> None:
    rows = re.findall(r"^\| ([a-z ,]+) \| [^|]+ \| (`sidecar[^|]+) \|$", text(PAGES[0]), re.MULTILINE)
    assert len(rows) > 15
    for words, places in rows:
        sources = [source(ROOT / place) for place in re.findall(r"`([^`]+)`", places)]
        for word in words.split(", "):
            assert any(word.replace(" ", "_") in found or word in found for found in sources), word


def source(path: Path) -> str:
    """Return the text of a module, or of all modules of a package, in lower case."""
    modules = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return "\n".join(module.read_text(encoding="utf-8") for module in modules).lower()


def test_the_hooks_run_tools_of_the_environment_and_download_nothing() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"entry: (\S+)", hooks)
    assert {Path(entry).name for entry in entries} == {"ruff", "codespell"}
    assert all(entry.startswith(".venv/bin/") for entry in entries)
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]
    assert hooks.count("language: system") == len(entries)
