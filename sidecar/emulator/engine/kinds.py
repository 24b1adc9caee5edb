"""The words in which a type of resource is described: its fields, what must be given, and how its status changes.

Field names and defaults are those of Mangopay's documentation and of the
official SDKs' models, which read some of them without asking whether they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from sidecar.emulator.state import ClientState, Resource

#: Returns what is wrong with a field's value, or None.
Check = Callable[[Any], str | None]
#: What a transition does beyond the status; the last argument is the time in Unix seconds.
Change = Callable[["ClientState", "Resource", int], None]

#: The collection in which resources of every kind that is a transaction are listed as well.
TRANSACTIONS: Final = "Transaction"

_ALWAYS_READ_ONLY: Final = frozenset({"Id", "CreationDate"})
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

#: An address as the SDKs expect it: every line is there, if only as null.
BLANK_ADDRESS: Final[Mapping[str, None]] = MappingProxyType(
    dict.fromkeys(("AddressLine1", "AddressLine2", "City", "Region", "PostalCode", "Country"))
)
#: Fields that are addresses, of whatever kind.
ADDRESSES: Final = frozenset({"Address", "HeadquartersAddress", "LegalRepresentativeAddress", "OwnerAddress"})


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a resource's status, asked for by the platform, or by a person at a page or a control route.

    ``name`` is an imperative (``cancel``). It is allowed from the statuses in
    ``source``, sets ``field`` to ``target`` and the fields in ``sets``; then ``change``
    does what is left to do, and ``event`` is told. ``refusal`` is the ``Type`` and
    the ``Message`` of the 400 from any other status. One with a ``label`` has a button
    on the page of the resource.
    """

    name: str
    source: frozenset[str]
    target: str
    field: str = "Status"
    sets: Mapping[str, Any] = _NOTHING
    change: Change | None = None
    event: str | None = None
    label: str | None = None
    refusal: tuple[str, str] = ("param_error", "The resource does not allow this in its present status")


class Kind(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One type of resource.

    ``template`` has every field with its first value; ``read_only`` fields are set
    here alone; ``optional`` ones can be given, and are absent, not null, until they are. ``required`` must be
    given to create one, ``links`` must name existing resources (field to collection),
    ``money`` must be amounts with a currency, ``checks`` look at single fields.
    A link is one Id, or a list of them if it is in ``several``; one in ``sought`` that leads nowhere is a 404, any
    other a 400.
    ``transaction``: also listed among the transactions of users and wallets.
    ``prompt``: the title of the page where a person decides on one (``actions/{Id}``), which then
    goes back to the app with the Id in the query parameter ``returns``.
    """

    name: str
    collection: str
    prefix: str
    template: Mapping[str, Any]
    read_only: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    links: Mapping[str, str] = _NOTHING
    several: frozenset[str] = frozenset()
    sought: frozenset[str] = frozenset()
    money: tuple[str, ...] = ()
    checks: Mapping[str, Check] = _NOTHING
    transitions: tuple[Transition, ...] = ()
    transaction: bool = False
    prompt: str = ""
    returns: str | None = None
    #: The fields that a caller may set, by their name in lower case.
    settable: Mapping[str, str] = _NOTHING

    def __post_init__(self) -> None:
        names = {*self.template, *self.optional} - self.read_only - _ALWAYS_READ_ONLY
        msgspec.structs.force_setattr(self, "settable", {name.lower(): name for name in names})

    def transition(self, name: str) -> Transition | None:
        """Return the transition with this name, or None."""
        return next((each for each in self.transitions if each.name == name), None)


def kind_of(resource: Resource) -> Kind:
    """Return the type of a resource in the words of this module."""
    kind = resource.kind
    assert isinstance(kind, Kind)  # noqa: S101 - acts.build alone makes resources
    return kind


def fields(*names: str, **values: Any) -> Mapping[str, Any]:
    """Return a template: ``Id``, ``Tag`` and ``CreationDate``, ``names`` as null, and ``values``."""
    return MappingProxyType({"Id": None, "Tag": None, "CreationDate": 0, **dict.fromkeys(names), **values})


def one_of(*allowed: str) -> Check:
    """Return a check that a value is one of ``allowed``."""

    def check(value: Any) -> str | None:
        return None if value in allowed else f"The value must be one of {', '.join(allowed)}."

    return check


def is_text(value: Any) -> str | None:
    """Check that a value is a string."""
    return None if isinstance(value, str) else "The value must be a string."


def are_texts(value: Any) -> str | None:
    """Check that a value is a list of strings."""
    strings = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return None if strings else "The value must be a list of strings."
