"""What all credentials of one Mangopay account share: its lockout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.tokens.state import Latch


class AccountLockout:
    """Passes on to every credential's manager what one of them found out: locked, being probed, open again.

    So a lockout latches all of them, and only one probes at a time (contract
    section 5.6).
    """

    def __init__(self) -> None:
        self._latch: Latch | None = None
        self._members: Final[list[Callable[[Latch | None], None]]] = []

    @property
    def latch(self) -> Latch | None:
        """The lockout as it stands; None if the account is open."""
        return self._latch

    def join(self, changed: Callable[[Latch | None], None]) -> None:
        """Have ``changed`` called with each new state that another member publishes."""
        self._members.append(changed)

    def publish(self, latch: Latch | None, *, by: Callable[[Latch | None], None]) -> None:
        """Tell every member but ``by``."""
        self._latch = latch
        for changed in self._members:
            if changed != by:
                changed(latch)
