"""The page's sources: nothing in them loads anything, or makes HTML out of data."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from sidecar.admin.finding import Area, Level
from sidecar.admin.page import page
from sidecar.core.errors import ErrorCode
from sidecar.core.resend import FailureKind
from sidecar.telemetry.recent import CALLS

SOURCES = {
    each.name: each.read_text(encoding="utf-8")
    for each in files("sidecar.admin.page").iterdir()
    if each.name.endswith((".js", ".html", ".css"))
}
SCRIPT = "\n".join(text for name, text in SOURCES.items() if name.endswith(".js"))
HTML = page().html.decode()


def test_every_source_is_in_the_page() -> None:
    for name, text in SOURCES.items():
        if name != "page.html":
            assert text.strip() in HTML, name
    assert "/* script */" not in HTML
    assert "/* page.css */" not in HTML


@pytest.mark.parametrize(
    "way",
    [
        *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "createContextualFragment", "DOMParser"),
        *("eval(", "new Function", "setTimeout(", "import(", "srcdoc", "javascript:"),
    ],
)
def test_data_can_only_become_text(way: str) -> None:
    assert way not in SCRIPT


def test_markup_has_no_handlers_and_no_styles_of_its_own() -> None:
    assert re.findall(r"<[^>]+\s(?:on\w+|style)\s*=", SOURCES["page.html"]) == []


def test_nothing_is_loaded_from_anywhere() -> None:
    assert re.findall(r"(?:src|href)=\"(?!/|#|data:,)[^\"]*\"", SOURCES["page.html"]) == []
    assert re.findall(r"@import|url\(", SOURCES["page.css"]) == []
    # Not addresses but names: of SVG, and of the host in a curl line.
    assert set(re.findall(r"https?://[\w.]+", SCRIPT)) == {"http://www.w3.org", "http://localhost"}


def test_every_element_that_the_script_looks_for_is_there() -> None:
    wanted = set(re.findall(r"byId\(\"([\w-]+)\"\)", SCRIPT))
    given = set(re.findall(r"\bid=\"([\w-]+)\"", SOURCES["page.html"]))
    assert wanted - given == set()


def test_the_script_knows_every_word_of_the_document() -> None:
    assert set(re.findall(r"\[\"(\w+)\", \"[A-Z][\w ]+\"\],", SOURCES["findings.js"])) == set(Area)
    levels = re.search(r"const GLYPHS = \{(.*?)\}", SOURCES["findings.js"])
    assert levels is not None
    assert set(re.findall(r"(\w+):", levels[1])) == {*Level, "none"}
    results = re.search(r"const RESULTS = \{(.*?)\};", SOURCES["format.js"], re.DOTALL)
    assert results is not None
    known = set(re.findall(r"^\s+(\w+):", results[1], re.MULTILINE))
    without_token = {ErrorCode.TOKEN_LOCKED_OUT, ErrorCode.TOKEN_UNAVAILABLE, ErrorCode.CREDENTIALS_REFUSED}
    assert known >= {*FailureKind, *without_token, "server_error", "rate_limited", "cut"}
    assert f"const MOST = {CALLS};" in SOURCES["calls.js"]


def test_the_page_is_small_enough_to_open_at_once() -> None:
    assert len(page().html) < 80_000
