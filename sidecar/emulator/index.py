"""What there is by name: routes, control routes and faults, and the nearest for a name that is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine.routes import PAGES, V3

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.emulator.engine.routes import Catalogue, Route

#: How alike two names are at least that one may be meant for the other; 1 is equal.
_ALIKE: Final = 0.7


def path_of(route: Route) -> str:
    """Return a route's path, with its parameters in braces."""
    version = "V3.0" if route.version == V3 else route.version
    return f"/{version}/{'{ClientId}/' if route.client else ''}{route.pattern}"


def list_routes(catalogue: Catalogue) -> list[str]:
    """Return every route by method and path, in the order of paths."""
    return [f"{method} {path}" for path, method in sorted((path_of(each), each.method) for each in _of_api(catalogue))]


def nearest_route(catalogue: Catalogue, method: str, segments: tuple[str, ...]) -> str | None:
    """Return the route, by method and path, that a path is likeliest meant for; None: nothing is like it."""
    best, most = None, (0.0, True)
    for route in _of_api(catalogue):
        path = path_of(route)
        likeness = (_likeness(path[1:].split("/"), segments), route.method == method)
        if likeness > most:
            best, most = f"{route.method} {path}", likeness
    return best


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of ``names`` that ``name`` is likeliest a typo of, or None."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(names), n=1, cutoff=_ALIKE)
    return found[0] if found else None


def _likeness(parts: list[str], segments: tuple[str, ...]) -> float:
    """Return how alike the literal segments of a route and those of a path are; 0: one of them is not."""
    from difflib import SequenceMatcher

    if len(parts) != len(segments):
        return 0.0
    pairs = [(part, given) for part, given in zip(parts, segments, strict=True) if not part.startswith("{")]
    ratios = [SequenceMatcher(None, part.lower(), given.lower()).ratio() for part, given in pairs]
    return sum(ratios) / len(ratios) if min(ratios) >= _ALIKE else 0.0


def _of_api(catalogue: Catalogue) -> list[Route]:
    return [route for route in catalogue.routes if route.version != PAGES]
