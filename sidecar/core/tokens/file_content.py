"""What a store in a file holds: documents under names, and the clock that says how long each is kept.

The clock is the file's own, so that all processes and every run of the machine see
the same one. It begins as Unix time. Whoever writes the file notes beside it how
this machine's clocks stood (:class:`MachineTime`), and the next reader goes on from there::

    the same boot, the machine's clock not gone back    as that clock went on: it counts sleep, and nobody sets it
    another boot, or one without a name                 as the wall clock went on, and never back
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from sidecar.core.tokens.shared_document import LONGEST

#: Bytes: some accounts' documents.
LONGEST_FILE: Final = 8 * LONGEST


class MachineTime(NamedTuple):
    """How this machine's clocks stand at one moment."""

    #: ``Clock.now``: seconds since the machine was started, about.
    now: float
    #: A name for the time since then; empty: unknown.
    boot: str
    #: Unix time.
    wall: float


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept under one name, and until when (the file's clock)."""

    until: float
    document: msgspec.Raw


class FileContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file, as it was written."""

    #: The file's clock.
    clock: float
    #: The writer's: see MachineTime.
    machine: float
    boot: str
    wall: float
    entries: dict[str, FileEntry]


def first_content(here: MachineTime) -> FileContent:
    """Return what a file that is not there yet would hold now."""
    return FileContent(here.wall, here.now, here.boot, here.wall, {})


def time_of(content: FileContent, here: MachineTime) -> float:
    """Return what the file's clock says."""
    if here.boot and content.boot == here.boot and here.now >= content.machine:
        return content.clock + (here.now - content.machine)
    return content.clock + max(0.0, here.wall - content.wall)


def document_of(content: FileContent, name: str, here: MachineTime) -> bytes | None:
    """Return what is kept under ``name``; None: nothing, or nothing any more."""
    entry = content.entries.get(name)
    return None if entry is None or entry.until <= time_of(content, here) else bytes(entry.document)


def updated(content: FileContent, here: MachineTime, added: dict[str, FileEntry]) -> FileContent:
    """Return ``content`` with ``added``, as it is to be written now: without what is not kept any more."""
    now = time_of(content, here)
    kept = {name: entry for name, entry in {**content.entries, **added}.items() if entry.until > now}
    return FileContent(now, here.now, here.boot, here.wall, kept)


def entry_for(document: bytes, until: float) -> FileEntry:
    """Return ``document``, which is JSON, as an entry that is kept ``until`` then (the file's clock)."""
    return FileEntry(until, msgspec.Raw(document))


write_content: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(FileContent).decode


def read_content(content: bytes) -> FileContent | None:
    """Return what ``write_content`` wrote; None for anything else."""
    if len(content) <= LONGEST_FILE:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _decode(content)
    return None
