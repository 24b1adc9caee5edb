"""Rules between keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.config import load
from sidecar.config.checks import check_listeners, check_tls, limits_warnings, resolve_endpoint
from sidecar.config.errors import ConfigError
from sidecar.config.model import Admin, Limits, Listen, MangopayEnvironment, Tls
from sidecar.core.endpoint import Endpoint
from sidecar.core.secret import Secret
from tests.support.configuration import complaining


@pytest.mark.parametrize(
    ("environment", "client_certificate", "origin"),
    [
        (MangopayEnvironment.SANDBOX, False, "https://api.sandbox.mangopay.com"),
        (MangopayEnvironment.SANDBOX, True, "https://api-mtls.sandbox.mangopay.com"),
        (MangopayEnvironment.PRODUCTION, False, "https://api.mangopay.com"),
        (MangopayEnvironment.PRODUCTION, True, "https://api-mtls.mangopay.com"),
    ],
)
def test_the_environment_gives_the_host(
    environment: MangopayEnvironment, client_certificate: bool, origin: str
) -> None:
    endpoint = resolve_endpoint(environment, None, client_certificate=client_certificate)
    assert (endpoint.origin, endpoint.prefix) == (origin, "")
    assert Endpoint.parse(endpoint.origin) == endpoint


def test_the_emulator_has_no_address_of_its_own() -> None:
    with pytest.raises(ConfigError, match="SIDECAR_MANGOPAY_BASE_URL"):
        resolve_endpoint(MangopayEnvironment.EMULATOR, None, client_certificate=False)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        (MangopayEnvironment.SANDBOX, "https://gateway.internal/mangopay"),
        (MangopayEnvironment.SANDBOX, "http://127.0.0.1:8000"),
        (MangopayEnvironment.PRODUCTION, "http://[::1]:8000"),
        (MangopayEnvironment.PRODUCTION, "http://localhost"),
        (MangopayEnvironment.EMULATOR, "http://emulator:8000"),
        (MangopayEnvironment.EMULATOR, "https://emulator"),
        (MangopayEnvironment.SANDBOX, "https://api-mtls.sandbox.mangopay.com"),
    ],
)
@pytest.mark.parametrize("client_certificate", [False, True])
def test_a_base_url_wins(environment: MangopayEnvironment, url: str, client_certificate: bool) -> None:
    base_url = Endpoint.parse(url)
    assert resolve_endpoint(environment, base_url, client_certificate=client_certificate) is base_url


@pytest.mark.parametrize("environment", [MangopayEnvironment.SANDBOX, MangopayEnvironment.PRODUCTION])
@pytest.mark.parametrize("url", ["http://gateway.internal", "http://10.0.0.1", "http://127.evil.example"])
def test_plain_http_leaves_the_machine_only_for_the_emulator(environment: MangopayEnvironment, url: str) -> None:
    with pytest.raises(ConfigError, match="plain http://"):
        resolve_endpoint(environment, Endpoint.parse(url), client_certificate=False)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        (MangopayEnvironment.SANDBOX, "https://api.mangopay.com"),
        (MangopayEnvironment.SANDBOX, "https://api-mtls.mangopay.com:8443/x"),
        (MangopayEnvironment.PRODUCTION, "https://API.sandbox.mangopay.com"),
        (MangopayEnvironment.EMULATOR, "https://api.mangopay.com"),
    ],
)
def test_no_environment_is_reached_under_the_name_of_another(environment: MangopayEnvironment, url: str) -> None:
    with pytest.raises(ConfigError, match="agree"):
        resolve_endpoint(environment, Endpoint.parse(url), client_certificate=False)


FILE = Path("/x")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"client_cert_file": FILE, "client_key_file": FILE},
        {"client_cert_file": FILE, "client_key_file": FILE, "client_key_password": Secret("hunter2")},
        {"ca_file": FILE, "extra_ca_file": FILE},
    ],
)
def test_tls_settings_that_fit_together(given: dict[str, Any]) -> None:
    complaining(check_tls, Tls(**given))


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"client_cert_file": FILE}, "SIDECAR_TLS_CLIENT_KEY_FILE"),
        ({"client_key_file": FILE}, "SIDECAR_TLS_CLIENT_CERT_FILE"),
        ({"client_key_password": Secret("hunter2")}, "SIDECAR_TLS_CLIENT_KEY_FILE"),
    ],
)
def test_half_a_client_certificate_is_refused(given: dict[str, Any], variable: str) -> None:
    with pytest.raises(ConfigError, match=f"set {variable} too"):
        complaining(check_tls, Tls(**given))


@pytest.mark.parametrize(
    ("listen", "admin"),
    [
        (Listen(), Admin()),
        (Listen(port=0), Admin(port=0)),
        (Listen(port=1), Admin(port=None)),
        (Listen(port=1, host=("127.0.0.1",)), Admin(port=1, host=("::1",))),
        (Listen(port=1, host=("0.0.0.0", "::")), Admin(port=2, host=("::1",))),
        (Listen(port=1, host=("127.0.0.2",)), Admin(port=1, host=("localhost",))),
        (Listen(port=1, host=("0.0.0.0", "sidecar.internal")), Admin(port=2)),  # what the name is, is not known
        (Listen(port=None, unix_socket=FILE), Admin(port=None)),
        (Listen(unix_socket=FILE, allowed_uids=(0,)), Admin()),
        (Listen(allowed_hosts=("sidecar",), caller_key=Secret("0123456789abcdef")), Admin()),
    ],
)
def test_listeners_that_can_live_together(listen: Listen, admin: Admin) -> None:
    complaining(check_listeners, listen, admin, MangopayEnvironment.SANDBOX)


@pytest.mark.parametrize(
    ("listen", "admin", "complaint"),
    [
        (Listen(port=None), Admin(), 'listen.port is "off" without listen.unix_socket'),
        (Listen(allowed_uids=(0,)), Admin(), "SIDECAR_LISTEN_UNIX_SOCKET"),
        (Listen(allowed_hosts=("sidecar",)), Admin(), "SIDECAR_LISTEN_CALLER_KEY_FILE"),
        (Listen(port=1), Admin(port=1), "are both 1"),
        (Listen(port=1, host=("0.0.0.0",)), Admin(port=1, host=("0.0.0.0", "::1")), "are both 1"),
        (Listen(port=1, host=("0.0.0.0",)), Admin(port=1), "are both 1"),
        (Listen(port=1, host=("127.0.0.1",)), Admin(port=1, host=("0.0.0.0",)), "are both 1"),
        (Listen(port=1, host=("::",)), Admin(port=1, host=("localhost",)), "are both 1"),
        (Listen(port=1, host=("::1",)), Admin(port=1, host=("localhost",)), "are both 1"),
        (Listen(port=1, host=("0.0.0.0", "127.0.0.1")), Admin(port=2), "name one of them in SIDECAR_LISTEN_HOST"),
        (Listen(port=1, host=("localhost", "0.0.0.0")), Admin(port=2), "listen.host names 0.0.0.0, which is every"),
        (Listen(port=1), Admin(port=2, host=("::1", "::")), "name one of them in SIDECAR_ADMIN_HOST"),
    ],
)
def test_listeners_that_reach_nobody_or_collide(listen: Listen, admin: Admin, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        complaining(check_listeners, listen, admin, MangopayEnvironment.SANDBOX)


def test_in_front_of_an_emulator_names_need_no_caller_key() -> None:
    """There is no money to move."""
    complaining(check_listeners, Listen(allowed_hosts=("sidecar",)), Admin(), MangopayEnvironment.EMULATOR)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, None),
        ({"reserve": 0.2, "batch": ("GET /**",), "wait": 1.0}, None),
        ({"batch": ("GET /**",)}, "limits.batch"),
        ({"wait": 1.0}, "limits.wait"),
        ({"batch": ("GET /**",), "wait": 1.0}, "limits.batch"),
    ],
)
def test_settings_of_the_batch_lane_that_mean_nothing_are_told(given: dict[str, Any], name: str | None) -> None:
    warnings = limits_warnings(Limits(**{"reserve": 0.0, "batch": (), "wait": 0.0, **given}))
    assert [warning.split(" ")[0] for warning in warnings] == ([] if name is None else [name])


def test_they_are_told_at_the_start() -> None:
    environ = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", "SIDECAR_MANGOPAY_API_KEY": "k", "SIDECAR_LIMITS_WAIT": "1s"}
    (warning,) = load(None, environ).warnings
    assert warning.startswith("limits.wait means nothing while limits.reserve is 0%: set SIDECAR_LIMITS_RESERVE")
