"""The Mangopay of the benchmarks: nginx that speaks TLS 1.3 and answers with fixed bytes.

It checks on every request that the Bearer came through: one without it gets 401,
which the load generator counts as a failure. Bodies are read whole before they
are answered, as an API does that stores what it is sent.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trustme

from benchmarks.children import Child, ChildError, Launch, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: As long as real ones are.
TOKEN: Final = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." + "bench" * 40
CLIENT_ID: Final = "acme"
USER: Final = f"/v2.01/{CLIENT_ID}/users/natural/user_m_01HQK25M6KVHKDV0S36JY9NRKR"
PAYINS: Final = f"/v2.01/{CLIENT_ID}/payins/card/direct"
#: Followed by the number of bytes that the response has.
BYTES: Final = f"/v2.01/{CLIENT_ID}/bytes/"
SMALL: Final = 600
#: Sizes that are served under :data:`BYTES`.
SIZES: Final = (0, 1024, 16 * 1024, 256 * 1024, 1024**2, 4 * 1024**2, 16 * 1024**2, 64 * 1024**2)

_CONFIGURATION: Final = """
daemon off;
worker_processes 1;
{user}
pid {directory}/upstream.pid;
error_log {directory}/upstream.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/upstream-bodies;
    proxy_temp_path {directory}/upstream-proxy;
    fastcgi_temp_path {directory}/upstream-fastcgi;
    uwsgi_temp_path {directory}/upstream-uwsgi;
    scgi_temp_path {directory}/upstream-scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_buffer_size 64m;
    tcp_nodelay on;
    sendfile off;
    default_type application/json;
    map_hash_bucket_size 1024;
    map $http_authorization $refused {{ default 1; "Bearer {token}" ""; }}
    add_header X-RateLimit "12, 24, 48, 96";
    add_header X-RateLimit-Remaining "2288, 4476, 8752, 105504";
    add_header X-RateLimit-Reset "1733404277, 1733405177, 1733406977, 1733489777";
    server {{
        listen 127.0.0.1:{count_port};
        location / {{ stub_status; }}
    }}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.key;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        root {directory}/bytes;
        # nginx has no answer of its own that waits for a body: the mirror reads it, then the static file refuses POST.
        location = /v2.01/oauth/token {{ mirror /read; error_page 404 405 =200 @token; }}
        location @token {{
            return 200 '{{"access_token": "{token}", "token_type": "Bearer", "expires_in": 3600}}';
        }}
        location = /read {{ internal; return 204; }}
        location {users} {{ if ($refused) {{ return 401; }} return 200 '{small}'; }}
        location {payins} {{ if ($refused) {{ return 401; }} mirror /read; error_page 404 405 =200 @small; }}
        location @small {{ return 200 '{small}'; }}
        location {bytes} {{ if ($refused) {{ return 401; }} alias {directory}/bytes/; }}
    }}
}}
"""


@dataclass(frozen=True)
class Upstream:
    """A running upstream."""

    port: int
    count_port: int
    ca_file: Path
    pids: tuple[int, ...]
    _questions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"https://127.0.0.1:{self.port}"

    def calls(self) -> int:
        """Return how many requests it has met so far, the questions for this number left out."""
        with socket.create_connection(("127.0.0.1", self.count_port), 5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            lines = b"".join(iter(lambda: connection.recv(4096), b"")).splitlines()
        # The third number of the line under "server accepts handled requests".
        return int(lines[-2].split()[2]) - next(self._questions)


def small_response() -> str:
    """Return a user as Mangopay describes one, exactly :data:`SMALL` bytes long."""
    user = {
        "Address": {
            "AddressLine1": "1 rue de la Paix",
            "AddressLine2": None,
            "City": "Paris",
            "Region": "Ile de France",
            "PostalCode": "75001",
            "Country": "FR",
        },
        "FirstName": "Alex",
        "LastName": "Smith",
        "Birthday": 652117514,
        "Nationality": "GB",
        "CountryOfResidence": "FR",
        "Occupation": "Engineer",
        "IncomeRange": 3,
        "PersonType": "NATURAL",
        "Email": "alex.smith@example.com",
        "KYCLevel": "REGULAR",
        "TermsAndConditionsAccepted": True,
        "UserCategory": "OWNER",
        "UserStatus": "ACTIVE",
        "Id": "user_m_01HQK25M6KVHKDV0S36JY9NRKR",
        "Tag": "",
        "CreationDate": 1708962262,
    }
    missing = SMALL - len(json.dumps(user))
    assert missing >= 0
    return json.dumps({**user, "Tag": "t" * missing})


@contextmanager
def serve(nginx: Path, directory: Path, core: int) -> Iterator[Upstream]:
    """Run it. Raises ChildError if it does not come up."""
    port, count_port = free_port(), free_port()
    write_certificates(directory)
    _write_responses(directory / "bytes")
    configuration = directory / "upstream.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            port=port,
            count_port=count_port,
            user=worker_user(),
            token=TOKEN,
            users=USER,
            payins=PAYINS,
            bytes=BYTES,
            small=small_response(),
        )
    )
    launch = Launch((nginx, "-p", directory, "-c", configuration))
    with Child("upstream", launch, core=core, directory=directory) as child:
        ca_file = directory / "ca.pem"
        _wait(child, port, ca_file)
        yield Upstream(port, count_port, ca_file, child.pids())


def worker_user() -> str:
    """Return nginx's directive that lets its worker read our files; only root can and must say it."""
    return "user root;" if os.geteuid() == 0 else ""


def _wait(child: Child, port: int, ca_file: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca_file))
    end = time.monotonic() + 10
    while True:
        child.check_that_it_runs()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        try:
            connection.request("GET", USER, headers={"Authorization": f"Bearer {TOKEN}"})
            response = connection.getresponse()
            if response.status == 200 and len(response.read()) == SMALL:
                return
            raise ChildError(f"upstream answers {response.status}")
        except OSError:
            if time.monotonic() > end:
                raise ChildError(f"upstream did not come up: {child.last_words()}") from None
            time.sleep(0.01)
        finally:
            connection.close()


def write_certificates(directory: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "server.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(directory / "server.key")


def _write_responses(directory: Path) -> None:
    directory.mkdir()
    for size in SIZES:
        (directory / str(size)).write_bytes(b"0123456789abcdef" * (size // 16))
