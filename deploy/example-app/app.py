"""The example's app: a page that needs Mangopay, and knows neither key nor token.

``GET /`` lists the platform's first users, ``POST /`` makes one more. It finds
the sidecar by MANGOPAY_BASE_URL, or by MANGOPAY_UNIX_SOCKET, and shows it the
caller key in MANGOPAY_API_KEY_FILE, if there is one, as an SDK shows its API key.
``app.py list`` lists users once, ``app.py list 5`` each 5 seconds. In place of your
own: nothing but Python's library, and not an example of a good web server.
"""

import base64
import http.client
import json
import os
import signal
import socket
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

USERS = "/v2.01/_/users"  # "_" stands for the ClientId, which the sidecar knows
NEW_USER = "/v2.01/_/sca/users/natural"
ADA = {
    "FirstName": "Ada",
    "LastName": "Lovelace",
    "Email": "ada@example.com",
    "UserCategory": "PAYER",
    "TermsAndConditionsAccepted": True,
}
#: Seconds: the sidecar answers within its own timeouts, a token call and a second try included.
PATIENCE = 90


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        """``path`` is the socket's."""
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def credentials() -> dict[str, str]:
    """Return the header that proves the caller key, if the sidecar wants one."""
    file = os.environ.get("MANGOPAY_API_KEY_FILE")
    if not file:
        return {}
    pair = f"any:{Path(file).read_text().strip()}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def mangopay(method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """Call Mangopay through the sidecar; return status and body. Raises OSError or HTTPException."""
    path_of_socket = os.environ.get("MANGOPAY_UNIX_SOCKET")
    connection = (
        UnixConnection(path_of_socket)
        if path_of_socket
        else http.client.HTTPConnection(urlsplit(os.environ["MANGOPAY_BASE_URL"]).netloc, timeout=PATIENCE)
    )
    headers = {"Content-Type": "application/json", **credentials()}
    if method == "POST":
        # One key for one intention, kept for as long as that may have to be repeated.
        headers["Idempotency-Key"] = str(uuid.uuid4())
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Page(BaseHTTPRequestHandler):
    """Passes on what Mangopay answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell whether the app lives, or list users."""
        if self.path == "/healthz":
            self._answer(200, b"ok\n")
        else:
            self._ask("GET", f"{USERS}?per_page=10")

    def do_POST(self) -> None:
        """Make a user."""
        self._ask("POST", NEW_USER, ADA)

    def _ask(self, method: str, path: str, body: object = None) -> None:
        try:
            self._answer(*mangopay(method, path, body))
        except (OSError, http.client.HTTPException) as error:
            self._answer(502, f"the sidecar cannot be reached: {error}\n".encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def list_users(pause: float | None) -> None:
    """Do the work of a worker or a cron job: list users once, or again after each ``pause`` (seconds)."""
    waiting = threading.Event()
    while True:
        status, body = mangopay("GET", f"{USERS}?per_page=10")
        print(status, len(json.loads(body)), "users", flush=True)
        if pause is None:
            sys.exit(status != 200)
        waiting.wait(pause)


def serve() -> None:
    """Serve the page until SIGTERM."""
    with ThreadingHTTPServer((os.environ.get("HOST", ""), int(os.environ.get("PORT", "3000"))), Page) as server:
        print(f"app at port {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as the first process of a container it has no default
    if sys.argv[1:2] == ["list"]:
        list_users(float(sys.argv[2]) if len(sys.argv) > 2 else None)
    serve()
