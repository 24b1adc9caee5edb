"""What every peer is told, and what it has to say for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.children import Launch


class NotInstallableError(Exception):
    """A peer could not be installed; the message says why, and goes into the report."""


@dataclass(frozen=True)
class Site:
    """Where a peer is to listen and to forward, and what it may write to."""

    port: int
    upstream_port: int
    ca_file: Path
    #: Put as a Bearer on every request.
    token: str
    directory: Path


class Peer(Protocol):
    """A program that users would pick to do this job."""

    @property
    def name(self) -> str:
        """As the report calls it."""

    @property
    def described(self) -> str:
        """How it is run, in a few words."""

    def install(self, cache: Path) -> str:
        """Make it runnable, and return its version. Raises NotInstallableError."""

    def launch(self, site: Site) -> Launch:
        """Write its configuration, and return the command that serves."""
