"""What is said of each cause: every kind of failure and every latch has its words, and each sentence stands once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from sidecar.advice.classify import classify_latch
from sidecar.advice.texts.calls import FAILURES
from sidecar.advice.texts.tokens import explain
from sidecar.core.causes import Cause
from sidecar.core.resend import FailureKind
from sidecar.core.tokens.oauth import Refusal
from sidecar.core.tokens.state import LOCKOUT

SIDECAR = Path(__file__).parents[3] / "sidecar"
#: Characters from which on a text is a sentence about a cause, and no label.
LONG = 40


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_is_told_with_its_mend(kind: FailureKind) -> None:
    words = FAILURES[kind]
    assert ": " in words.told
    assert words.told.endswith(".")
    assert words.mend.endswith(".")
    assert not words.title.endswith(".")


@pytest.mark.parametrize("kind", [FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.BROKEN])
def test_an_unknown_outcome_warns_of_repeating_a_write(kind: FailureKind) -> None:
    assert "find out whether it was executed" in FAILURES[kind].told


@pytest.mark.parametrize("cause", [LOCKOUT, *Refusal])
def test_every_latch_is_explained_by_itself(cause: str) -> None:
    words = explain(cause)
    assert words.told == f"{words.what} {words.mend}"
    assert words.what.endswith(".")
    assert words.mend.endswith(".")
    assert words.short == words.short.strip().rstrip(".")
    assert [other for other in (LOCKOUT, *Refusal) if explain(other).short == words.short] == [cause]


@pytest.mark.parametrize("cause", [None, "a word of a later version"])
def test_a_latch_of_an_unknown_cause_counts_as_a_refused_request(cause: str | None) -> None:
    assert explain(cause) == explain(Refusal.REQUEST)


def test_a_lockout_of_a_running_sidecar_is_told_from_refused_credentials() -> None:
    assert classify_latch("lockout") is Cause.SIDECAR_LATCHED_LOCKOUT
    assert {classify_latch(refusal) for refusal in (*Refusal, "refused", None)} == {Cause.SIDECAR_LATCHED_REFUSED}


def test_a_latch_names_the_key_of_its_credential() -> None:
    assert "SIDECAR_MANGOPAY_API_KEY" in explain(LOCKOUT, "api").mend
    assert "SIDECAR_MANGOPAY_EMBEDDED_API_KEY" in explain(LOCKOUT, "embedded").mend


def strings(path: Path) -> list[str]:
    """Return the string constants of a module, but its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def test_no_sentence_stands_in_two_places() -> None:
    rooms = [path for path in SIDECAR.rglob("*.py") if not {"emulator", "cli"} & set(path.parts)]
    said = Counter(text.strip().rstrip(".").lower() for path in rooms for text in strings(path) if " " in text)
    assert [text for text, times in said.items() if times > 1 and len(text) >= LONG] == []


@pytest.mark.parametrize("words", ["locked this account", "locked the account", "account is locked", "is locked out"])
def test_a_lockout_is_put_into_words_in_one_module(words: str) -> None:
    rooms = [path for path in SIDECAR.rglob("*.py") if "emulator" not in path.parts]
    saying = {path.name for path in rooms for text in strings(path) if words in text}
    assert saying <= {"tokens.py"}
