"""The end of the client certificate: warned of at 30, 7 and 1 days, once each."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sidecar.core.certificate import Validity
from sidecar.runtime import Tasks
from sidecar.upstream.expiry import CertificateExpiry
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

DAY = 86_400


@dataclass
class Watched:
    clock: FakeClock
    expiry: CertificateExpiry
    logs: list[MutableMapping[str, Any]]

    def watch(self, days: float) -> None:
        """Take a certificate that expires so many days from now."""
        wall = int(self.clock.wall())
        self.expiry.watch(Validity(wall - DAY, int(wall + days * DAY)))

    async def days(self, count: float) -> None:
        await self.clock.advance(count * DAY)

    @property
    def told(self) -> list[tuple[str, int | None]]:
        return [(entry["event"], entry.get("days_left")) for entry in self.logs]


@asynccontextmanager
async def watched(days: float) -> AsyncIterator[Watched]:
    clock, tasks = FakeClock(), Tasks()
    with structlog.testing.capture_logs() as logs:
        watched = Watched(clock, CertificateExpiry(clock), logs)
        watched.watch(days)
        tasks.spawn(watched.expiry.run(), name="expiry")
        try:
            yield watched
        finally:
            await tasks.close()


async def test_each_threshold_is_told_once_and_in_time() -> None:
    async with watched(40) as certificate:
        await certificate.days(9.999)
        assert certificate.told == []
        await certificate.days(0.002)
        assert certificate.told == [("certificate.expiring", 30)]
        await certificate.days(22.9)
        assert len(certificate.told) == 1
        await certificate.days(6.2)
        assert certificate.told[1:] == [("certificate.expiring", 7), ("certificate.expiring", 1)]
        await certificate.days(30)
        assert certificate.told[3:] == [("certificate.expired", None)]
        assert [entry["log_level"] for entry in certificate.logs] == ["warning"] * 3 + ["error"]


@pytest.mark.parametrize(("days", "left"), [(29.5, 29), (5.5, 5), (0.5, 0)])
async def test_a_certificate_that_ends_soon_at_the_start_is_told_once(days: float, left: int) -> None:
    async with watched(days) as certificate:
        assert certificate.told == [("certificate.expiring", left)]


async def test_a_renewed_certificate_is_told_of_again_in_its_own_time() -> None:
    async with watched(5) as certificate:
        certificate.watch(365)
        await certificate.days(100)
        assert certificate.told == [("certificate.expiring", 5)]
        assert certificate.expiry.status is not None
        assert certificate.expiry.status.days_left == 265
        certificate.watch(6.5)
        assert certificate.told[1:] == [("certificate.expiring", 6)]


async def test_a_clock_that_is_put_right_is_noticed_within_the_hour() -> None:
    async with watched(400) as certificate:
        certificate.clock.step_wall(390 * DAY)
        await certificate.clock.advance(3_600)
        assert certificate.told == [("certificate.expiring", 9)]


async def test_the_line_says_when_and_what_to_do() -> None:
    async with watched(3) as certificate:
        (entry,) = certificate.logs
        assert entry["expires"].endswith("Z")
        assert "no restart" in entry["mend"]
