"""``wrap --emulator``: an app's tests against a Mangopay of their own, in one command and without credentials."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.wrapping import ended

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = sys.executable
#: Makes a user with a ClientId of its own, breaks the token, reads the user again, and prints what came back.
APP = """
import json, os, urllib.request
base, emulator = os.environ["MANGOPAY_BASE_URL"], os.environ["MANGOPAY_EMULATOR_URL"]
assert not [name for name in os.environ if name.startswith("SIDECAR_")], os.environ

def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return response.headers.get("X-Sidecar-Recovered"), json.loads(response.read())

user = {"FirstName": "Ada", "LastName": "Lovelace", "Email": "ada@example.com", "UserCategory": "PAYER"}
_, made = call(base + "/v2.01/my-own-client/users/natural", user)
call(emulator + "/__emulator__/revoke", {})
recovered, read = call(base + "/v2.01/my-own-client/users/" + made["Id"])
print(json.dumps([recovered, read["LastName"]]))
"""
PORTS = {"SIDECAR_LISTEN_PORT": "0", "SIDECAR_ADMIN_PORT": "0"}


def test_an_app_needs_neither_credentials_nor_its_own_client_id() -> None:
    status, stdout, stderr = ended("--emulator", "--", PYTHON, "-c", APP, environ=PORTS)
    assert (status, stderr) == (0, "")
    assert json.loads(stdout) == ["token", "Lovelace"]


def test_it_is_quiet_unless_something_is_wrong_or_it_is_told_otherwise() -> None:
    call = "import os, urllib.request as u; u.urlopen(os.environ['MANGOPAY_BASE_URL'] + '/v2.01/_/clients')"
    # That a proxy is set for everything else is not wrong: nothing leaves the machine.
    proxies = {"HTTPS_PROXY": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}
    assert ended("--emulator", "--", PYTHON, "-c", call, environ={**PORTS, **proxies})[2] == ""
    told = {**PORTS, "SIDECAR_LOG_LEVEL": "info", "SIDECAR_LOG_FORMAT": "json"}
    assert '"event":"request"' in ended("--emulator", "--", PYTHON, "-c", call, environ=told)[2]
    refused = "import os, urllib.request as u; u.urlopen(os.environ['MANGOPAY_BASE_URL'] + '/v2.01/../x')"
    status, _, stderr = ended(
        "--emulator", "--", PYTHON, "-c", refused, environ={**PORTS, "SIDECAR_LOG_FORMAT": "json"}
    )
    assert status == 1
    assert '"error":"bad_request"' in stderr


def test_what_the_emulator_never_answers_is_not_waited_for() -> None:
    """A call that hangs is what the tests wanted; they are over, and no money moved."""
    hang = """
import json, os, urllib.request as u
base, emulator = os.environ["MANGOPAY_BASE_URL"], os.environ["MANGOPAY_EMULATOR_URL"]
u.urlopen(emulator + "/__emulator__/faults", json.dumps({"rule": "hang POST"}).encode()).close()
try:
    u.urlopen(base + "/v2.01/_/wallets", b"{}", timeout=0.2)
except TimeoutError:
    print("gave up")
"""
    environ = {**PORTS, "SIDECAR_SHUTDOWN_DRAIN": "10m"}
    assert ended("--emulator", "--", PYTHON, "-c", hang, environ=environ) == (0, "gave up\n", "")


def test_what_leads_to_mangopay_does_not_count(tmp_path: Path) -> None:
    environ = {
        **PORTS,
        "SIDECAR_CONFIG": str(tmp_path / "none.toml"),
        "SIDECAR_MANGOPAY_ENVIRONMENT": "production",
        "SIDECAR_MANGOPAY_CLIENT_ID": "real",
        "SIDECAR_MANGOPAY_API_KEY_FILE": str(tmp_path / "none"),
        "SIDECAR_TLS_CA_FILE": str(tmp_path / "none.pem"),
        "SIDECAR_UPSTREAM_EGRESS_PROXY": "http://127.0.0.1:9",
        "SIDECAR_TOKEN_STORE": f"file:{tmp_path}/none/store",
    }
    assert ended("--emulator", "--", PYTHON, "-c", APP, environ=environ)[0] == 0


def test_a_configuration_file_has_no_place_beside_it(tmp_path: Path) -> None:
    status, stdout, stderr = ended(
        "--emulator", "--config", tmp_path / "sidecar.toml", "--", "echo", "ran", environ=PORTS
    )
    assert (status, stdout) == (125, "")
    assert stderr == "--emulator needs no configuration, and --config names one: leave one of them out\n"


@pytest.mark.parametrize("code", [0, 7])
def test_the_status_is_the_commands_own(code: int) -> None:
    assert ended("--emulator", "--", PYTHON, "-c", f"raise SystemExit({code})", environ=PORTS)[0] == code
