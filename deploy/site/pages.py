"""What makes a site of the repository's documents (a hook of MkDocs): the pages, and where their links lead.

Documents are written for readers of the repository, so links are relative and name files. Here one that leads to
another page becomes a link to it, and one that leads to any other file becomes its address in the repository, which
only ``[project.urls]`` of pyproject.toml knows. A link to a file that is not there is a warning, which ``--strict``
makes an error.
"""

from __future__ import annotations

import logging
import posixpath
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
#: Pages that are not in docs/: the file in the repository, by the page's name.
ELSEWHERE: Final = {
    "index.md": "README.md",
    "alerts.md": "deploy/prometheus/README.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "tests.md": "tests/README.md",
    "benchmarks.md": "benchmarks/README.md",
}
_log: Final = logging.getLogger("mkdocs.plugins.pages")
_FENCE: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<=\]\()([^)\s]+)(?=\))|(?<=srcset=\")([^\"]+)(?=\")|(?<=src=\")([^\"]+)(?=\")")
_OUTWARD: Final = re.compile(r"[a-z][a-z+.-]*:|//|#")


def home(pyproject: Mapping[str, Any]) -> str:
    """Return the address below which every file of the repository is found."""
    documentation: str = pyproject["project"]["urls"]["Documentation"]
    return documentation.removesuffix("/docs")


def linked(text: str, page: str, address: str) -> tuple[str, list[str]]:
    """Return a page's text with links that work on the site, and the files that it links to and that are not there.

    ``page`` is the page's name on the site, ``address`` where the repository's files are found.
    """
    missing: list[str] = []

    def elsewhere(found: re.Match[str]) -> str:
        target, _, anchor = found[0].partition("#")
        if not target or _OUTWARD.match(target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(_source(page)), target))
        if not (ROOT / path).exists():
            missing.append(path)
        return _on_the_site(path, page, address) + (f"#{anchor}" if anchor else "")

    parts = _FENCE.split(text)
    return "".join(part if at % 2 else _LINK.sub(elsewhere, part) for at, part in enumerate(parts)), missing


def _source(page: str) -> str:
    return ELSEWHERE.get(page, f"docs/{page}")


def _on_the_site(path: str, page: str, address: str) -> str:
    pages = {source: name for name, source in ELSEWHERE.items()}
    name = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return posixpath.relpath(name, posixpath.dirname(page) or ".") if name else f"{address}/{path}"


@cache
def _address() -> str:
    return home(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for name, source in ELSEWHERE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the page's links work on the site."""
    del config, files
    text, missing = linked(markdown, page.file.src_uri, _address())
    for path in missing:
        _log.warning("%s links to %s, which is not there", _source(page.file.src_uri), path)
    return text
