"""What goes wrong with a caller; what goes wrong with its request is a SidecarError."""

from __future__ import annotations


class CallerGoneError(ConnectionError):
    """The caller closed its connection, or was cut off, before it had its response."""
