"""What one key's declaration holds, and the names that follow from it."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, Literal, TypeVar, overload

import msgspec

from sidecar.config.values import Kind

T = TypeVar("T")


class Absent(Enum):
    """Stands in place of a default: the setting has none."""

    REQUIRED = "required"


REQUIRED: Final = Absent.REQUIRED


class Setting(msgspec.Struct, frozen=True):
    """One key: everything that loading, messages and documentation say of it."""

    kind: Kind[Any]
    #: As TOML would have it; None: unset; REQUIRED: somebody has to set it.
    default: object
    #: Its meaning, in one or a few plain sentences.
    doc: str
    #: As TOML would have it; shown where there is no default to show. Secrets show ``<key>_file`` instead.
    example: object = None
    section: str = ""
    key: str = ""

    def __call__(self) -> Any:
        """Return the value that holds when nobody set it; a required key has none (TypeError)."""
        if self.default is REQUIRED:
            raise TypeError("a required key has no default")
        return None if self.default is None else self.kind.parse(self.default)

    @property
    def name(self) -> str:
        """The key with its section: ``listen.port``."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable: ``SIDECAR_LISTEN_PORT``."""
        return f"SIDECAR_{self.section}_{self.key}".upper()

    @property
    def allows_file(self) -> bool:
        """Whether ``<key>_file`` exists. Keys that name a file themselves have none."""
        return self.kind.is_string and not self.key.endswith("_file")


@overload
def setting(kind: Kind[T], default: None, doc: str, *, example: object = None) -> T | None: ...
@overload
def setting(
    kind: Kind[T],
    default: str | float | list[str] | Literal[Absent.REQUIRED],
    doc: str,
    *,
    example: object = None,
) -> T: ...
def setting(kind: Kind[Any], default: object, doc: str, *, example: object = None) -> Any:
    """Declare a key as a field of its section; the field's name is the key.

    The type checker sees the kind's value, so a field whose annotation does not fit its kind is an error.
    """
    return msgspec.field(default_factory=Setting(kind, default, doc, example=example))


class Section(msgspec.Struct, frozen=True):
    """A ``[section]`` of the configuration; its docstring is the section's comment."""


def declared(section: str, model: type[Section]) -> Iterator[Setting]:
    """Yield the settings that ``model`` declares, in order, each with its section and key."""
    for field in msgspec.structs.fields(model):
        if isinstance(field.default_factory, Setting):
            yield msgspec.structs.replace(field.default_factory, section=section, key=field.name)
