"""A customer's app that uses an official SDK, driven line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support import canary, node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

#: The Node app with its package.json, its lock file and, once installed, its node_modules.
NODE_PROJECT: Final = Path(__file__).parent / "node"
COMMANDS: Final[dict[str, Sequence[str | Path]]] = {
    "python": (sys.executable, "-m", "tests.e2e.sdk.python"),
    "node": (node.NODE, NODE_PROJECT / "driver.mjs"),
}


@dataclass(frozen=True)
class Told:
    """What the SDK made of one call."""

    #: The HTTP status that the SDK saw; None if there was no response.
    status: int | None
    #: The SDK's result with the API's own field names; None if it raised.
    value: Any
    #: What the SDK raised: the parsed error report if it had one.
    error: dict[str, Any] | None
    #: Response headers, names in lower case, as the SDK's HTTP library joins them.
    headers: dict[str, str]
    rate_limits: list[dict[str, int]]

    @property
    def id(self) -> str:
        """The resource's Id."""
        assert self.error is None, f"the SDK raised {self.error} (status {self.status})"
        return str(self.value["Id"])


class SdkApp:
    """One long-lived process with one SDK in it: it keeps its token and its connections, as an app does."""

    def __init__(self, sdk: str, base_url: str, *, client_id: str = "acme", api_key: str = "dummy") -> None:
        self.sdk: Final = sdk
        self._process: Final = subprocess.Popen(
            COMMANDS[sdk],
            cwd=Path(__file__).parents[3],
            env={"MANGOPAY_BASE_URL": base_url, "MANGOPAY_CLIENT_ID": client_id, "MANGOPAY_API_KEY": api_key},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def do(self, what: str, **arguments: Any) -> Told:
        """Have the app do one thing; return what its SDK told it."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": what, "with": arguments}) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"the {self.sdk} app ended with code {self._process.poll()} at {what}"
        canary.record(f"what the {self.sdk} SDK was told", line)
        return Told(**json.loads(line))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
