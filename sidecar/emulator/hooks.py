"""Which hooks are to be called for what happened, when, and what comes of it: nothing here touches a socket.

A hook is called with an unsigned GET, has some seconds to answer 200, and is tried again
after pauses; when the last try has failed it is ``INVALID`` and called no more, until it
is disabled and enabled again (Mangopay: "Webhooks").
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

import msgspec

from sidecar.emulator.loopback import Trusted, is_loopback_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.core.clock import Clock
    from sidecar.emulator.faults import Faults
    from sidecar.emulator.state import ClientState, Resource, State

#: What is kept of deliveries that are over.
_KEPT: Final = 1_000
#: How late ``hook-late`` is, in seconds, and how long ``hook-swap`` waits for another one at most.
_LATE: Final = 5.0


class Outcome(enum.Enum):
    """What has come of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    #: It failed and is to be tried again.
    RETRIED = "retried"
    #: It failed, and is not tried again: after its last try the hook is INVALID.
    FAILED = "failed"
    #: A fault kept it back for ever.
    LOST = "lost"
    #: The URL is not on this machine.
    REFUSED = "refused"


class Delivery(msgspec.Struct, kw_only=True):
    """One call of a hook. ``due`` is on the emulator's clock, ``date`` in Unix seconds; ``detail`` is for people."""

    serial: int
    client_id: str
    hook_id: str
    url: str
    event: str
    resource_id: str
    date: int
    attempt: int = 1
    due: float = 0.0
    outcome: Outcome = Outcome.WAITING
    detail: str = ""

    @property
    def target(self) -> SplitResult:
        """The URL to call, with what is told in its query."""
        parts = urlsplit(self.url)
        told = urlencode({"RessourceId": self.resource_id, "EventType": self.event, "Date": self.date})
        return parts._replace(query=f"{parts.query}&{told}" if parts.query else told, fragment="")


class Outbox:
    """The deliveries that wait, and those that are over (``log``). ``changed`` is called when there is one more."""

    def __init__(self, state: State, faults: Faults, clock: Clock) -> None:
        self._state = state
        self._faults = faults
        self._clock = clock
        self._serials = itertools.count(1)
        self._waiting: list[tuple[float, int, Delivery]] = []
        #: Those that go out after the next one, by ``hook-swap``.
        self._swapped: list[Delivery] = []
        #: Those that were taken and are not finished, by serial number.
        self._under_way: dict[int, Delivery] = {}
        self.log: Final[deque[Delivery]] = deque(maxlen=_KEPT)
        self.changed: Callable[[], None] = lambda: None
        #: False: none on this machine is called. Whoever reaches the emulator would reach what listens beside it.
        self.calling = True
        #: Who is called besides.
        self.trusted = Trusted()

    def tell(self, client: ClientState, event: Mapping[str, Any]) -> None:
        """Call every hook that asked for an event."""
        for hook in called_for(client, event["EventType"]):
            self._plan(client, hook, event)

    def take(self) -> Delivery | None:
        """Return the delivery whose time has come, or None. One of a hook that is called no more fails."""
        while self._waiting and self._waiting[0][0] <= self._clock.now():
            delivery = heapq.heappop(self._waiting)[2]
            hook = self._hook(delivery)
            if hook is not None and _is_called(hook):
                self._under_way[delivery.serial] = delivery
                return delivery
            self._log(delivery, Outcome.FAILED, "the hook is called no more")
        return None

    def next_due(self) -> float | None:
        """Return when the next delivery is due (the emulator's clock), or None."""
        return self._waiting[0][0] if self._waiting else None

    def finish(self, delivery: Delivery, failure: str | None) -> None:
        """Tell what came of a call: None is a 200 in time, all else what was wrong. A forgotten one counts no more."""
        if self._under_way.pop(delivery.serial, None) is None:
            return
        if failure is None:
            self._log(delivery, Outcome.DELIVERED, "200")
            return
        pauses = self._state.settings.hook_retries
        hook = self._hook(delivery)
        if delivery.attempt <= len(pauses) and hook is not None and _is_called(hook):
            self._log(delivery, Outcome.RETRIED, failure)
            again = msgspec.structs.replace(delivery, attempt=delivery.attempt + 1, outcome=Outcome.WAITING)
            self._push(again, self._clock.now() + pauses[delivery.attempt - 1])
            return
        self._log(delivery, Outcome.FAILED, failure)
        if hook is not None and _is_called(hook):
            hook["Validity"] = "INVALID"

    def clear(self, client_id: str | None = None) -> None:
        """Forget one ClientId's deliveries, or all."""
        if client_id is None:
            self._waiting, self._swapped, self._under_way = [], [], {}
            self.log.clear()
            return
        self._waiting = [each for each in self._waiting if each[2].client_id != client_id]
        heapq.heapify(self._waiting)
        self._swapped = [each for each in self._swapped if each.client_id != client_id]
        kept = {serial: each for serial, each in self._under_way.items() if each.client_id != client_id}
        self._under_way = kept

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the deliveries as plain values: those that are over, oldest first, then those not over yet."""
        waiting = [each[2] for each in sorted(self._waiting, key=lambda each: each[:2])]
        return [_told(delivery) for delivery in (*self.log, *self._under_way.values(), *waiting)]

    def _plan(self, client: ClientState, hook: Resource, event: Mapping[str, Any]) -> None:
        delivery = Delivery(
            serial=next(self._serials),
            client_id=client.client_id,
            hook_id=hook["Id"],
            url=str(hook["Url"]),
            event=event["EventType"],
            resource_id=event["ResourceId"],
            date=event["Date"],
        )
        refusal = self._refusal(delivery.url)
        if refusal is not None:
            self._log(delivery, Outcome.REFUSED, refusal)
            return
        rule = self._faults.pick_hook(delivery.event)
        now = self._clock.now()
        action = None if rule is None else rule.action
        if action == "hook-lost":
            self._log(delivery, Outcome.LOST, "by a fault")
        elif action == "hook-swap":
            self._swapped.append(delivery)
            self._push(delivery, now + (_LATE if rule is None else rule.number(_LATE)))
        else:
            late = rule.number(_LATE) if rule is not None and action == "hook-late" else 0.0
            self._push(delivery, now + late)
            if action == "hook-twice":
                self._push(msgspec.structs.replace(delivery, serial=next(self._serials)), now)
            self._release(delivery)

    def _refusal(self, url: str) -> str | None:
        """Return why a hook is not called, or None."""
        host = host_to_call(url)
        if host is not None and self.trusted.has_host(host):
            return None
        if host is None or not is_loopback_name(host):
            return "hooks are called on this machine only, or where --trust says, by http"
        return None if self.calling else "hooks are called only while the emulator listens on a loopback address"

    def _release(self, after: Delivery) -> None:
        """Send what was to be overtaken right behind ``after``."""
        swapped, self._swapped = self._swapped, []
        for delivery in swapped:
            waiting = [each for each in self._waiting if each[2] is not delivery]
            if len(waiting) < len(self._waiting):
                self._waiting = waiting
                heapq.heapify(self._waiting)
                delivery.serial = next(self._serials)
                self._push(delivery, after.due)

    def _push(self, delivery: Delivery, due: float) -> None:
        delivery.due = due
        heapq.heappush(self._waiting, (due, delivery.serial, delivery))
        self.changed()

    def _log(self, delivery: Delivery, outcome: Outcome, detail: str) -> None:
        self.log.append(msgspec.structs.replace(delivery, outcome=outcome, detail=detail))

    def _hook(self, delivery: Delivery) -> Resource | None:
        client = self._state.clients.get(delivery.client_id)
        return None if client is None else client.find("Hook", delivery.hook_id)


def called_for(client: ClientState, event: str) -> list[Resource]:
    """Return the hooks that asked for events of this type, and are called."""
    hooks = client.collection("Hook").values()
    return [hook for hook in hooks if hook["EventType"] == event and _is_called(hook)]


def _is_called(hook: Resource) -> bool:
    """Whether Mangopay calls a hook: it is neither switched off nor given up."""
    return (hook["Status"], hook["Validity"]) == ("ENABLED", "VALID")


def host_to_call(url: str) -> str | None:
    """Return the host of a hook's URL; None: it is no URL that could be called, which is plain HTTP."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return parts.hostname or None if parts.scheme == "http" and port != 0 else None


def _told(delivery: Delivery) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(delivery)
    del told["due"]
    return told
