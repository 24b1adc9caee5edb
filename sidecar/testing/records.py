"""What the emulator tells of, as values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from sidecar.testing.control import ControlRoutes


def _known(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return of what an emulator tells, perhaps a newer one, what is known here."""
    return {field.name: told[field.name] for field in fields(kind) if field.name in told}


@dataclass(frozen=True)
class Write:
    """One write, recognised by method, path, body and ``Idempotency-Key``.

    ``deliveries``: how often it arrived whole; ``executions``: how often it changed something; ``unauthorized``: how
    many of the deliveries were answered 401, after which it may be delivered again.
    """

    method: str
    path: str
    body_sha256: str
    idempotency_key: str | None
    deliveries: int
    executions: int
    unauthorized: int


@dataclass(frozen=True)
class Ledger:
    """All writes since the last reset, oldest first."""

    entries: tuple[Write, ...]
    deliveries: int
    executions: int

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Ledger:
        """Return what the control route ``ledger`` tells."""
        entries = tuple(Write(**_known(Write, each)) for each in told["entries"])
        return cls(entries, told["deliveries"], told["executions"])

    def find(self, method: str, path: str) -> list[Write]:
        """Return the writes whose path ends with ``path``, such as ``/payouts/bankwire``, without regard to case."""
        end = path.rstrip("/").lower()
        return [each for each in self.entries if each.method == method and each.path.rstrip("/").lower().endswith(end)]

    def executed_twice(self) -> list[Write]:
        """Return the writes that were executed more than once: an app that is right has none."""
        return [each for each in self.entries if each.executions > 1]

    def delivered_twice(self) -> list[Write]:
        """Return the writes that arrived again although no 401 had asked for it."""
        return [each for each in self.entries if each.deliveries > 1 + each.unauthorized]


@dataclass(frozen=True)
class Delivery:
    """One call of a hook.

    ``outcome`` is one of ``waiting``, ``delivered``, ``retried``, ``failed``, ``lost``, ``refused``; ``detail`` says it
    for people; ``date`` is in Unix seconds.
    """

    event: str
    resource_id: str
    url: str
    hook_id: str
    client_id: str
    outcome: str
    attempt: int
    date: int
    detail: str

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Delivery:
        """Return one that the control route ``hooks`` tells of."""
        return cls(**_known(cls, told))


class Fault:
    """A fault in force. Used in ``with``, it is removed at the end."""

    def __init__(self, routes: ControlRoutes, identifier: int) -> None:
        self._routes: Final = routes
        #: Its number at the emulator.
        self.id: Final = identifier

    @property
    def fired(self) -> int:
        """How often it has fired; 0 once it is removed."""
        rules = self._routes.ask("GET", "faults")
        return next((int(rule["fired"]) for rule in rules if rule["id"] == self.id), 0)

    def remove(self) -> None:
        """Put it out of force. May be repeated."""
        self._routes.ask("DELETE", "faults", {"id": self.id})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
