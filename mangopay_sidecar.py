"""Where the command ``mangopay-sidecar`` begins: a module whose name no other package has.

There is another package called ``sidecar`` on PyPI, and many a project has a
directory of that name. So ``sidecar`` is taken from where this file lies, whatever
else comes first on the path; and if one of the same environment lies in its place,
the command says so. ``python -m mangopay_sidecar`` is the same command.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Final, NoReturn

_PACKAGE: Final = "sidecar"
_DISTRIBUTION: Final = "mangopay-sidecar"
#: For a failure before anything could run (contract section 2: failed at run time).
_FAILED: Final = 1


def main() -> NoReturn:
    """Run the command with the process's arguments, and exit with its status."""
    try:
        _import_package()
        from sidecar.cli import main as run
    except Exception:
        # A stranger may fail in any way while it is imported; a failure of ours is told as it is.
        if _is_ours():
            raise
        _refuse()
    if not _is_ours():
        _refuse()
    run()


def _import_package() -> None:
    """Import ``sidecar`` from the directory of this file, unless one has been imported already."""
    if _PACKAGE in sys.modules:
        return
    spec = PathFinder.find_spec(_PACKAGE, [str(Path(__file__).parent)])
    if spec is None or spec.loader is None:
        return  # then it is on the path, or nowhere
    package = module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)


def _is_ours() -> bool:
    return getattr(sys.modules.get(_PACKAGE), "DISTRIBUTION", None) == _DISTRIBUTION


def _refuse() -> NoReturn:
    package = sys.modules.get(_PACKAGE)
    place = getattr(package, "__file__", None) or "nothing"
    shown = "".join(each if each.isprintable() else "?" for each in place)
    print(  # noqa: T201
        f'{_DISTRIBUTION} needs its own package "{_PACKAGE}", and "import {_PACKAGE}" leads to {shown}: '
        "another package of that name is installed in its place; install the command in an environment of its own "
        f"(pipx install {_DISTRIBUTION}, uvx {_DISTRIBUTION}, or the container image)",
        file=sys.stderr,
    )
    sys.exit(_FAILED)


if __name__ == "__main__":
    main()
