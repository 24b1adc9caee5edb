"""The built site, looked through: ``python -m tests.deploy.site build/site`` fails if a page loads from elsewhere."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Has a browser refuse what comes from elsewhere, also what a script asks for.
POLICY: Final = "default-src 'self'"
#: Attributes whose target a browser loads by itself; a link in the text it only follows.
_LOADED: Final = {"src", "srcset", "poster", "data", "background", "ping"}
#: Links of the head that say something, and load nothing.
_TOLD: Final = {"canonical", "next", "prev", "edit"}
_ELSEWHERE: Final = re.compile(r"(?:^|[\s,])(?:[a-z][a-z+.-]*:)?//", re.IGNORECASE)
_IN_STYLE: Final = re.compile(r"(?:url\(|@import\s+(?:url\()?)\s*[\"']?((?:https?:)?//[^\"')\s;]+)", re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.policies: list[str] = []
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.loads += [value for name, value in given.items() if name in _LOADED and _ELSEWHERE.search(value)]
        if tag == "link" and given.get("rel") not in _TOLD and _ELSEWHERE.search(given.get("href", "")):
            self.loads.append(given["href"])
        if tag == "meta" and given.get("http-equiv", "").lower() == "content-security-policy":
            self.policies.append(given.get("content", ""))
        self._style = tag == "style"
        self.loads += _IN_STYLE.findall(given.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if self._style:
            self.loads += _IN_STYLE.findall(data)


def faults(site: Path) -> Iterator[str]:
    """Yield what is wrong with a built site: what is loaded from another host, and pages that would allow it."""
    for path in sorted(site.rglob("*.html")):
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        name = path.relative_to(site)
        yield from (f"{name} loads {address}" for address in page.loads)
        if not any(policy.startswith(POLICY) for policy in page.policies):
            yield f"{name} has no policy that begins with {POLICY}"
    for path in sorted(site.rglob("*.css")):
        found = _IN_STYLE.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)} loads {address}" for address in found)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    if not (directory / "index.html").is_file():
        sys.exit(f"no site in {directory}")
    wrong = list(faults(directory))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    sys.exit(1 if wrong else 0)
