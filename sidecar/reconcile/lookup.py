"""Looks stored responses up one by one: paced, repeated after a failure that may pass, ended by one that lasts.

Nothing here knows of sockets, and time is the caller's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from sidecar.advice.texts.calls import READ_BACK_SCOPE
from sidecar.core.http.dates import read_http_date
from sidecar.core.http.field import Field
from sidecar.core.reconciliation.verdicts import LookupFailed, LookupResult, read_lookup
from sidecar.core.text import duration, printable
from sidecar.telemetry.rate_limits import RateLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.core.clock import Clock
    from sidecar.reconcile.proxy import Response

#: Seconds between two questions at least.
PACE: Final = 0.05
#: The share of each of Mangopay's rate windows that is left to the apps of the account.
RESERVE: Final = 0.2
#: Seconds that all waits for room in a rate window, and all ``Retry-After``, may take together.
MAX_WAIT: Final = 20 * 60.0
#: How often one question is asked, and seconds before it is asked again where nobody says how many.
TRIES: Final = 4
PAUSE: Final = 2.0
#: So many keys in a row without an answer, and no more are asked for.
MAX_FAILURES: Final = 3

#: Errors of the sidecar's own that the next question would meet as well, and what to do.
_PERMANENT: Final = {
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
_TOO_MANY_FAILURES: Final = "not asked any more, since the last questions got no answer"


class HttpClient(Protocol):
    """Sends the GETs: :class:`sidecar.reconcile.proxy.Proxy`."""

    @property
    def shown(self) -> str:
        """Where they go, for people."""
        ...

    def get(self, target: str) -> Response | None:
        """Return the response to a GET; None if nobody answers."""
        ...


class ResponseLookup:
    """Asks Mangopay what is stored under keys, through a sidecar."""

    def __init__(
        self,
        proxy: HttpClient,
        segment: str,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        on_wait: Callable[[str], None],
    ) -> None:
        """``segment`` stands for the ClientId in paths; ``on_wait`` gets in words what is waited for, and how long."""
        self._proxy: Final = proxy
        self._segment: Final = segment
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._on_wait: Final = on_wait
        self._windows: Final = RateLimits()
        self._left_to_wait = MAX_WAIT
        self._results: dict[str, LookupResult] = {}
        self._failures = 0
        self._ended: LookupFailed | None = None

    def environment(self) -> str | None:
        """Return the environment of the sidecar that answers, empty if it does not tell it; None if none answers."""
        response = self._proxy.get("/")
        facts = None if response is None or response.status != 200 else _facts(response.body)
        if facts is None:
            self._ended = LookupFailed(self._why_nothing(response), permanent=True)
            return None
        return printable(facts.environment)

    def _why_nothing(self, response: Response | None) -> str:
        """Say why nobody can be asked, by the response to the question who is there."""
        if response is None or not response.status:
            return f"no sidecar answers at {self._proxy.shown}"
        own = response.headers.get("x-sidecar-error")
        if own is None:
            return f"what answers is no sidecar at {self._proxy.shown}"
        return _PERMANENT.get(own, f"the question was answered with {response.status} {printable(own, 40)}")

    @property
    def stop_reason(self) -> str | None:
        """Why no more is asked; None if that goes on."""
        return None if self._ended is None else self._ended.reason

    def look_up(self, key: str) -> LookupResult:
        """Return what is stored under ``key``; each is asked for once."""
        if key not in self._results:
            self._results[key] = self._ended or self._look_up(key)
        return self._results[key]

    def _look_up(self, key: str) -> LookupResult:
        result: LookupResult = LookupFailed("no answer")
        for number in range(1, TRIES + 1):
            if not self._make_room():
                result = LookupFailed(
                    "Mangopay's rate window is nearly used up, and is left to the apps", permanent=True
                )
                break
            self._sleep(PACE)
            response = self._proxy.get(f"/v2.01/{self._segment}/responses/{key}")
            result, pause = self._read(response)
            if pause is None or number == TRIES or not self._wait(pause, "until it can be asked again"):
                break
        if not isinstance(result, LookupFailed):
            self._failures = 0
            return result
        self._failures += 1
        if result.permanent:
            self._ended = result
        elif self._failures >= MAX_FAILURES:
            self._ended = LookupFailed(_TOO_MANY_FAILURES, permanent=True)
        return result

    def _read(self, response: Response | None) -> tuple[LookupResult, float | None]:
        """Return what a response tells, and seconds after which to ask again; None: that is it."""
        if response is None:
            return LookupFailed(f"no sidecar answers at {self._proxy.shown}", permanent=True), None
        if not response.status:
            return LookupFailed("the answer was cut short, or did not come in time"), PAUSE
        headers = response.headers
        self._windows.observe([Field(name.encode(), value.encode("latin-1")) for name, value in headers.items()])
        own = headers.get("x-sidecar-error")
        if own in _PERMANENT:
            return LookupFailed(_PERMANENT[own], permanent=True), None
        if own is None:
            date = read_http_date(headers.get("date", ""))
            ahead = None if date is None else date - self._clock.wall()
            if (result := read_lookup(response.status, headers, response.body, ahead=ahead)) is not None:
                return result, None
            if response.status == 403 and response.body.lstrip().startswith(b"{"):
                return LookupFailed(_FORBIDDEN, permanent=True), None
            if response.status == 401:
                return LookupFailed(_UNAUTHORIZED, permanent=True), None
        told = f"{response.status}{'' if own is None else f' {printable(own, 40)}'}"
        if response.status not in (429, 500, 502, 503, 504):
            return LookupFailed(f"the question was answered with {told}"), None
        return LookupFailed(f"the question was answered with {told}"), _retry_after(headers)

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
        """Sleep, unless that takes more than is left of :data:`MAX_WAIT`; return whether it did."""
        if seconds > self._left_to_wait:
            return False
        self._left_to_wait -= seconds
        self._on_wait(f"waits {duration(seconds)} {why}")
        self._sleep(seconds)
        return True


class _Facts(msgspec.Struct):
    """What the proxy port says of itself."""

    name: str
    environment: str = ""


def _facts(body: bytes) -> _Facts | None:
    try:
        facts = msgspec.json.decode(body, type=_Facts)
    except (ValueError, RecursionError):
        return None
    return facts if facts.name == "mangopay-sidecar" else None


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 7 else PAUSE
