"""An API, its token endpoint and an app's calls in simulated time: nothing sleeps, and a minute takes milliseconds.

What the sidecar does is what :mod:`sidecar.core.tokens.state` and
:mod:`sidecar.core.tokens.policy` say; only the events around them are made here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sidecar.core.redact import mask_path
from sidecar.core.secret import Secret
from sidecar.core.tokens import policy
from sidecar.core.tokens import state as states
from sidecar.core.tokens.oauth import Fetched
from sidecar.core.tokens.state import State
from sidecar.core.tokens.unauthorized import paused_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.tokens.unauthorized import ResendPermit

#: Seconds from when a delivery is sent until the API looks at its token.
TRAVEL = 0.005


@dataclass(slots=True)
class Call:
    """One call of the app."""

    path: str
    done: Callable[[], None]
    deliveries: int = 0
    permit: ResendPermit | None = None


class World:
    """A sidecar between an app and an API, from moment 0 on; :meth:`run` lets time go by."""

    def __init__(self, latency: Callable[[str, int], float], *, token_delay: float = 0.1) -> None:
        """``latency``: seconds from when the API looks at a token to its response, drawn by path and status."""
        self.now = 0.0
        #: When token requests were sent.
        self.token_requests: list[float] = []
        #: Paths that answer 401 whatever the token.
        self.forbidden: set[str] = set()
        #: Calls that are over, by path, status and deliveries. Not those…
        self.told: Counter[tuple[str, int, int]] = Counter()
        #: …that got a 401 after one delivery because their path was in its pause.
        self.passed_in_pause = 0
        self._latency = latency
        self._token_delay = token_delay
        self._state = states.demanded(State())
        self._valid_from = 1
        self._waiting: list[Call] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, moment: float, event: Callable[[], None]) -> None:
        """Have ``event`` happen at ``moment``."""
        heapq.heappush(self._events, (moment, next(self._order), event))

    def run(self, until: float) -> None:
        """Let everything happen that is due before ``until``."""
        self._fetch_if_due()
        while self._events and self._events[0][0] < until:
            self.now, _, event = heapq.heappop(self._events)
            event()
            self._fetch_if_due()
        self.now = until

    def revoke(self) -> None:
        """End all tokens that were asked for so far."""
        self._valid_from = len(self.token_requests) + 1

    def call(self, path: str, done: Callable[[], None] = lambda: None) -> None:
        """Begin a call, and have ``done`` called when it is over."""
        self._send(Call(path, done))

    def pausing(self) -> bool:
        """Whether a path is in its pause."""
        return bool(paused_paths(self._state.burns, self.now))

    def _send(self, call: Call) -> None:
        newer_than = 0 if call.permit is None else call.permit.generation
        token = policy.usable_token(self._state, self.now, newer_than)
        if token is None:
            self._waiting.append(call)
            return
        call.deliveries += 1
        self.at(self.now + TRAVEL, partial(self._arrive, call, token.generation))

    def _arrive(self, call: Call, generation: int) -> None:
        status = 401 if generation < self._valid_from or call.path in self.forbidden else 200
        self.at(self.now + self._latency(call.path, status), partial(self._respond, call, generation, status))

    def _respond(self, call: Call, generation: int, status: int) -> None:
        if call.permit is not None:
            self._state = states.resent(self._state, call.permit, generation, self.now, unauthorized=status == 401)
        elif status == 200:
            self._state = states.accepted(self._state, generation, call.path, self.now)
        else:
            self._state, call.permit = states.unauthorized(self._state, generation, call.path, self.now)
            if call.permit is not None:
                self._send(call)
                return
            if mask_path(call.path) in paused_paths(self._state.burns, self.now):
                self.passed_in_pause += 1
                call.done()
                return
        self.told[call.path, status, call.deliveries] += 1
        call.done()

    def _fetch_if_due(self) -> None:
        moment = policy.next_fetch(self._state, self.now)
        if moment is None or moment > self.now:
            return
        self.token_requests.append(self.now)
        self._state = states.fetch_begun(self._state, self.now)
        self.at(self.now + self._token_delay, partial(self._renew, self.now))

    def _renew(self, sent_at: float) -> None:
        token = Fetched(Secret("a-token"), 3600.0, sent_at)
        self._state = states.fetch_ended(self._state, token, self.now, 0.5)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._send(call)
