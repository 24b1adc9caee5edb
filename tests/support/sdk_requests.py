"""The requests that eight builds of Mangopay's official SDKs really sent: ``tests/data/sdk-requests``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY: Final = Path(__file__).parents[1] / "data" / "sdk-requests"
_SEPARATOR: Final = re.compile(rb"^>>>>>>>>>> request \(body (\d+) bytes\)\n", re.MULTILINE)
_CUT: Final = re.compile(rb"\n\.\.\. \[(\d+) bytes cut\] \.\.\.\n")

#: The names of the builds.
SDKS: Final = tuple(sorted(path.stem for path in _DIRECTORY.glob("*.txt")))
#: The ClientId and the key in them.
CLIENT_ID: Final = "real-client"
API_KEY: Final = "real-api-key"


@dataclass(frozen=True)
class RecordedRequest:
    """One request: its request line, header lines and body, as the SDK sent them."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def head(self, **replaced: str) -> bytes:
        """Return the head's bytes, with the values of some headers replaced."""
        values = {name.lower(): value for name, value in replaced.items()}
        lines = [f"{name}: {values.get(name.lower(), value)}" for name, value in self.headers]
        return "\r\n".join([f"{self.method} {self.target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def recorded(sdk: str) -> list[RecordedRequest]:
    """Return what a build sent, in order."""
    return list(_requests((_DIRECTORY / f"{sdk}.txt").read_bytes()))


def _requests(data: bytes) -> Iterator[RecordedRequest]:
    starts = list(_SEPARATOR.finditer(data))
    ends = [start.start() for start in starts[1:]] + [len(data)]
    for start, end in zip(starts, ends, strict=True):
        head, _, body = data[start.end() : end].partition(b"\n\n")
        body = _CUT.sub(lambda cut: b"A" * int(cut[1]), body)[: int(start[1])]
        assert len(body) == int(start[1])
        line, *fields = head.decode("latin-1").split("\n")
        method, target, _version = line.split(" ")
        headers = tuple((name, value) for name, _, value in (field.partition(": ") for field in fields))
        yield RecordedRequest(method, target, headers, body)
