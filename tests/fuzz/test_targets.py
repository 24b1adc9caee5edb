"""The fuzz targets hold for every seed, and would notice if a rule were gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.core.admission import guard, policy, target
from sidecar.core.http import framing, headers, response_head
from tests.fuzz.seeds import chosen, from_cases
from tests.fuzz.targets import TARGETS
from tests.fuzz.undirected import breaks, search
from tests.wire.threats.mutation import checks_of, replaced, rewritten, without

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

SEEDS = {f"{name}-{file}": (name, data) for name in TARGETS for file, data in chosen(name).items()}


@pytest.mark.parametrize(("name", "data"), SEEDS.values(), ids=SEEDS)
def test_a_seed_breaks_no_promise(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_no_case_of_the_threat_suite_breaks_a_promise(name: str) -> None:
    for data in from_cases(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_search_finds_nothing(name: str) -> None:
    tried, found = search(name, 0.5)
    assert found is None
    assert tried > 0


def _gone(module: object, function: str, text: str) -> AbstractContextManager[None]:
    (check,) = [each for each in checks_of(module, function) if each.text == text]  # type: ignore[arg-type]
    return without(check)


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("name", "mutation"),
    [
        ("request", lambda: _gone(target, "parse_target", "has_dot_segment(path)")),
        ("request", lambda: _gone(target, "parse_target", "'#' in raw")),
        ("request", lambda: _gone(target, "parse_target", "raw[1:2] == '/'")),
        ("request", lambda: rewritten(target, "_names", '.partition(b"\\0")[0]', "")),
        ("request", lambda: rewritten(target, "_refuse_disguised_token_path", "_leads_to_token(folded)", "False")),
        ("request", lambda: _gone(guard, "check_guard", "browser")),
        ("request", lambda: _gone(guard, "check_guard", "not _host_allowed(host, rules.allowed_hosts)")),
        ("request", lambda: _gone(framing, "_chunked", "b'content-length' in found")),
        ("request", lambda: _gone(framing, "check_request", "len(values.translate(None, _CONTROLS)) != len(values)")),
        ("request", lambda: rewritten(headers, "folded", '.replace(b"_", b"-")', "")),
        ("request", lambda: replaced(headers, "_FAMILIES_NOT_SENT_UP", ())),
        ("request", lambda: rewritten(policy, "_segments", ".casefold()", "")),
        ("response", lambda: _gone(response_head, "_read_framing", "declared is not None")),
        ("response", lambda: rewritten(headers, "goes_down", " and not field.startswith(_OUR_FAMILY)", "")),
        ("response", lambda: rewritten(response_head, "HeadReader.feed", "head.status >= 200", "True")),
    ],
)
def test_the_promises_are_broken_where_a_rule_is_gone(name: str, mutation: AbstractContextManager[None]) -> None:
    inputs = [*chosen(name).values(), *from_cases(name)]
    with mutation():  # type: ignore[operator]
        assert any(breaks(TARGETS[name], data) for data in inputs)


@pytest.mark.timeout(120)
def test_the_runner_says_how_it_searches_and_finds_nothing(tmp_path: Path) -> None:
    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.run",
            "--seconds",
            "2",
            "--without-atheris",
            "--findings",
            tmp_path / "found",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        cwd=Path(__file__).parents[2],
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "under Hypothesis, without coverage guidance" in finished.stdout
    assert finished.stdout.endswith("no promise was broken\n")
