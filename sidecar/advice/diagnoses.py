"""The likely cause behind each failure that ``check`` can find, and its mend, in plain words."""

from __future__ import annotations

from typing import Final

from sidecar.advice.texts import calls, connections, files, tokens

#: Every cause in words.
DIAGNOSES: Final = {**files.DIAGNOSES, **connections.DIAGNOSES, **tokens.DIAGNOSES, **calls.DIAGNOSES}
