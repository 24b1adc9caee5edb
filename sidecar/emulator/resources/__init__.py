"""What is emulated: one file a resource, and whatever lies here is found.

To add a resource, write a file with a constant ``EMULATED``
(:class:`~sidecar.emulator.engine.routes.Emulated`): its kinds with their fields and
transitions, its routes, and a function for what no table can say. docs/emulator.md has
an example; ``tests/unit/emulator/test_emulator_table.py`` wants one row for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Final

from sidecar.emulator.engine.routes import Catalogue, Emulated

#: What each file here emulates, by the file's name.
FILES: Final[dict[str, Emulated]] = {
    found.name: importlib.import_module(f"{__name__}.{found.name}").EMULATED for found in pkgutil.iter_modules(__path__)
}
CATALOGUE: Final = Catalogue(FILES.values())
