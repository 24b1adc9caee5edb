"""The example's app: a page that needs Mangopay, and knows neither key nor token.

``GET /`` lists the platform's first users, ``POST /`` makes one more. It finds
the sidecar by MANGOPAY_BASE_URL, or by MANGOPAY_UNIX_SOCKET. In place of your
own: nothing but Python's library, and not an example of a good web server.
"""

import http.client
import json
import os
import signal
import socket
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

USERS = "/v2.01/_/users"  # "_" stands for the ClientId, which the sidecar knows
ADA = {"FirstName": "Ada", "LastName": "Lovelace", "Email": "ada@example.com"}
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


def mangopay(method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """Call Mangopay through the sidecar; return status and body. Raises OSError or HTTPException."""
    path_of_socket = os.environ.get("MANGOPAY_UNIX_SOCKET")
    connection = (
        UnixConnection(path_of_socket)
        if path_of_socket
        else http.client.HTTPConnection(urlsplit(os.environ["MANGOPAY_BASE_URL"]).netloc, timeout=PATIENCE)
    )
    headers = {"Content-Type": "application/json"}
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
        self._ask("POST", f"{USERS}/natural", ADA)

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


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as the first process of a container it has no default
    with ThreadingHTTPServer((os.environ.get("HOST", ""), int(os.environ.get("PORT", "3000"))), Page) as server:
        print(f"app at port {server.server_port}", flush=True)
        server.serve_forever()
