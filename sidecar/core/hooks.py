"""What Mangopay says of an account's hooks: which of them are called, and which are not any more.

A hook that failed to answer again and again is ``INVALID``: Mangopay calls it no more
until it is disabled and enabled again. One that is ``DISABLED`` is not called either.
Both happen without a word to anybody (Mangopay: "Webhooks").
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Hooks on a page of the list; Mangopay gives no more (page "pagination").
PAGE_SIZE: Final = 100
#: Pages that are read at most. An account has one hook for each of some hundred types of events.
MOST_PAGES: Final = 20
#: Hooks that are kept at most, whatever a page says.
MOST_HOOKS: Final = PAGE_SIZE * MOST_PAGES
_EVENT_TYPE: Final = re.compile(r"[A-Za-z_]{1,64}")


class HookState(StrEnum):
    """What becomes of a hook's events, as the metric ``hooks`` tells it."""

    VALID = "valid"
    INVALID = "invalid"
    DISABLED = "disabled"
    #: Words that are not documented.
    OTHER = "other"


class Hook(NamedTuple):
    """One hook: the type of event that it is for, and its state."""

    event_type: str
    state: HookState


class HooksStatus(msgspec.Struct, frozen=True):
    """What the last looks found. Moments are Unix time; None before the first look that succeeded."""

    looked_at: float | None
    #: Hooks by state.
    states: dict[HookState, int]
    #: The event types of those that are not called, with their state.
    failing: tuple[Hook, ...]
    #: Why the last look failed; empty if it did not.
    last_error: str


class _Hook(msgspec.Struct):
    event_type: Any = msgspec.field(name="EventType", default=None)
    status: Any = msgspec.field(name="Status", default=None)
    validity: Any = msgspec.field(name="Validity", default=None)


def read_hooks(document: bytes) -> list[Hook] | None:
    """Return the hooks on one page of the list, :data:`MOST_HOOKS` at most; None if ``document`` is no such page."""
    try:
        hooks = msgspec.json.decode(document, type=list[_Hook])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return [Hook(_event_type(each.event_type), _state(each.status, each.validity)) for each in hooks[:MOST_HOOKS]]


def has_more(read: int, page: int, pages: str | None) -> bool:
    """Whether another page follows ``page``, on which ``read`` hooks were; ``pages`` is ``X-Number-Of-Pages``."""
    if page >= MOST_PAGES:
        return False
    if pages is not None and pages.isascii() and pages.isdecimal() and len(pages) < 7:
        return page < int(pages)
    return read >= PAGE_SIZE


def hooks_status(hooks: Iterable[Hook], looked_at: float) -> HooksStatus:
    """Return what a look found."""
    found = list(hooks)
    states = {state: sum(hook.state is state for hook in found) for state in HookState}
    failing = tuple(sorted({hook for hook in found if hook.state is not HookState.VALID}))
    return HooksStatus(looked_at, states, failing, "")


def _state(status: object, validity: object) -> HookState:
    if validity == "INVALID":
        return HookState.INVALID
    if status == "DISABLED":
        return HookState.DISABLED
    return HookState.VALID if (status, validity) == ("ENABLED", "VALID") else HookState.OTHER


def _event_type(value: object) -> str:
    """Return a type of event as it may be shown: it is a word of Mangopay's, or it is none."""
    return value if isinstance(value, str) and _EVENT_TYPE.fullmatch(value) else "?"
