"""All cases, by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.wire.threats.tables import (
    callers,
    chunks,
    controls,
    fields,
    guard,
    headers,
    limits,
    policy,
    request_line,
    responses,
    smuggling,
    targets,
    unasked,
)

if TYPE_CHECKING:
    from tests.wire.threats.case import Case

_TABLES: Final = (
    smuggling,
    chunks,
    request_line,
    fields,
    targets,
    guard,
    headers,
    policy,
    callers,
    responses,
    unasked,
    limits,
    controls,
)


def _by_id() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for table in _TABLES:
        for case in table.CASES:
            assert case.title not in cases, f"two cases are called {case.title}"
            cases[case.title] = case
    return cases


ALL: Final = _by_id()
