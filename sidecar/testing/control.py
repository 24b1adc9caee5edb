"""Requests to a running emulator: its control routes, and its pages."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that an answer may take: the emulator is on this machine, or next to it.
_PATIENCE: Final = 30.0
_FORM: Final = "application/x-www-form-urlencoded"


class EmulatorError(Exception):
    """The emulator or the sidecar could not do what a test asked for; ``str()`` says what is wrong, and the mend."""


class Response:
    """A response, read whole."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status: Final = status
        self.headers: Final = headers
        self.body: Final = body

    @property
    def text(self) -> str:
        """The body, as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body, parsed; None if it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def send(
    base_url: str, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Send one request on a connection of its own, never through a proxy. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=_PATIENCE)
    try:
        connection.request(method, target, body, {**(headers or {}), "Connection": "close"})
        response = connection.getresponse()
        # An HTTPMessage finds a name however it is written.
        return Response(response.status, response.headers, response.read())  # type: ignore[arg-type]
    finally:
        connection.close()


class ControlRoutes:
    """``/__emulator__/…`` and ``/pages/…`` of the emulator at ``base_url``."""

    def __init__(self, base_url: str) -> None:
        self.base_url: Final = base_url.rstrip("/")

    def ask(self, method: str, route: str, body: Mapping[str, object] | None = None) -> Any:
        """Return what a control route answers. Raises EmulatorError."""
        data = None if body is None else json.dumps(body).encode()
        answer = self._send(method, f"/__emulator__/{route}", data, "application/json")
        told = answer.json()
        if answer.status == 200 and told is not None:
            return told
        said = told.get("error") if isinstance(told, dict) else None
        if said is None:
            message = f"{self.base_url} is no Mangopay emulator ({method} /__emulator__/{route}: {answer.status})"
            raise EmulatorError(f"{message}: MANGOPAY_EMULATOR_URL must name one")
        mend = " From another machine or container: start the emulator with --trust." if answer.status == 403 else ""
        raise EmulatorError(f"{method} /__emulator__/{route}: {said}{mend}")

    def submit(self, url: str, form: Mapping[str, str]) -> Response:
        """Send a form of one of the emulator's pages, wherever a test reaches it. Raises EmulatorError."""
        parts = urlsplit(url)
        if not parts.path.startswith("/pages/"):
            raise EmulatorError(f"not a page of the emulator: {url}")
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return self._send("POST", target, urlencode(form).encode(), _FORM)

    def _send(self, method: str, target: str, body: bytes | None, content_type: str) -> Response:
        try:
            return send(self.base_url, method, target, body, {"Content-Type": content_type} if body else {})
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            message = f"no Mangopay emulator answers at {self.base_url} ({reason})"
            raise EmulatorError(f"{message}: has it ended, or does MANGOPAY_EMULATOR_URL name another?") from error
