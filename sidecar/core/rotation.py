"""When files that change are to be read again, and when to say that they are no good.

A file may be looked at while it is being written, and of several that belong
together (a certificate and its key) one may be new already and the other not.
So a change is taken only once it has stood still for one look, and a failure is
told only if the next look fails too::

    look   1      2       3        4
    files  old    new     new      new
           -      wait    read     (if that failed: read again, and tell)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

#: Consecutive failures of the same files before they are told.
TRIES: Final = 2
#: Seconds between later tries: a certificate that is not valid yet becomes so without a change.
RETRY: Final = 60.0


class ChangeWatch:
    """Follows the signature of some files through one look after another.

    Begins as if the files had just changed, since nobody knows what they were
    when the configuration was read.
    """

    def __init__(self) -> None:
        self._changed(None, 0.0)

    def _changed(self, signature: Hashable, now: float) -> None:
        self._seen = signature
        self._settled = False
        self._tries = 0
        self._retry_at = now

    def due(self, signature: Hashable, now: float) -> bool:
        """Note what the files look like at ``now`` (seconds); return whether to read them."""
        if signature != self._seen:
            self._changed(signature, now)
            return False
        return not self._settled and now >= self._retry_at

    def loaded(self) -> None:
        """Note that the files were read and are in use: nothing to do until they change."""
        self._settled = True

    def postponed(self, now: float) -> None:
        """Note that the files could not be looked at or read, whatever is in them: they are read again later."""
        self._settled = False
        self._tries = 0
        self._retry_at = now + RETRY

    def failed(self, now: float, *, asked: bool = False) -> bool:
        """Note that the files are no good; return whether to say so.

        ``asked``: a person asked for it by SIGHUP, so it is told at once.
        """
        told = self._tries >= TRIES
        self._settled = False
        self._tries = TRIES if asked else self._tries + 1
        self._retry_at = now + RETRY if self._tries >= TRIES else now
        return asked or (self._tries >= TRIES and not told)
