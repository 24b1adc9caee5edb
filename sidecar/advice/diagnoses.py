"""The likely cause behind each failure that ``check`` can find, and its mend, in plain words."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidecar.advice.texts import calls, connections, files, tokens

#: Every cause in words.
DIAGNOSES: Final = MappingProxyType({**files.DIAGNOSES, **connections.DIAGNOSES, **tokens.DIAGNOSES, **calls.DIAGNOSES})
