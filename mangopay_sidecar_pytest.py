"""The pytest plugin: fixtures ``mangopay_emulator`` and ``mangopay_sidecar`` (docs/testing.md).

pytest imports it wherever the sidecar is installed, so it imports next to nothing until a test asks for a fixture;
and it has a name that no other package has, since many a project has a directory called ``sidecar``.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.testing import MangopayEmulator, MangopaySidecar
    from sidecar.testing.pair import Pair

#: A test with this marker finds everything as the one before left it.
_KEEP: Final = "mangopay_keep"
#: Where the pair is kept that a worker of pytest-xdist has from its start on.
_WORKERS_OWN: Final = pytest.StashKey["Pair"]()
#: The longest piece of the sidecar's log that is shown with a failure, in characters.
_SHOWN: Final = 4_000


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", f"{_KEEP}: what mangopay_emulator had before the test is still there in it")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Give each of several pytest-xdist workers a pair of its own, also if ``wrap`` has started one for all.

    Before any module of the tests or the app is imported, which may read the variables at once.
    """
    if os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") == "1" or "MANGOPAY_EMULATOR_URL" not in os.environ:
        return
    from sidecar.testing.pair import BASE_URL, EMULATOR_URL, StartedPair

    pair = early_config.stash[_WORKERS_OWN] = StartedPair()
    early_config.add_cleanup(pair.end)
    os.environ.update({BASE_URL: pair.base_url, EMULATOR_URL: pair.emulator_url})


@pytest.fixture(scope="session")
def _mangopay_pair(pytestconfig: pytest.Config) -> Iterator[Pair]:
    with _told_in_short():
        from sidecar.testing.pair import Pair, StartedPair

        pair = pytestconfig.stash.get(_WORKERS_OWN, None) or Pair.given(os.environ) or StartedPair()
    pytestconfig.pluginmanager.register(_Teller(pair))
    yield pair
    pair.end()


@pytest.fixture
def mangopay_emulator(request: pytest.FixtureRequest, _mangopay_pair: Pair) -> Iterator[MangopayEmulator]:
    """A Mangopay of the test's own, as new: faults, ledger, hooks, what waits, time."""
    from sidecar.cli.child import child_environment
    from sidecar.testing import MangopayEmulator
    from sidecar.testing.pair import BASE_URL, EMULATOR_URL

    pair = _mangopay_pair
    with _told_in_short():
        pair.begin(reset=request.node.get_closest_marker(_KEEP) is None)
    with pytest.MonkeyPatch.context() as patch:
        environ = child_environment(os.environ, pair.base_url, pair.emulator_url)
        for name in (BASE_URL, EMULATOR_URL, "NO_PROXY", "no_proxy"):
            patch.setenv(name, environ[name])
        yield MangopayEmulator(pair.emulator_url)


@pytest.fixture
def mangopay_sidecar(mangopay_emulator: MangopayEmulator, _mangopay_pair: Pair) -> MangopaySidecar:
    """The way to ``mangopay_emulator`` for an app: base URL, and what SDKs want besides."""
    from sidecar.testing import MangopaySidecar

    return MangopaySidecar(_mangopay_pair.base_url)


@contextmanager
def _told_in_short() -> Iterator[None]:
    """Fail with what an EmulatorError says, without the way that it came."""
    try:
        from sidecar.testing import EmulatorError
    except ImportError:
        place = getattr(sys.modules.get("sidecar"), "__file__", None) or "nothing"
        pytest.fail(
            f'the fixtures need mangopay-sidecar\'s package "sidecar", and "import sidecar" leads to {place}: another '
            "package of that name comes first on the path (python -P -m pytest leaves out the working directory)",
            pytrace=False,
        )
    try:
        yield
    except EmulatorError as error:
        pytest.fail(str(error), pytrace=False)


class _Teller:
    """Shows with a failure what the sidecar logged, and at the end whether it had to be waited for."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._shown = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None and "mangopay_emulator" in getattr(item, "fixturenames", ()):
            self._pair.wait_for_log(self._shown)
        log = self._pair.log
        new, self._shown = log[self._shown :], len(log)
        if new:
            item.add_report_section(call.when, "mangopay-sidecar", new[-_SHOWN:])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._pair.waited:
            terminalreporter.write_line(
                f"mangopay: waited {self._pair.waited:.0f} s for a sidecar that earlier tests had locked out; "
                "without wrap it would have been started anew"
            )
