"""Rules of what goes wrong, for which requests, and when, as tests, control routes and the command line write them.

A rule in text is an action, then conditions in any order::

    status=503 POST /v2.01/*/wallets times=2
    reset=after POST probability=0.05
    hook-twice event=PAYIN_NORMAL_SUCCEEDED
    hang token
    pass delay=2 api

docs/emulator.md has the whole list.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Stage(enum.Enum):
    """How far a request gets before its fault."""

    #: The connection was accepted; no byte was read.
    CONNECT = "connect"
    #: The head was read, the body was not.
    HEAD = "head"
    #: The request was read whole; nothing was executed.
    BEFORE = "before"
    #: It was executed; no byte of the response was sent.
    AFTER = "after"
    #: The head and half the body of the response were sent.
    DURING = "during"


class Family(enum.Enum):
    """What an action works on."""

    NOTHING = enum.auto()
    RESPONSE = enum.auto()
    CONNECTION = enum.auto()
    BYTES = enum.auto()
    HOOK = enum.auto()


_ANY_STAGE: Final = frozenset(Stage)
_AROUND_EXECUTION: Final = frozenset({Stage.HEAD, Stage.BEFORE, Stage.AFTER})
_STAGES: Final = {
    Family.NOTHING: frozenset({Stage.BEFORE}),
    Family.RESPONSE: _AROUND_EXECUTION,
    Family.CONNECTION: _ANY_STAGE,
    Family.BYTES: frozenset({Stage.DURING}),
    Family.HOOK: frozenset({Stage.BEFORE}),
}
_DEFAULT_STAGE: Final = {
    Family.NOTHING: Stage.BEFORE,
    Family.RESPONSE: Stage.BEFORE,
    Family.CONNECTION: Stage.BEFORE,
    Family.BYTES: Stage.DURING,
    Family.HOOK: Stage.BEFORE,
}

_RESPONSES: Final = (
    *("status", "unauthorized", "sca", "rate-limit", "forbidden", "redirect", "not-json", "oversized", "empty"),
    *("invalid-client", "lockout", "edge"),
)
_CONNECTION: Final = ("reset", "close", "hang")
_BYTES: Final = (
    *("truncate", "bad-chunk", "content-length", "two-lengths", "both-lengths", "te-gzip", "no-length"),
    *("chunked", "trailers", "trickle", "interim", "garbage", "http10", "long-header", "header", "surplus"),
    *("close-after", "reset-after", "no-rate-headers"),
)
_HOOKS: Final = ("hook-late", "hook-lost", "hook-twice", "hook-swap")
#: Every action there is.
ACTIONS: Final[dict[str, Family]] = {
    "pass": Family.NOTHING,
    **dict.fromkeys(_RESPONSES, Family.RESPONSE),
    **dict.fromkeys(_CONNECTION, Family.CONNECTION),
    **dict.fromkeys(_BYTES, Family.BYTES),
    **dict.fromkeys(_HOOKS, Family.HOOK),
}
#: Paths by name.
TOKEN: Final = "token"  # noqa: S105 - a kind of path, not a password
API: Final = "api"
#: The value of ``sca`` for a 401 that has headers alone.
NO_BODY: Final = "no-body"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: The largest value that is a number: of bytes, of answers, or of seconds.
_LARGEST: Final = 1_000_000_000
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault.

    ``method``: one or several, comma-separated; ``path``: a prefix in which ``*`` stands
    for one segment, or ``token``, or ``api`` (the rest but for pages). ``times``: how often (None: always), after
    letting ``skip`` matches go; ``probability``: of each match. ``delay`` and
    ``answer_delay``: seconds before executing and before answering. ``event``: the type
    of event that a hook is called for.
    """

    action: str
    value: str | int | float | None = None
    stage: Stage | None = None
    method: str | None = None
    path: str | None = None
    times: _Count | None = None
    skip: _Count = 0
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    delay: _Seconds = 0.0
    answer_delay: _Seconds = 0.0
    event: str | None = None
    #: For ``status`` and ``edge``: the body, instead of an error report or a page.
    body: str | None = None

    @property
    def family(self) -> Family:
        """What the action works on."""
        return ACTIONS[self.action]

    @property
    def at(self) -> Stage:
        """The stage, by default that of the action."""
        return self.stage or _DEFAULT_STAGE[self.family]

    def number(self, default: float) -> float:
        """Return the value as a number."""
        return default if self.value is None else float(self.value)


def from_mapping(fields: Mapping[str, Any]) -> Rule:
    """Return a rule from its fields; raises ValueError, with a sentence, if there is no such rule."""
    if str(fields.get("action")) not in ACTIONS:
        names = ", ".join(ACTIONS)
        from difflib import get_close_matches

        meant = get_close_matches(str(fields.get("action")), ACTIONS, n=1)
        hint = f"did you mean {meant[0]}? " if meant else ""
        message = f"no such fault: {fields.get('action')!r}; {hint}there are {names}"
        raise ValueError(message)
    if ACTIONS[fields["action"]] is Family.CONNECTION and fields.get("value") is not None:
        fields = {**fields, "stage": fields["value"], "value": None}
    try:
        rule = msgspec.convert(fields, Rule, strict=False)
        _check_value(rule)
    except (msgspec.ValidationError, ValueError) as error:
        message = f"bad fault {fields['action']}: {error}"
        raise ValueError(message) from None
    if rule.at not in _STAGES[rule.family] or (rule.action == "hang" and rule.at is Stage.CONNECT):
        message = f"bad fault {rule.action}: it cannot happen at the stage {rule.at.value}"
        raise ValueError(message)
    return rule


#: Actions whose value is a number, and the least that it can be: a length may be wrong in either direction.
_LEAST: Final = {
    "content-length": -_LARGEST,
    **dict.fromkeys(("truncate", "trickle", "interim", "long-header", "oversized", "hook-late", "hook-swap"), 0),
}
#: Actions whose value is a status.
_STATUSES: Final = frozenset({"status", "edge"})


def _check_value(rule: Rule) -> None:
    """Raise ValueError for a value, or a condition, that the action cannot have."""
    value = rule.value
    if rule.family is Family.HOOK and (rule.method is not None or rule.path is not None):
        raise ValueError("calls of hooks are told by their event, not by a method or a path")
    if rule.family is not Family.HOOK and rule.event is not None:
        raise ValueError("only calls of hooks have an event")
    if value is None:
        return
    if rule.action in _STATUSES and not (str(value).isdecimal() and 200 <= int(value) <= 599):
        raise ValueError(f"{value!r} is no final status: give one from 200 to 599")
    # Also false of nan.
    if rule.action in _LEAST and not _LEAST[rule.action] <= rule.number(0) <= _LARGEST:
        message = f"{value!r} is not in range: give a number from {_LEAST[rule.action]} to {_LARGEST}"
        raise ValueError(message)
    if rule.action == "sca" and value != NO_BODY:
        raise ValueError(f"{value!r} is no value of it: the only one is {NO_BODY}")


def parse(text: str) -> Rule:
    """Return the rule that ``text`` says; raises ValueError, with a sentence, if it is none."""
    words = text.split()
    if not words:
        raise ValueError("empty fault")
    action, equals, value = words[0].partition("=")
    fields: dict[str, Any] = {"action": action}
    if equals:
        fields["value"] = value
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if word.startswith("/") or word in {TOKEN, API}:
            fields["path"] = word
        elif _METHODS.issuperset(word.split(",")):
            fields["method"] = word
        elif equals:
            fields[name] = value
        else:
            message = f"bad fault {action}: {word!r} is no condition"
            raise ValueError(message)
    return from_mapping(fields)
