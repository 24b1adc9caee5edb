"""A browser for all tests of this folder, a sidecar for each, and what holds for every page that was opened."""

from __future__ import annotations

import inspect
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from sidecar.admin import events
from tests.browser.serving import Serving
from tests.support import canary
from tests.support.background import Background
from tests.support.browser import BrowserThread, Tab, find_chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_THREAD = pytest.StashKey[BrowserThread]()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser on this machine. Where CI is set it must be there."""
    found = find_chromium()
    if found is None:
        why = "no Chromium or Chrome is installed: the status page is not tested in a browser"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="session")
def browser(chromium: str, request: pytest.FixtureRequest) -> Iterator[BrowserThread]:
    thread = BrowserThread()
    request.session.stash[_THREAD] = thread
    try:
        thread.start(chromium)
        yield thread
    finally:
        thread.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test in the browser's thread."""
    thread = pyfuncitem.session.stash.get(_THREAD, None)
    if thread is None:
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    thread.run(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names})
    return True


@pytest.fixture
def background() -> Iterator[Background]:
    with Background() as background:
        yield background


@pytest.fixture
def serving(background: Background, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """A sidecar in front of an emulator, once :meth:`Serving.start` is called; events come ten times as often."""
    monkeypatch.setattr(events, "TICK", 0.1)
    return Serving(background)


@pytest.fixture
def open_tab(browser: BrowserThread) -> Iterator[Callable[..., Tab]]:
    """Opens tabs. At the end each must have asked its own origin alone, and must not have complained."""
    with ExitStack() as stack:

        def open_tab(url: str | None = None, **options: Any) -> Tab:
            tab = browser.open(**options)
            stack.callback(browser.run, tab.close)
            stack.callback(browser.run, _assert_quiet, tab, url)
            if url is not None:
                tab.page.goto(url)
            return tab

        yield open_tab


def _assert_quiet(tab: Tab, url: str | None) -> None:
    canary.record("the page", tab.page.content())
    assert tab.complaints == []
    if url is not None:
        origins = {request for request in tab.requests if not request.startswith("data:")}
        assert {urlsplit(request)[:2] for request in origins} == {urlsplit(url)[:2]}
