"""``emulator``: Mangopay on a port, for an app's own tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.config.addresses import BASE_URL
from tests.support.port_holder import in_use
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Iterator


READY = r"^ready emulator=(http://127\.0\.0\.1:\d+)$"


def get(url: str) -> Any:
    return urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": "Bearer x"}))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_with_0_on_a_signal(number: signal.Signals) -> None:
    with Command("emulator", "--port", "0") as command:
        url = command.wait_for(r"^ready emulator=(http://127\.0\.0\.1:\d+)$")[1]
        with get(f"{url}/__emulator__/stats") as response:
            assert response.status == 200
        assert command.stop(number) == 0
        assert command.complaints == []


@contextmanager
def unread_answer(url: str) -> Iterator[None]:
    """Ask for more than a connection holds, and read the first bytes of it alone."""
    form = {"Authorization": f"Basic {b64encode(b'acme:key').decode()}"}
    asked = urllib.request.Request(f"{url}/v2.01/oauth/token", b"grant_type=client_credentials", form)
    with urllib.request.urlopen(asked) as response:
        token = json.load(response)["access_token"]
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        head = (
            f"GET /__emulator__/bytes?size=100000000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        )
        client.sendall(f"{head}\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        yield


def test_a_second_signal_ends_it_at_once() -> None:
    with Command("emulator", "--port", "0") as command, unread_answer(command.wait_for(READY)[1]):
        os.kill(command.pid, signal.SIGTERM)
        assert command.stop() in (0, 1)  # 0: it had ended by then
        assert command.complaints == []


def test_a_client_that_does_not_read_its_answer_does_not_hold_up_the_end() -> None:
    with Command("emulator", "--port", "0") as command:
        url = command.wait_for(READY)[1]
        with unread_answer(url):
            assert command.stop() == 0
        assert command.complaints == []


def test_faults_can_be_given_on_the_command_line() -> None:
    with Command("emulator", "--port", "0", "--fault", "status=503 GET api times=1") as command:
        url = command.wait_for(r"^ready emulator=(\S+)$")[1]
        with pytest.raises(urllib.error.HTTPError) as fault:
            get(f"{url}/v2.01/acme/users")
        assert fault.value.code == 503
        fault.value.close()
        with pytest.raises(urllib.error.HTTPError) as refusal:
            get(f"{url}/v2.01/acme/users")
        assert refusal.value.code == 401
        refusal.value.close()


def test_settings_can_be_given_on_the_command_line() -> None:
    with Command("emulator", "--port", "0", "--set", "expires_in=5", "--set", "rate_headers=none") as command:
        url = command.wait_for(r"^ready emulator=(\S+)$")[1]
        urllib.request.urlopen(urllib.request.Request(f"{url}/__emulator__/reset", method="POST")).close()
        with get(f"{url}/__emulator__/settings") as response:
            told = json.loads(response.read())
        assert (told["expires_in"], told["rate_headers"], told["sca_context"]) == (5, "none", "USER_PRESENT")


def test_a_port_in_use_is_status_1_and_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Command("emulator", "--port", str(port)) as command:
            assert command.wait() == 1
            assert command.stderr == f"{in_use(port)}: give another --port\n"


@pytest.mark.parametrize(("host", "printed"), [("[::1]", "[::1]"), ("::1", "[::1]"), ("LOCALHOST", "localhost")])
def test_what_it_prints_is_a_base_url(host: str, printed: str) -> None:
    with Command("emulator", "--host", host, "--port", "0") as command:
        url = command.wait_for(r"^ready emulator=(\S+)$")[1]
        assert url.startswith(f"http://{printed}:")
        assert BASE_URL.parse(url).host == printed.strip("[]")
        with get(f"{url}/__emulator__/stats") as response:
            assert response.status == 200


@pytest.mark.parametrize("host", ["", "127.1", "*", "127.0.0.1:80", "http://localhost"])
def test_a_host_that_no_base_url_can_have_is_refused(host: str) -> None:
    with Command("emulator", "--host", host, "--port", "0") as command:
        assert command.wait() == 2
        assert command.stderr.startswith("invalid value for '--host': is ")


def test_an_address_that_is_not_this_machines_is_told_in_the_systems_words() -> None:
    with Command("emulator", "--host", "203.0.113.7", "--port", "18090") as command:
        assert command.wait() == 1
        assert command.stderr == (
            "cannot listen on 203.0.113.7:18090 (Cannot assign requested address): give another --host or --port\n"
        )


def refused(url: str, method: str = "GET") -> int:
    """Make a call that is refused, and return the status."""
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(url, method=method))
    refusal.value.close()
    return refusal.value.code


def test_verbose_prints_a_line_for_each_request() -> None:
    with Command("emulator", "--port", "0", "-v", "--fault", "status=503 DELETE") as command:
        url = command.wait_for(r"^ready emulator=(\S+)$")[1]
        for method, status, fault in (("GET", 401, ""), ("DELETE", 503, " fault=status")):
            assert refused(f"{url}/v2.01/acme/users?secret=1", method) == status
            command.wait_for(rf"^\d\d:\d\d:\d\d {status} {method} /v2.01/acme/users{fault}$")


def test_the_page_shows_what_came_in() -> None:
    with Command("emulator", "--port", "0") as command:
        url = command.wait_for(r"^ready emulator=(\S+)$")[1]
        assert refused(f"{url}/v2.01/acme/users/seen") == 401
        with urllib.request.urlopen(f"{url}/") as response:
            page = response.read().decode()
        assert "/v2.01/acme/users/seen" in page
