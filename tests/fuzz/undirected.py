"""The same targets without atheris: Hypothesis changes the seeds, without knowing what is reached."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests.fuzz.seeds import chosen, from_cases
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUND: Final = 500
_PIECES: Final = (
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"/",
        b"\\",
        b"..",
        b"%2e",
        b"%2f",
        b"%25",
        b"%00",
        b"?",
        b"#",
        b"@",
    ),
    *(
        b"oauth",
        b"token",
        b"payouts",
        b"v2.01",
        b"V2_01",
        b"_",
        b"Host: ",
        b"Connection: ",
        b"chunked",
        b"\x00",
        b"\x0b",
        b"\xff",
    ),
)


def inputs(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for seeds with a few pieces put in, taken out or put in place of others."""
    edit = st.tuples(st.integers(0, 4096), st.integers(0, 8), st.sampled_from(_PIECES) | st.binary(max_size=8))

    def apply(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for where, length, piece in edits:
            at = where % (len(seed) + 1)
            seed = seed[:at] + piece + seed[at + length :]
        return seed

    return st.builds(apply, st.sampled_from(seeds), st.lists(edit, max_size=6))


def search(target: str, seconds: float) -> tuple[int, bytes | None]:
    """Try inputs for a time; return how many, and one that breaks a promise if there is any."""
    check = TARGETS[target]
    strategy = inputs([*chosen(target).values(), *from_cases(target)])
    options = settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    tried = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return tried, find(strategy, lambda data: breaks(check, data), settings=options)
        except NoSuchExample:
            tried += _ROUND
    return tried, None


def breaks(check: Callable[[bytes], None], data: bytes) -> bool:
    """Say whether an input breaks a promise; any exception counts."""
    try:
        check(data)
    except Exception:
        return True
    return False
