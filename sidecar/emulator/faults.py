"""The rules that are in force: which one a request falls under, and how often it has fired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sidecar.emulator.engine.calls import is_page, is_token_endpoint
from sidecar.emulator.fault_rules import API, TOKEN, Family, Rule, Stage, parse
from sidecar.emulator.messages import split_path

if TYPE_CHECKING:
    from collections.abc import Callable


class _Armed:
    """A rule with what is left of it."""

    __slots__ = ("_methods", "_prefix", "fired", "identifier", "rule", "skip")

    def __init__(self, rule: Rule, identifier: int) -> None:
        self.rule = rule
        self.identifier = identifier
        self.fired = 0
        self.skip = rule.skip
        self._methods = None if rule.method is None else frozenset(rule.method.upper().split(","))
        literal = rule.path is not None and rule.path not in {TOKEN, API}
        self._prefix = _lowered(split_path(rule.path)) if literal and rule.path is not None else None

    @property
    def spent(self) -> bool:
        return self.rule.times is not None and self.fired >= self.rule.times

    def matches(self, method: str, segments: tuple[str, ...]) -> bool:
        if (
            self.rule.family is Family.HOOK
            or self.rule.at is Stage.CONNECT
            or (self._methods is not None and method not in self._methods)
        ):
            return False
        if self._prefix is not None:
            return len(segments) >= len(self._prefix) and all(
                wanted in ("*", segment) for wanted, segment in zip(self._prefix, _lowered(segments), strict=False)
            )
        if self.rule.path is None:
            return True
        if self.rule.path == TOKEN:
            return is_token_endpoint(segments)
        return not is_token_endpoint(segments) and not is_page(segments)


class Faults:
    """The rules in force. The first one that matches a request, and fires, decides."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._armed: list[_Armed] = []
        self._serial = 0

    def __bool__(self) -> bool:
        return bool(self._armed)

    def add(self, fault: Rule | str) -> int:
        """Put a rule, or its text, into force; return its number."""
        self._serial += 1
        self._armed.append(_Armed(parse(fault) if isinstance(fault, str) else fault, self._serial))
        return self._serial

    def remove(self, identifier: int) -> bool:
        """Take a rule out; tell whether it was there."""
        before = len(self._armed)
        self._armed = [armed for armed in self._armed if armed.identifier != identifier]
        return len(self._armed) < before

    def clear(self) -> None:
        """Take every rule out."""
        self._armed = []

    def pick(self, method: str, segments: tuple[str, ...]) -> Rule | None:
        """Return the rule that this request falls under, and use it once."""
        for armed in self._armed:
            if armed.matches(method, segments) and self._fires(armed):
                return armed.rule
        return None

    def pick_connect(self) -> Rule | None:
        """Return the rule that a new connection falls under, and use it once."""
        for armed in self._armed:
            if armed.rule.at is Stage.CONNECT and self._fires(armed):
                return armed.rule
        return None

    def pick_hook(self, event: str) -> Rule | None:
        """Return the rule that a call of a hook falls under, and use it once."""
        for armed in self._armed:
            rule = armed.rule
            if rule.family is Family.HOOK and rule.event in {None, event} and self._fires(armed):
                return rule
        return None

    def _fires(self, armed: _Armed) -> bool:
        if armed.spent:
            return False
        if armed.skip > 0:
            armed.skip -= 1
            return False
        if armed.rule.probability < 1 and self._chance() >= armed.rule.probability:
            return False
        armed.fired += 1
        return True

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the rules as plain values, with their number and how often each fired."""
        return [
            {"id": armed.identifier, "fired": armed.fired, **msgspec.to_builtins(armed.rule)} for armed in self._armed
        ]

    def fired(self, identifier: int) -> int:
        """Return how often a rule has fired; 0 for one that is gone."""
        return next((armed.fired for armed in self._armed if armed.identifier == identifier), 0)


def _lowered(segments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(segment.lower() for segment in segments)
