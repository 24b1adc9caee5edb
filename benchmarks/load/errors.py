"""What goes wrong with a load run."""

from __future__ import annotations


class LoadError(Exception):
    """The load generator itself failed, or a call did; the message says how."""
