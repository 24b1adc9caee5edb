"""Host names to addresses, for one party: Mangopay, the egress proxy, or the store (contract section 5.10).

Each party has a resolver, and so threads, of its own. The event loops' own
lookups share a few threads among everybody, and the process does not end before
they have come back; uvloop even uses them for numeric addresses.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from sidecar.core.name_record import MOST, NameRecord, Step
from sidecar.runtime import SystemClock
from sidecar.threads import DaemonThreads, NoThreadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.core.clock import Clock

#: One result of getaddrinfo(3): family, type, protocol, canonical name, socket address.
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]
Addresses: TypeAlias = "Sequence[AddressInfo]"


class Names(Protocol):
    """Turns names into addresses."""

    async def resolve(self, host: str, port: int) -> Addresses:
        """Return the addresses of ``host``; raises OSError or UnicodeError."""
        ...

    def doubt(self, host: str, port: int, addresses: Addresses) -> None:
        """Learn that no connection came of these ``addresses``: the next caller needs others."""
        ...


def look_up(host: str | bytes, port: int, flags: int = 0) -> Addresses:
    """Ask the system, which may take its time. Raises OSError (socket.gaierror) or UnicodeError."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


class _Name:
    """One name's record, and what those wait for who need its address."""

    def __init__(self) -> None:
        self.record: Final[NameRecord[Addresses]] = NameRecord()
        self.outcome: asyncio.Future[Addresses] | None = None


class Resolver:
    """Resolves the names of one party; used on one event loop."""

    def __init__(
        self, party: str, clock: Clock | None = None, *, ask: Callable[[str, int], Addresses] = look_up
    ) -> None:
        """``party`` names the threads. ``ask`` does a lookup, in one of them; as :func:`look_up` by default."""
        self._clock: Final = SystemClock() if clock is None else clock
        self._ask: Final = ask
        self._threads: Final = DaemonThreads(f"names of {party}", MOST)
        self._names: Final[defaultdict[tuple[str, int], _Name]] = defaultdict(_Name)

    async def resolve(self, host: str, port: int) -> Addresses:
        """Return the addresses of ``host``. Raises OSError (socket.gaierror) or UnicodeError.

        A numeric address is given back at once, without a thread. If the caller is cancelled the lookup goes on, for
        others and for later.
        """
        if is_numeric(host):
            # As bytes: for text Python would import its codec of international names, at each start.
            return look_up(host.encode(), port, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
        name = self._names[host, port]
        step = name.record.next_step(self._clock.now())
        if step is Step.USE and name.record.result is not None:
            return name.record.result
        if step is Step.ASK:
            self._begin(name, partial(self._ask, host, port))
        if name.outcome is None:
            name.outcome = asyncio.get_running_loop().create_future()
        return await asyncio.shield(name.outcome)

    def doubt(self, host: str, port: int, addresses: Addresses) -> None:
        """Serve nobody with ``addresses`` any more: no connection came of them."""
        if (name := self._names.get((host, port))) is not None:
            name.record.doubt(addresses)

    def _begin(self, name: _Name, ask: Callable[[], Addresses]) -> None:
        begun = self._clock.now()
        try:
            lookup = self._threads.start(ask)
        except NoThreadError:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        name.record.asked(begun)
        lookup.add_done_callback(partial(self._came_back, name, begun))

    def _came_back(self, name: _Name, begun: float, lookup: asyncio.Future[Addresses]) -> None:
        """Keep the addresses, if it found any, and give them to all who wait."""
        error = lookup.exception()
        name.record.came_back(begun, self._clock.now(), None if error is not None else lookup.result())
        outcome, name.outcome = name.outcome, None
        if outcome is None:
            return
        if error is None:
            outcome.set_result(lookup.result())
        else:
            outcome.set_exception(error)
            outcome.exception()  # nobody may be waiting any more


def is_numeric(host: str) -> bool:
    """Whether ``host`` is an IP address, which nobody has to be asked for."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
