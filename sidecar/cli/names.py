"""What the command is called."""

from __future__ import annotations

from typing import Final

PROGRAM: Final = "mangopay-sidecar"
#: Set by the scripts of ``completion``: what a shell asks to complete; click looks at it.
COMPLETE_VARIABLE: Final = "_MANGOPAY_SIDECAR_COMPLETE"
