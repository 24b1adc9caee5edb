"""Warns before the client certificate expires: once it has, every call fails at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from sidecar.advice.texts.files import NEW_CERTIFICATE
from sidecar.core.certificate import moment

if TYPE_CHECKING:
    from sidecar.core.certificate import Validity
    from sidecar.core.clock import Clock

#: Seconds between two looks at most: the wall clock may be set, and the machine may sleep.
_LONGEST_SLEEP: Final = 3_600.0
#: Seconds between two looks at least, should the wall clock stand still.
_SHORTEST_SLEEP: Final = 1.0

_log = structlog.get_logger()


class CertificateStatus(msgspec.Struct, frozen=True):
    """The mTLS client certificate."""

    expires_at: float
    #: Whole days.
    days_left: int


class CertificateExpiry:
    """Watches the dates of the client certificate that is in use, and warns once at each threshold."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._validity: Validity | None = None
        self._told = math.inf

    def watch(self, validity: Validity | None) -> None:
        """Take over the dates of the certificate in use from now on (None: there is none), and warn if it is late."""
        self._validity = validity
        self._told = math.inf
        self._look()

    @property
    def status(self) -> CertificateStatus | None:
        """The certificate in use; None: there is none."""
        if self._validity is None:
            return None
        return CertificateStatus(self._validity.not_after, self._validity.days_left(self._clock.wall()))

    async def run(self) -> None:
        """Warn whenever a threshold is reached, for ever."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._pause())
            self._look()

    def _pause(self) -> float:
        if self._validity is None:
            return _LONGEST_SLEEP
        wall = self._clock.wall()
        return min(max(self._validity.next_warning(wall) - wall, _SHORTEST_SLEEP), _LONGEST_SLEEP)

    def _look(self) -> None:
        if self._validity is None:
            return
        wall = self._clock.wall()
        threshold = self._validity.warning(wall)
        if threshold is None or threshold >= self._told:
            return
        self._told = threshold
        expires = moment(self._validity.not_after)
        if threshold == 0:
            _log.error("certificate.expired", expires=expires, mend=NEW_CERTIFICATE)
        else:
            _log.warning(
                "certificate.expiring", expires=expires, days_left=self._validity.days_left(wall), mend=NEW_CERTIFICATE
            )
