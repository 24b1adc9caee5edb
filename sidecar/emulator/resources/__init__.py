"""What is emulated: one file a resource, and whatever lies here is found when the first call needs it.

To add a resource, write a file with a constant ``EMULATED``
(:class:`~sidecar.emulator.engine.routes.Emulated`): its kinds with their fields and
transitions, its routes, and a function for what no table can say. docs/emulator.md has
an example; ``tests/unit/emulator/test_emulator_table.py`` wants one row for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from sidecar.emulator.engine.routes import Catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.engine.routes import Emulated


@cache
def files() -> Mapping[str, Emulated]:
    """Return what each file here emulates, by the file's name.

    The first call imports them all, some 15 ms of work: a start, which serves tokens only, does without.
    """
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    return MappingProxyType({name: importlib.import_module(f"{__name__}.{name}").EMULATED for name in names})


@cache
def catalogue() -> Catalogue:
    """Return all that is emulated, as one table."""
    return Catalogue(files().values())
