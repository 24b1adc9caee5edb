"""A real Chromium, driven by Playwright from a thread of its own.

Playwright's synchronous interface keeps an event loop running in its thread, which
no other test may meet: so a test of the browser runs in that thread as a whole.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Under these names Debian, Ubuntu, Fedora, Arch and Google install it; the first has no windows, and is much cheaper.
_NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions"),
    # A name that an attacker has rebound to this machine.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
)
#: Milliseconds until what should be on the page has failed to come; generous, since test machines are busy.
_PATIENCE: Final = 20_000
#: Where screenshots are kept for whoever wants to look.
ARTEFACTS: Final = Path(__file__).parents[2] / "build" / "screenshots"
#: Where the README's own are; written only if this variable is set.
README_IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
README_VARIABLE: Final = "SIDECAR_README_SCREENSHOTS"


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class BrowserThread:
    """The thread, Playwright, and one browser for all tests."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="browser")
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None

    def run(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Run ``function`` in the thread, and return what it returns."""
        return self._thread.submit(function, *arguments, **keywords).result()

    def start(self, executable: str) -> None:
        """Start the browser."""
        self.run(self._start, executable)

    def stop(self) -> None:
        """End the browser and the thread."""
        self.run(self._stop)
        self._thread.shutdown()

    def _start(self, executable: str) -> None:
        expect.set_options(timeout=_PATIENCE)
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=executable, args=list(_ARGUMENTS))

    def _stop(self) -> None:
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()

    def open(self, **options: Any) -> Tab:
        """Open a tab with cookies, storage and settings of its own. In the thread only."""
        assert self._browser is not None
        settings = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light", **options}
        return Tab(self._browser.new_context(**settings))


class Tab:
    """One tab, and all that it asked for and complained of."""

    def __init__(self, context: BrowserContext) -> None:
        context.set_default_timeout(_PATIENCE)
        self._context = context
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def forgive(self, pattern: str) -> None:
        """Forget complaints that were to be expected."""
        self.complaints = [each for each in self.complaints if not re.search(pattern, each)]

    def keep(self, name: str) -> None:
        """Keep a screenshot."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")

    def for_readme(self, name: str) -> int:
        """Keep a screenshot for the README as well, if that is asked for; return its size in bytes."""
        self.keep(name)
        picture = ARTEFACTS / f"{name}.png"
        if os.environ.get(README_VARIABLE):
            README_IMAGES.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, README_IMAGES / picture.name)
        return picture.stat().st_size

    def close(self) -> None:
        self._context.close()
