"""The words in which paths are described, and how a request finds its row.

A file in :mod:`sidecar.emulator.resources` has rows for its paths: most with a
builder from here (:func:`creates`, :func:`views` …) and no code at all, the others
with :func:`does` and a function of the file's own.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.calls import PAGES, V2, V3, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.emulator.engine.calls import Act, Effect
    from sidecar.emulator.engine.kinds import Kind

#: A resource's file finds all its words for paths here.
__all__ = [
    "PAGES",
    "V2",
    "V3",
    "Catalogue",
    "Emulated",
    "Match",
    "Route",
    "Table",
    "creates",
    "does",
    "lists",
    "moves",
    "updates",
    "views",
]


class Emulated(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one file emulates.

    ``scope`` is the permission scope of its paths (:mod:`sidecar.emulator.scopes`);
    ``parents`` are parameters of any file's paths that must name an existing
    resource, and the collection to look in.
    """

    routes: tuple[Route, ...]
    scope: str | None = None
    parents: Mapping[str, str] = MappingProxyType({})


def creates(pattern: str, kind: Kind, effect: Effect | None = None, event: str | None = None, **more: Any) -> Route:
    """Return a POST that makes a resource, lets ``effect`` complete it, and tells ``event``."""
    return Route(method="POST", pattern=pattern, act=acts.create, kind=kind, effect=effect, event=event, **more)


def views(pattern: str, kind: Kind, **more: Any) -> Route:
    """Return a GET of the resource that ``{Id}`` names."""
    return Route(method="GET", pattern=pattern, act=acts.view, kind=kind, **more)


def updates(
    pattern: str, kind: Kind, effect: Effect | None = None, settable: Iterable[str] | None = None, **more: Any
) -> Route:
    """Return a PUT that changes the resource that ``{Id}`` names; ``settable``: no other fields than these."""
    only = None if settable is None else frozenset(settable)
    return Route(method="PUT", pattern=pattern, act=acts.update, kind=kind, effect=effect, settable=only, **more)


def moves(pattern: str, kind: Kind, transition: str, **more: Any) -> Route:
    """Return a PUT that asks for a transition of the resource that ``{Id}`` names."""
    return Route(method="PUT", pattern=pattern, act=acts.move, kind=kind, transition=transition, **more)


def lists(pattern: str, kind: Kind | None, *by: str, **more: Any) -> Route:
    """Return a GET of a list of ``kind``, or of transactions of any kind."""
    return Route(method="GET", pattern=pattern, act=acts.listed, kind=kind, by=by, **more)


def does(method: str, pattern: str, act: Act, **more: Any) -> Route:
    """Return a row that does what ``act`` says."""
    return Route(method=method, pattern=pattern, act=act, **more)


class Match(msgspec.Struct, frozen=True):
    """A row and the values of its parameters, in the order of the pattern."""

    route: Route
    parameters: dict[str, str]


class Table:
    """Finds rows by method and path; where a literal and a parameter both fit a segment, the literal wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        # Every pattern begins with a literal: that, the version and the length leave a handful of rows.
        self._rows: dict[tuple[str, int, str], list[tuple[tuple[str | None, ...], tuple[str, ...], Route]]] = {}
        for route in sorted(routes, key=_precision):
            parts = route.pattern.split("/")
            literals = tuple(None if part.startswith("{") else part.lower() for part in parts)
            names = tuple(part[1:-1] for part in parts if part.startswith("{"))
            self._rows.setdefault((route.version, len(parts), parts[0]), []).append((literals, names, route))

    def find(self, version: str, method: str, segments: tuple[str, ...]) -> Match | frozenset[str]:
        """Return the row for a path, or else the methods that have one (none: the path is unknown).

        HEAD finds the row of GET. Literal segments are compared without regard to case.
        """
        if not segments:
            return frozenset()
        method = "GET" if method == "HEAD" else method
        lowered = tuple(segment.lower() for segment in segments)
        others: set[str] = set()
        for literals, names, route in self._rows.get((version, len(segments), lowered[0]), ()):
            if all(literal is None or literal == segment for literal, segment in zip(literals, lowered, strict=True)):
                if route.method == method:
                    given = [part for literal, part in zip(literals, segments, strict=True) if literal is None]
                    return Match(route, dict(zip(names, given, strict=True)))
                others.add(route.method)
        return frozenset(others)


def _precision(route: Route) -> list[bool]:
    return [part.startswith("{") for part in route.pattern.split("/")]


class Catalogue:
    """Everything that is emulated: the rows of all files, as tables."""

    def __init__(self, files: Iterable[Emulated]) -> None:
        files = tuple(files)
        self.routes: Final = tuple(_scoped(route, file.scope) for file in files for route in file.routes)
        self.parents: Final = {name: collection for file in files for name, collection in file.parents.items()}
        self._with_client: Final = Table(route for route in self.routes if route.client)
        self._without_client: Final = Table(route for route in self.routes if not route.client)
        #: The first segments, in lower case, of paths that have no ClientId.
        self.unscoped: Final = frozenset(
            {"oauth", *(route.pattern.split("/")[0] for route in self.routes if not route.client)}
        )

    def find(self, method: str, segments: tuple[str, ...]) -> Match | frozenset[str]:
        """Return the row for a whole path, as :meth:`Table.find` does."""
        if len(segments) < 2:
            return frozenset()
        if segments[1].lower() in self.unscoped and segments[0] != PAGES:
            return self._without_client.find(segments[0], method, segments[1:])
        return self._with_client.find(segments[0], method, segments[2:])


def _scoped(route: Route, scope: str | None) -> Route:
    if route.scope is not None or scope is None or route.version == PAGES:
        return route
    return msgspec.structs.replace(route, scope=scope)
