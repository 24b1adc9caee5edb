"""The rate steward: when a call of the batch lane may go, so that a share of Mangopay's windows is left to all others.

Mangopay counts the calls of the whole account in several windows, and tells in every
response what remains of each. So a response to any call is a **look** at them, and every sidecar of
a fleet learns from its own responses what all of them have used. Nothing else is
known: not how many sidecars there are, nor what they are about to send.

*   The **reserve** is a share of each window. A window's **room** is what remains of
    it beyond its reserve; the least room of all windows counts. Each batch call **under
    way** (let through, and not answered) is counted as if it had used a place already.
*   **With room** a batch call goes, but not more of them are under way at once than an
    eighth of the room (:data:`SHARE`), and after a call that went alone one more with each look.
    What remains may drop between two looks by what all others have under way, and that is bounded
    in the same way: four sidecars at full speed have together no more under way than there is
    room. Near the reserve each of them sends one call at a time, and sees the window anew with its
    response.
*   A look grows **stale** within a moment (:data:`FRESH`): meanwhile others may have
    used the room. Then one batch call goes alone, and its response is the next look. So it is at the start, too.
*   **Without room** batch calls are held until the reset of each window that has none.
    Mangopay's windows slide: a reset is a whole window away from the response that tells it, so
    it moves on with each response. But when a reset has come that was told
    *earlier*, all calls from before that response have left the window. So some resets are remembered
    (a sixteenth of the window apart, :data:`PARTS`), and the next of them counts. Any response before that tells if
    there is room again.
*   After the reset one batch call may go at a time, to see anew: a **probe**. One that finds
    no room takes from the reserve, so the next may go only after a pause: a sixteenth of the time
    to the reset, doubled each time, and never longer than until the reset. (Mangopay's resets
    are cut to minutes, so a probe may come too early by that much.)
*   A **429** says that there is no room, whatever the numbers say: batch calls are held
    for its ``Retry-After``, or else for :data:`REFUSED`.
*   A call that gets no response, or none for long, does not stop the lane: after
    :data:`PATIENCE` the next may go where only the response to an earlier one was waited for.

Looks are told in the order in which their calls were *sent*: a response that was
overtaken is no news. Responses without windows change nothing; a server that never tells
any has no windows to keep, and holds nobody.

Other calls are never held, and never asked about here. Contract section 10.
"""

from __future__ import annotations

import math
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.rate_windows import RateWindow

#: The part of the room that one sidecar's batch calls may have under way: one in so many.
SHARE: Final = 8
#: Seconds for which a look tells what is the case.
FRESH: Final = 0.5
#: Seconds after which an unanswered call is not waited for any more.
PATIENCE: Final = 10.0
#: Seconds for which a 429 holds the lane that tells neither a time nor a window that is used up.
REFUSED: Final = 10.0
#: Parts of a window: resets are remembered that are one part away from each other, and the pause after a probe that
#: found no room is one part, doubled each time.
PARTS: Final = 16
#: Seconds. No window is longer than a day, whatever a response says.
LONGEST: Final = 86_400.0
#: Seconds of that pause at least, and until a reset that is not told.
SHORTEST: Final = 0.25
_UNTOLD: Final = 60.0

_NEVER: Final = float("-inf")


class Look(msgspec.Struct, frozen=True):
    """What one response told of the windows. Moments are of ``Clock.now``."""

    #: When the response came, and when its request was sent.
    at: float
    sent_at: float
    windows: tuple[RateWindow, ...]
    #: The response's ``Date``, or ours where it has none (Unix seconds): resets are counted from it.
    date: float
    status: int = 200
    #: Of a 429: the seconds of its ``Retry-After``.
    retry_after: float | None = None

    @property
    def refused(self) -> bool:
        """Whether Mangopay says that a window is used up."""
        return self.status == 429


class Permission(Enum):
    """What a batch call may do now."""

    GO = "be sent"
    #: There is room, or may be: the response to an earlier call will tell.
    TURN = "wait for its turn"
    ROOM = "wait for room"


class Ruling(msgspec.Struct, frozen=True):
    """What a batch call may do now, and until when it has to wait if nothing is heard before (``Clock.now``)."""

    permission: Permission
    until: float = _NEVER
    #: Of the windows without room, the name of the one whose reset is the last; None: it has none, or it is a 429's.
    window: str | None = None


_GO: Final = Ruling(Permission.GO)


class Full(msgspec.Struct, frozen=True):
    """A window without room."""

    #: Until when batch calls are held because of it.
    until: float
    name: str | None


class Steward(msgspec.Struct, frozen=True):
    """What one sidecar knows of the windows, and what its batch lane has under way."""

    #: A share, above 0 and below 1.
    reserve: float
    #: The newest; None: nothing was told yet.
    look: Look | None = None
    #: Beyond the reserves, of all windows the least; less than 1: batch calls are held.
    room: int = 0
    #: Resets that were told and are still to come, the next one first; by the window's name, or its place without one.
    resets: Mapping[str | int, tuple[float, ...]] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    #: The windows without room, by the same.
    full: Mapping[str | int, Full] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    #: How many probes in a row have found no room.
    vain: int = 0
    #: Until when a 429 holds the lane.
    refused_until: float = _NEVER
    #: A response has come, and told no windows.
    silent: bool = False
    #: How many looks there were since a batch call last went alone.
    looks: int = 0
    #: Batch calls that were let through, and have no response.
    under_way: int = 0
    #: When the last one was let through, and when the last probe was.
    let_at: float = _NEVER
    probed_at: float = _NEVER


def ruling(steward: Steward, now: float) -> Ruling:
    """Say what the next batch call may do."""
    if now < steward.refused_until:
        return Ruling(Permission.ROOM, steward.refused_until)
    if steward.look is None:
        return _GO if steward.silent else _alone(steward, now)
    if steward.full:
        latest = max(steward.full.values(), key=lambda each: each.until)
        if now < latest.until:
            return Ruling(Permission.ROOM, latest.until, latest.name)
        return _alone(steward, now)
    if now - steward.look.at > FRESH:
        return _alone(steward, now)
    if steward.under_way < max(1, min(steward.room // SHARE, steward.looks)):
        return _GO
    return _unless_unanswered(steward, now)


def _alone(steward: Steward, now: float) -> Ruling:
    """Let one call through at a time."""
    return _unless_unanswered(steward, now) if steward.under_way else _GO


def _unless_unanswered(steward: Steward, now: float) -> Ruling:
    """Wait for a response; after :data:`PATIENCE` without one let a call go, if there is room for one more."""
    until = steward.let_at + PATIENCE
    if now < until:
        return Ruling(Permission.TURN, until)
    counted = steward.look is not None and not steward.full and steward.under_way >= steward.room
    return Ruling(Permission.TURN, now + PATIENCE) if counted else _GO


def let_through(steward: Steward, now: float) -> Steward:
    """Note that a batch call goes."""
    alone = steward.look is None or steward.full or now - steward.look.at > FRESH
    return replace(
        steward,
        under_way=steward.under_way + 1,
        looks=0 if alone else steward.looks,
        let_at=now,
        probed_at=now if steward.full else steward.probed_at,
    )


def ended(steward: Steward) -> Steward:
    """Note that a batch call that was let through has its response, or will get none."""
    return replace(steward, under_way=steward.under_way - 1)


def seen(steward: Steward, look: Look) -> Steward:
    """Note what a response told."""
    rooms = {
        _key(place, window): room
        for place, window in enumerate(look.windows)
        if (room := _room(window, steward.reserve)) is not None
    }
    refused_until = _refused_until(look)
    if not rooms:
        silent = steward.silent or look.status < 400
        return replace(steward, silent=silent, refused_until=max(steward.refused_until, refused_until))
    if steward.look is not None and look.sent_at < steward.look.sent_at and min(rooms.values()) >= steward.room:
        return steward
    resets = _resets(steward.resets, look)
    if min(rooms.values()) >= 1:
        full: Mapping[str | int, Full] = MappingProxyType({})
        vain = 0
    else:
        vain = steward.vain + (bool(steward.full) and look.sent_at >= steward.probed_at > _NEVER)
        full = _full(steward, look, {key for key, room in rooms.items() if room < 1}, resets, vain)
        refused_until = _NEVER if look.retry_after is None else refused_until
    return replace(
        steward,
        look=look if steward.look is None else replace(look, sent_at=max(look.sent_at, steward.look.sent_at)),
        room=min(rooms.values()),
        looks=steward.looks + 1,
        resets=resets,
        full=full,
        vain=vain,
        refused_until=refused_until,
        probed_at=steward.probed_at if vain == steward.vain else _NEVER,
    )


def _key(place: int, window: RateWindow) -> str | int:
    return place if window.window is None else window.window


def _room(window: RateWindow, reserve: float) -> int | None:
    """Return what remains of a window beyond its reserve; None if it was not told."""
    if window.remaining is None or window.limit is None:
        return None
    return window.remaining - reserved_calls(window.limit, reserve)


def reserved_calls(limit: int, reserve: float) -> int:
    """Return the calls of a window that are left to others: whole ones, and at least the share."""
    return math.ceil(round(limit * reserve, 6))


def _resets(known: Mapping[str | int, tuple[float, ...]], look: Look) -> Mapping[str | int, tuple[float, ...]]:
    """Return the resets to come, with those of ``look`` where the last is a part of the window earlier."""
    resets: dict[str | int, tuple[float, ...]] = {}
    for place, window in enumerate(look.windows):
        key, distance = _key(place, window), _distance(window, look)
        to_come = tuple(reset for reset in known.get(key, ()) if look.at < reset <= look.at + distance)
        if not to_come or look.at + distance - to_come[-1] >= distance / PARTS:
            to_come = (*to_come, look.at + distance)
        resets[key] = to_come
    return MappingProxyType(resets)


def _full(
    steward: Steward,
    look: Look,
    keys: set[str | int],
    resets: Mapping[str | int, tuple[float, ...]],
    vain: int,
) -> Mapping[str | int, Full]:
    """Return the windows without room, and until when each holds: its next reset; after a vain probe, a pause."""
    found: dict[str | int, Full] = {}
    for place, window in enumerate(look.windows):
        key = _key(place, window)
        if key not in keys:
            continue
        known = steward.full.get(key)
        if vain > steward.vain:
            distance = _distance(window, look)
            pause = max(SHORTEST, distance / PARTS * 2 ** min(vain - 1, PARTS))
            known = Full(look.at + min(distance, pause), window.window)
        found[key] = known or Full(resets[key][0], window.window)
    return MappingProxyType(found)


def _distance(window: RateWindow, look: Look) -> float:
    """Return the seconds from a look to a window's reset, as far as they can be true."""
    if window.reset is None:
        return _UNTOLD
    return min(max(window.reset - look.date, SHORTEST), LONGEST)


def _refused_until(look: Look) -> float:
    """Return until when a 429 holds the lane whatever its windows say."""
    if not look.refused:
        return _NEVER
    return look.at + (REFUSED if look.retry_after is None else min(look.retry_after, LONGEST))
