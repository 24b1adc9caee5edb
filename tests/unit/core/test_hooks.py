"""Which hooks are not called any more, and when the list of them ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.core.hooks import (
    MOST_HOOKS,
    MOST_PAGES,
    PAGE_SIZE,
    Hook,
    HooksStatus,
    HookState,
    has_more,
    hooks_status,
    read_hooks,
)


def page(*hooks: dict[str, Any]) -> bytes:
    return json.dumps(hooks).encode()


@pytest.mark.parametrize(
    ("status", "validity", "state"),
    [
        ("ENABLED", "VALID", HookState.VALID),
        ("ENABLED", "INVALID", HookState.INVALID),
        ("DISABLED", "INVALID", HookState.INVALID),
        ("DISABLED", "VALID", HookState.DISABLED),
        ("DISABLED", None, HookState.DISABLED),
        ("ENABLED", "UNKNOWN", HookState.OTHER),
        ("PAUSED", "VALID", HookState.OTHER),
        (None, None, HookState.OTHER),
        (1, [], HookState.OTHER),
    ],
)
def test_a_hook_is_called_only_while_it_is_valid_and_enabled(
    status: object, validity: object, state: HookState
) -> None:
    found = read_hooks(page({"EventType": "KYC_FAILED", "Status": status, "Validity": validity, "Url": "https://x"}))
    assert found == [Hook("KYC_FAILED", state)]


@pytest.mark.parametrize("event", [None, 5, "", "\x1b[2J", "x" * 65, "A1", "https://hook.example/secret"])
def test_a_type_that_is_none_is_not_shown(event: object) -> None:
    (hook,) = read_hooks(page({"EventType": event})) or []
    assert hook.event_type == "?"


@pytest.mark.parametrize("document", [b"", b"<html>", b"{}", b"[1]", b'[{"EventType": "A"', b"[" * 5000])
def test_what_is_no_list_of_hooks_is_none(document: bytes) -> None:
    assert read_hooks(document) is None


def test_a_page_of_any_length_takes_no_memory() -> None:
    assert len(read_hooks(b"[" + b",".join([b"{}"] * (MOST_HOOKS + 1)) + b"]") or ()) == MOST_HOOKS


def test_an_account_without_hooks_has_an_empty_list() -> None:
    assert read_hooks(b"[]") == []


@pytest.mark.parametrize(
    ("read", "number", "pages", "more"),
    [
        (100, 1, "2", True),
        (100, 2, "2", False),
        (3, 1, "2", True),
        (PAGE_SIZE, 1, None, True),
        (PAGE_SIZE - 1, 1, None, False),
        (PAGE_SIZE, 1, "many", True),
        (PAGE_SIZE, 1, "9999999", True),
        (1, 1, "", False),
        (1, 1, "999999", True),
        (1, 1, "1000000", False),
        (PAGE_SIZE, MOST_PAGES, "999", False),
        (PAGE_SIZE, MOST_PAGES - 1, "999", True),
    ],
)
def test_when_another_page_follows(read: int, number: int, pages: str | None, more: bool) -> None:
    assert has_more(read, number, pages) is more


def test_a_look_is_told_by_states_and_by_the_types_that_are_lost() -> None:
    hooks = [
        Hook("PAYOUT_NORMAL_FAILED", HookState.DISABLED),
        Hook("KYC_FAILED", HookState.INVALID),
        Hook("KYC_FAILED", HookState.INVALID),
        Hook("KYC_SUCCEEDED", HookState.VALID),
    ]
    assert hooks_status(hooks, 7.0) == HooksStatus(
        7.0,
        {HookState.VALID: 1, HookState.INVALID: 2, HookState.DISABLED: 1, HookState.OTHER: 0},
        (Hook("KYC_FAILED", HookState.INVALID), Hook("PAYOUT_NORMAL_FAILED", HookState.DISABLED)),
        "",
    )
