"""The site of the documents: its pages, where their links lead, and that nothing on it comes from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.deploy.site import POLICY, faults

if TYPE_CHECKING:
    from types import ModuleType

PROJECT: Final = Path(__file__).parents[2]
SETTINGS: Final = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
ADDRESS: Final = "https://host.example/us/ours/blob/main"


def load() -> ModuleType:
    """The hook as MkDocs loads it: by its path."""
    spec = importlib.util.spec_from_file_location("pages", PROJECT / "deploy" / "site" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES: Final[Any] = load()


@pytest.mark.parametrize(
    ("page", "text", "wanted"),
    [
        ("index.md", "[a](docs/mtls.md#rotation)", "[a](mtls.md#rotation)"),
        ("index.md", "[a](LICENSE)", f"[a]({ADDRESS}/LICENSE)"),
        ("index.md", '<img src="docs/images/status-light.png">', '<img src="images/status-light.png">'),
        ("index.md", '<source srcset="docs/images/status-dark.png">', '<source srcset="images/status-dark.png">'),
        ("mtls.md", "[a](../SECURITY.md), [b](scale.md)", "[a](security.md), [b](scale.md)"),
        ("deploy.md", "[`a`](../deploy/kubernetes)", f"[`a`]({ADDRESS}/deploy/kubernetes)"),
        ("deploy.md", "[a](../deploy/prometheus/README.md#scrape)", "[a](alerts.md#scrape)"),
        ("alerts.md", "[a](../../docs/mtls.md#rotation)", "[a](mtls.md#rotation)"),
        ("mtls.md", "[a](#rotation), [b](https://x.example/y)", "[a](#rotation), [b](https://x.example/y)"),
        ("mtls.md", "```sh\n[a](../LICENSE)\n```", "```sh\n[a](../LICENSE)\n```"),
    ],
)
def test_a_link_leads_to_a_page_or_into_the_repository(page: str, text: str, wanted: str) -> None:
    assert PAGES.linked(text, page, ADDRESS) == (wanted, [])


def test_a_link_to_a_file_that_is_not_there_is_told() -> None:
    assert PAGES.linked("[a](../deploy/none.yaml)", "mtls.md", ADDRESS)[1] == ["deploy/none.yaml"]


def test_the_repository_s_address_stands_in_one_place_also_when_it_has_moved(tmp_path: Path) -> None:
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert PAGES.home(pyproject) == pyproject["project"]["urls"]["Source"]
    moved = {"project": {"urls": {"Documentation": f"{ADDRESS}/docs"}}}
    assert PAGES.home(moved) == ADDRESS
    assert "http" not in SETTINGS


def test_every_document_is_a_page_in_the_navigation() -> None:
    named = set(re.findall(r"^ +- .*: ([\w-]+\.md)$", SETTINGS, re.MULTILINE))
    documents = {path.name for path in (PROJECT / "docs").glob("*.md")}
    assert named == documents | set(PAGES.ELSEWHERE)
    assert not documents & set(PAGES.ELSEWHERE)
    assert [source for source in PAGES.ELSEWHERE.values() if not (PROJECT / source).is_file()] == []


# --- nothing from elsewhere ------------------------------------------------------------------------------------------

HEAD: Final = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<img src="//cdn.example/a.png">',
        '<img srcset="a.png 1x, https://cdn.example/a.png 2x">',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<style>@import "https://cdn.example/a.css";</style>',
        '<p style="background: url(https://cdn.example/a.png)">',
    ],
)
def test_what_a_page_loads_from_another_host_is_seen(text: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(HEAD + text)
    (found,) = faults(tmp_path)
    assert found.startswith("index.html loads ")
    assert ".example" in found


def test_a_style_sheet_that_loads_from_another_host_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://fonts.example/a.woff2') }")
    assert list(faults(tmp_path)) == ["a.css loads https://fonts.example/a.woff2"]


def test_a_page_that_would_let_a_script_load_from_elsewhere_is_seen(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>")
    assert list(faults(tmp_path)) == [f"index.html has no policy that begins with {POLICY}"]


def test_links_to_follow_and_what_is_here_are_fine(tmp_path: Path) -> None:
    links = '<a href="https://x.example">x</a><link rel="canonical" href="https://x.example"><img src="../a.png">'
    (tmp_path / "index.html").write_text(HEAD + links)
    (tmp_path / "a.css").write_text("a { background: url(\"data:image/svg+xml,<svg xmlns='http://www.w3.org/'/>\") }")
    assert list(faults(tmp_path)) == []


def test_the_theme_sets_that_policy() -> None:
    assert f'content="{POLICY}; ' in (PROJECT / "deploy" / "site" / "theme" / "main.html").read_text(encoding="utf-8")
