"""One question after the other: paced, patient with what passes, and ended by what does not.

What a response of the proxy port's asks for is a table; nothing here knows of sockets,
and time is moved by the caller's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from sidecar.advice.texts.calls import READ_BACK_SCOPE
from sidecar.core.http.dates import read_http_date
from sidecar.core.http.field import Field
from sidecar.core.reconciliation.verdicts import Answer, NoAnswer, read_answer
from sidecar.core.text import duration, printable
from sidecar.telemetry.rate_limits import RateLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.core.clock import Clock
    from sidecar.reconcile.proxy import Reply

#: Seconds between two questions at least.
PACE: Final = 0.05
#: The share of each of Mangopay's rate windows that is left to the apps of the account.
RESERVE: Final = 0.2
#: Seconds that all waits for room in a rate window, and all ``Retry-After``, may take together.
PATIENCE: Final = 20 * 60.0
#: How often one question is asked, and seconds before it is asked again where nobody says how many.
TRIES: Final = 4
PAUSE: Final = 2.0
#: So many keys in a row without an answer, and no more are asked for.
GIVE_UP: Final = 3

#: Errors of the sidecar's own that the next question would meet as well, and what to do.
_LASTING: Final = {
    "caller_not_allowed": "the sidecar does not let this caller in: give the configuration that it runs with "
    "(--config, SIDECAR_LISTEN_CALLER_KEY_FILE); at its Unix socket, ask as a user of SIDECAR_LISTEN_ALLOWED_UIDS",
    "host_not_allowed": "what answers there accepts no Host localhost: is it the sidecar's own port?",
    "policy_denied": "the sidecar's policy does not let callers read stored answers: allow GET /v2.01/*/responses/*",
    "client_id_mismatch": "the sidecar has another ClientId: give the configuration that it runs with",
    "credentials_refused": "Mangopay refuses the sidecar's credentials: see mangopay-sidecar status",
    "token_locked_out": "Mangopay gives out no token for now: see mangopay-sidecar status",
    "shutting_down": "the sidecar is shutting down",
}
_FORBIDDEN: Final = f"the API key may not read stored answers: it lacks the scope {READ_BACK_SCOPE}"
_UNAUTHORIZED: Final = "Mangopay answers 401: see mangopay-sidecar status"
_GAVE_UP: Final = "not asked any more, since the last questions got no answer"


class Asks(Protocol):
    """What is asked: :class:`sidecar.reconcile.proxy.Proxy`."""

    @property
    def shown(self) -> str:
        """Where that is, for people."""
        ...

    def get(self, target: str) -> Reply | None:
        """Return the response to a GET; None if nobody answers."""
        ...


class Asker:
    """Asks Mangopay what is stored under keys, through a sidecar."""

    def __init__(
        self, proxy: Asks, segment: str, *, clock: Clock, sleep: Callable[[float], None], waits: Callable[[str], None]
    ) -> None:
        """``segment`` stands for the ClientId in paths; ``waits`` is told in words what is waited for, and how long."""
        self._proxy: Final = proxy
        self._segment: Final = segment
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._waits: Final = waits
        self._windows: Final = RateLimits()
        self._patience = PATIENCE
        self._answers: dict[str, Answer] = {}
        self._unanswered = 0
        self._lasting: NoAnswer | None = None

    def about(self) -> str | None:
        """Return the environment of the sidecar that answers, empty if it does not tell it; None if none answers."""
        reply = self._proxy.get("/")
        facts = None if reply is None or reply.status != 200 else _facts(reply.body)
        if facts is None:
            self._lasting = NoAnswer(self._why_nothing(reply), lasting=True)
            return None
        return printable(facts.environment)

    def _why_nothing(self, reply: Reply | None) -> str:
        """Say why nobody can be asked, by the response to the question who is there."""
        if reply is None or not reply.status:
            return f"no sidecar answers at {self._proxy.shown}"
        own = reply.headers.get("x-sidecar-error")
        if own is None:
            return f"what answers is no sidecar at {self._proxy.shown}"
        return _LASTING.get(own, f"the question was answered with {reply.status} {printable(own, 40)}")

    @property
    def lasting(self) -> str | None:
        """Why no more is asked; None if that goes on."""
        return None if self._lasting is None else self._lasting.reason

    def ask(self, key: str) -> Answer:
        """Return what is stored under ``key``; each is asked for once."""
        if key not in self._answers:
            self._answers[key] = self._lasting or self._ask(key)
        return self._answers[key]

    def _ask(self, key: str) -> Answer:
        answer: Answer = NoAnswer("no answer")
        for number in range(1, TRIES + 1):
            if not self._make_room():
                answer = NoAnswer("Mangopay's rate window is nearly used up, and is left to the apps", lasting=True)
                break
            self._sleep(PACE)
            reply = self._proxy.get(f"/v2.01/{self._segment}/responses/{key}")
            answer, pause = self._read(reply)
            if pause is None or number == TRIES or not self._wait(pause, "until it can be asked again"):
                break
        if not isinstance(answer, NoAnswer):
            self._unanswered = 0
            return answer
        self._unanswered += 1
        if answer.lasting:
            self._lasting = answer
        elif self._unanswered >= GIVE_UP:
            self._lasting = NoAnswer(_GAVE_UP, lasting=True)
        return answer

    def _read(self, reply: Reply | None) -> tuple[Answer, float | None]:
        """Return what a response tells, and seconds after which to ask again; None: that is it."""
        if reply is None:
            return NoAnswer(f"no sidecar answers at {self._proxy.shown}", lasting=True), None
        if not reply.status:
            return NoAnswer("the answer was cut short, or did not come in time"), PAUSE
        headers = reply.headers
        self._windows.observe([Field(name.encode(), value.encode("latin-1")) for name, value in headers.items()])
        own = headers.get("x-sidecar-error")
        if own in _LASTING:
            return NoAnswer(_LASTING[own], lasting=True), None
        if own is None:
            date = read_http_date(headers.get("date", ""))
            ahead = None if date is None else date - self._clock.wall()
            if (answer := read_answer(reply.status, headers, reply.body, ahead=ahead)) is not None:
                return answer, None
            if reply.status == 403 and reply.body.lstrip().startswith(b"{"):
                return NoAnswer(_FORBIDDEN, lasting=True), None
            if reply.status == 401:
                return NoAnswer(_UNAUTHORIZED, lasting=True), None
        told = f"{reply.status}{'' if own is None else f' {printable(own, 40)}'}"
        if reply.status not in (429, 500, 502, 503, 504):
            return NoAnswer(f"the question was answered with {told}"), None
        return NoAnswer(f"the question was answered with {told}"), _retry_after(headers)

    def _make_room(self) -> bool:
        """Wait while a rate window has little left; return whether there is room now."""
        now = self._clock.wall()
        resets = [
            each.reset
            for each in self._windows.windows()
            if each.remaining is not None
            and each.reset is not None
            and each.reset > now
            and each.remaining < RESERVE * (each.limit or 0)
        ]
        return not resets or self._wait(max(resets) - now, "for a rate window to reset")

    def _wait(self, seconds: float, why: str) -> bool:
        """Sleep, if the patience lasts; return whether it did."""
        if seconds > self._patience:
            return False
        self._patience -= seconds
        self._waits(f"waits {duration(seconds)} {why}")
        self._sleep(seconds)
        return True


class _Facts(msgspec.Struct):
    """What the proxy port says of itself."""

    name: str
    environment: str = ""


def _facts(body: bytes) -> _Facts | None:
    try:
        facts = msgspec.json.decode(body, type=_Facts)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return facts if facts.name == "mangopay-sidecar" else None


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 7 else PAUSE
