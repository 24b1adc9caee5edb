"""The pytest plugin, in a pytest of its own, as the tests of an app use it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import urlopen

import pytest

from sidecar.testing import MangopayEmulator, MangopaySidecar
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = "pytester"

#: The inner pytest is that of an app: it has none of this project's settings, and nothing else to load.
OPTIONS: Final = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:hypothesispytest")
MANUAL: Final = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
CALL: Final = """
import json, os, urllib.error, urllib.request
import pytest

PAYER = {"FirstName": "Ada", "LastName": "Lovelace", "Email": "ada@example.com", "UserCategory": "PAYER"}

def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["MANGOPAY_BASE_URL"] + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read()), response.headers.get("X-Sidecar-Recovered")
"""
EACH_FINDS_ALL_AS_NEW: Final = f"""{CALL}
seen = []

def as_new(emulator, sidecar):
    user, recovered = call("/v2.01/any/users/natural", PAYER)
    assert (user["Id"], recovered) == ("user_m_00001001", None)
    ledger = emulator.ledger
    assert (ledger.deliveries, ledger.executions, emulator.faults) == (1, 1, [])
    assert emulator.settings["expires_in"] == 1200
    assert sidecar.base_url == os.environ["MANGOPAY_BASE_URL"]
    seen.append(emulator.now)
    assert max(seen) - min(seen) < 600

def test_first(mangopay_emulator, mangopay_sidecar):
    as_new(mangopay_emulator, mangopay_sidecar)
    assert os.environ["MANGOPAY_EMULATOR_URL"] == mangopay_emulator.base_url
    assert "127.0.0.1" in os.environ["NO_PROXY"]
    mangopay_emulator.fault("status=503 POST api")  # which the plugin makes none of
    mangopay_emulator.configure(expires_in=5)
    mangopay_emulator.advance(86_400)

def test_after_faults_settings_and_time(mangopay_emulator, mangopay_sidecar):
    as_new(mangopay_emulator, mangopay_sidecar)
    mangopay_emulator.revoke()
    mangopay_emulator.lock_out()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        call("/v2.01/any/users")

@pytest.mark.mangopay_keep
def test_after_a_lockout(mangopay_sidecar):
    with pytest.raises(urllib.error.HTTPError, match="503"):  # it is left as well
        call("/v2.01/any/users/user_m_00001001")

def test_after_a_restart(mangopay_emulator, mangopay_sidecar):
    as_new(mangopay_emulator, mangopay_sidecar)

@pytest.mark.mangopay_keep
def test_what_the_one_before_left(mangopay_emulator):
    assert call("/v2.01/any/users/user_m_00001001")[0]["FirstName"] == "Ada"

def test_a_fault(mangopay_emulator, mangopay_sidecar):
    mangopay_emulator.fault("status=503 GET times=1")

@pytest.mark.mangopay_keep
def test_a_fault_that_the_one_before_left(mangopay_sidecar):
    with pytest.raises(urllib.error.HTTPError, match="503"):
        call("/v2.01/any/users")
    call("/v2.01/any/users")

def test_without_a_fixture():
    assert "MANGOPAY_BASE_URL" not in os.environ

def test_what_fails(mangopay_sidecar):
    call("/v2.01/../x")
"""


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MANGOPAY_BASE_URL", "MANGOPAY_EMULATOR_URL"):
        monkeypatch.delenv(name, raising=False)


def test_each_test_finds_all_as_new_and_a_failure_shows_what_the_sidecar_logged(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(EACH_FINDS_ALL_AS_NEW)
    result = pytester.runpytest_subprocess(*OPTIONS, "--strict-markers")
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(["*Captured mangopay-sidecar call*", "*error=bad_request*", "FAILED*test_what_fails*"])


def test_a_worker_of_xdist_has_a_pair_of_its_own_before_anything_is_imported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""{CALL}
AT_IMPORT = os.environ["MANGOPAY_BASE_URL"], os.environ["MANGOPAY_EMULATOR_URL"]

@pytest.mark.parametrize("number", range(4))
def test_alone(number, mangopay_emulator, mangopay_sidecar, worker_id):
    assert AT_IMPORT == (mangopay_sidecar.base_url, mangopay_emulator.base_url)
    assert call("/v2.01/any/users/natural", PAYER)[0]["Id"] == "user_m_00001001"
    with open(f"{{worker_id}}.txt", "a") as file:
        print(*AT_IMPORT, file=file)
""")
    command = ("wrap", "--emulator", "--", sys.executable, "-m", "pytest", *OPTIONS, "-n", "2", "--dist", "load")
    with Command(*command, environ={"SIDECAR_LISTEN_PORT": "0", "SIDECAR_ADMIN_PORT": "off"}) as wrapped:
        assert wrapped.wait() == 0, wrapped.stdout
        assert wrapped.stderr == ""
    pairs = [set(pytester.path.joinpath(f"{worker}.txt").read_text().splitlines()) for worker in ("gw0", "gw1")]
    assert [len(each) for each in pairs] == [1, 1]
    assert len({url for each in pairs for line in each for url in line.split()}) == 4


def test_under_wrap_it_is_wrap_s_own_pair(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""{CALL}
GIVEN = os.environ["MANGOPAY_BASE_URL"], os.environ["MANGOPAY_EMULATOR_URL"]

@pytest.mark.parametrize("number", range(2))
def test_given(number, mangopay_emulator, mangopay_sidecar):
    assert GIVEN == (mangopay_sidecar.base_url, mangopay_emulator.base_url)
    user, recovered = call("/v2.01/any/users/natural", PAYER)
    assert (user["Id"], recovered) == ("user_m_00001001", None)
    mangopay_emulator.revoke()

def test_wrong(mangopay_emulator):
    mangopay_emulator.fault("statsu=503")
""")
    command = ("wrap", "--emulator", "--", sys.executable, "-m", "pytest", *OPTIONS)
    with Command(*command, environ={"SIDECAR_LISTEN_PORT": "0", "SIDECAR_ADMIN_PORT": "off"}) as wrapped:
        assert wrapped.wait() == 1
        assert "2 passed" in wrapped.stdout
        assert "did you mean status" in wrapped.stdout
        assert wrapped.stderr == ""


@pytest.fixture
def blocked(pytester: pytest.Pytester) -> Iterator[subprocess.Popen[bytes]]:
    """A pytest in the middle of a test; what is printed are the URLs."""
    pytester.makepyfile("""
import sys, threading

def test_that_never_ends(mangopay_emulator, mangopay_sidecar):
    print(mangopay_sidecar.base_url, mangopay_emulator.base_url, file=sys.__stdout__, flush=True)
    threading.Event().wait()
""")
    command = [sys.executable, "-m", "pytest", "-s", "-q", *OPTIONS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_pytest_ends_the_pair(number: signal.Signals, blocked: subprocess.Popen[bytes]) -> None:
    assert blocked.stdout is not None
    urls = blocked.stdout.readline().decode().split()
    assert [urlopen(f"{url}/").status for url in urls] == [200, 200]
    blocked.send_signal(number)
    assert blocked.wait(20) == -number
    for url in urls:
        with suppress(OSError):
            while True:  # until nobody listens; the test fails by its own time limit
                urlopen(f"{url}/").close()
                time.sleep(0.02)


def test_a_package_of_the_app_s_own_by_our_name_is_in_nobody_s_way_but_the_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        sidecar="MINE = 1",
        test_it="""
import sidecar

def test_mine():
    assert sidecar.MINE

def test_ours(mangopay_emulator):
    pass
""",
    )
    result = pytester.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f'*"import sidecar" leads to {pytester.path}/sidecar.py: another package*'])


def test_what_is_wrong_is_said_in_one_line(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANGOPAY_BASE_URL", "http://127.0.0.1:18080")
    pytester.makepyfile("def test_it(mangopay_sidecar): pass")
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["MANGOPAY_BASE_URL is set, and MANGOPAY_EMULATOR_URL is not: run the tests under *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_example_of_the_documentation_works(pytester: pytest.Pytester) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    pytester.makepyfile(example)
    pytester.runpytest_subprocess(*OPTIONS, "-Werror").assert_outcomes(passed=1)


@pytest.mark.parametrize("kind", [MangopayEmulator, MangopaySidecar])
def test_the_documentation_names_everything_that_a_fixture_has(kind: type) -> None:
    names = {name for name in (*vars(kind), *vars(kind).get("__annotations__", ())) if not name.startswith("_")}
    names |= {"base_url", "client_id"}
    assert [name for name in sorted(names) if not re.search(rf"`{name}[`(]", MANUAL)] == []


def test_who_uses_no_fixture_imports_nothing_for_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
import sys

def test_it():
    ours = {name for name in sys.modules if "sidecar" in name and not name.startswith("__editable__")}
    assert ours == {"mangopay_sidecar_pytest"}
""")
    result = pytester.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(passed=1)
