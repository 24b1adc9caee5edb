"""A value that somebody gave, before it is read: where it stands and what it says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from sidecar.config.errors import ConfigError
from sidecar.config.model import SETTINGS
from sidecar.config.setting import Setting


class Given(msgspec.Struct, frozen=True):
    """One setting as one source gives it."""

    setting: Setting
    #: What TOML held, or the variable's text; for a twin the name of a file.
    value: object
    #: For messages: the variable, or the file and key.
    where: str
    #: Relative paths start here.
    base: Path
    #: The value is text that a variable holds.
    is_text: bool
    #: ``<key>_file`` was given, not the key.
    is_twin: bool


#: Both spellings of every key, by dotted name: ``mangopay.api_key`` and ``mangopay.api_key_file``.
SPELLINGS: Final[Mapping[str, tuple[Setting, bool]]] = {entry.name: (entry, False) for entry in SETTINGS} | {
    f"{entry.name}_file": (entry, True) for entry in SETTINGS if entry.has_file_twin
}


def add(found: dict[str, Given], given: Given) -> None:
    """Note ``given`` by its setting's name; raises ConfigError if its source gave that setting already."""
    other = found.setdefault(given.setting.name, given)
    if other is not given:
        both = f"{other.where} and {given.where}"
        raise ConfigError(both, "are both set", "keep one of them")
