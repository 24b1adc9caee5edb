"""The README's SDK examples, and which of them this machine can run. ``python -m tests.deploy.readme`` says which."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.sdk.app import NODE_PROJECT
from tests.support import node

README: Final = Path(__file__).parents[2] / "README.md"
#: Where Composer puts the packages of a user (COMPOSER_HOME), below the home directory.
_COMPOSER_HOMES: Final = (".config/composer/vendor", ".composer/vendor")


@dataclass(frozen=True)
class Language:
    """How an example is run: ``command`` takes the file, ``environ`` lets it find its SDK."""

    #: The word behind the fence.
    fence: str
    suffix: str
    command: tuple[str, ...]
    environ: dict[str, str]
    #: PHP looks for its packages beside the program.
    vendor: Path | None = None


def examples() -> dict[str, str]:
    """Return the examples as they are printed, by the word behind the fence."""
    _, _, below = README.read_text(encoding="utf-8").partition("**SDKs.**")
    section, _, _ = below.partition("\n## ")
    return dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


def languages() -> dict[str, Language]:
    """Return the languages whose SDK is here: Python and Node always are, PHP and Ruby if the machine has them."""
    found = {
        "python": Language("python", ".py", (sys.executable,), {}),
        "node": Language("js", ".cjs", (str(node.NODE),), {"NODE_PATH": str(NODE_PROJECT / "node_modules")}),
    }
    ruby, vendor = shutil.which("ruby"), _php_packages()
    if ruby is not None and _runs(ruby, "-e", "require 'mangopay'"):
        found["ruby"] = Language("ruby", ".rb", (ruby,), {"RUBYLIB": os.environ.get("RUBYLIB", "")})
    php = shutil.which("php")
    if php is not None and vendor is not None:
        found["php"] = Language("php", ".php", (php,), {}, vendor)
    return found


def _php_packages() -> Path | None:
    """Return the directory in which Composer has installed Mangopay's SDK, if it has."""
    named = os.environ.get("COMPOSER_VENDOR_DIR")
    places = [Path(named)] if named else [Path.home() / place for place in _COMPOSER_HOMES]
    return next(
        (place for place in places if (place / "mangopay").is_dir() and (place / "autoload.php").is_file()), None
    )


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    here = languages()
    print("README examples that are run:", ", ".join(here))
    print("not run, since the SDK is not here:", ", ".join(sorted({"php", "ruby"} - here.keys())) or "none")
