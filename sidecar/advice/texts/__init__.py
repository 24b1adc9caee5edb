"""What is wrong and what to do about it, in plain words: each cause once, by subject."""

from __future__ import annotations

from typing import NamedTuple


class Diagnosis(NamedTuple):
    """What is likely behind a failure, and what to do; each without a full stop."""

    cause: str
    mend: str
