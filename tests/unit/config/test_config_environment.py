"""Variables: which are ours, which are Kubernetes', which are mistakes."""

from __future__ import annotations

import re

import pytest

from sidecar.config import ConfigError, load
from sidecar.config.model import SETTINGS
from sidecar.config.sources import environment_warnings, is_service_link, read_environment
from tests.support.canary import CANARY_API_KEY
from tests.support.configuration import ENVIRON, complaining


def test_every_key_has_a_variable() -> None:
    environ = {setting.variable: "x" for setting in SETTINGS}
    assert complaining(read_environment, environ).keys() == {setting.name for setting in SETTINGS}


def test_only_keys_of_strings_have_a_twin() -> None:
    twins = {setting.name for setting in SETTINGS if setting.allows_file}
    assert twins == {
        "mangopay.environment",
        "mangopay.base_url",
        "mangopay.client_id",
        "mangopay.api_key",
        "mangopay.embedded_api_key",
        "mangopay.foreign_client_ids",
        "listen.unix_socket",
        "listen.caller_key",
        "tls.client_key_password",
        "token.store",
        "upstream.egress_proxy",
        "log.level",
        "log.format",
        "log.requests",
        "tracing.otlp_endpoint",
    }


def test_variables_are_unambiguous() -> None:
    variables = [setting.variable for setting in SETTINGS]
    variables += [f"{setting.variable}_FILE" for setting in SETTINGS if setting.allows_file]
    assert len(variables) == len(set(variables))


def test_an_empty_variable_counts_as_unset() -> None:
    assert complaining(read_environment, {"SIDECAR_LISTEN_PORT": "", "SIDECAR_NONSENSE": ""}) == {}


@pytest.mark.parametrize("variable", ["MANGOPAY_CLIENT_ID", "SIDECARX", "SIDECAR", "sidecar_listen_port", "PATH"])
def test_variables_of_others_are_not_looked_at(variable: str) -> None:
    assert complaining(read_environment, {variable: "x"}) == {}


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("SIDECAR_LISTEN_PROT", "SIDECAR_LISTEN_PORT"),
        ("SIDECAR_CLIENT_ID", "SIDECAR_MANGOPAY_CLIENT_ID"),
        ("SIDECAR_MANGOPAY_APIKEY", "SIDECAR_MANGOPAY_API_KEY"),
        ("SIDECAR_MANGOPAY_API_KEY_FIL", "SIDECAR_MANGOPAY_API_KEY_FILE"),
        ("SIDECAR_TLS_CA_FILE_FILE", "SIDECAR_TLS_CA_FILE"),
        ("SIDECAR_LISTEN_PORT_FILE", "SIDECAR_LISTEN_PORT"),
        ("SIDECAR_CONFIGURATION", "SIDECAR_CONFIG"),
        ("SIDECAR_ADMIN-PORT", "SIDECAR_ADMIN_PORT"),
        ("SIDECAR_LISTEN_MAX_CONNECTION", "SIDECAR_LISTEN_MAX_CONNECTIONS"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(variable: str, nearest: str) -> None:
    expected = f"{variable} is no variable of the sidecar: the nearest is {nearest}"
    with pytest.raises(ConfigError, match=rf"^{re.escape(expected)}$"):
        complaining(read_environment, {**ENVIRON, variable: CANARY_API_KEY})


def test_the_first_unknown_variable_in_alphabetical_order_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^SIDECAR_AAA "):
        complaining(read_environment, {"SIDECAR_ZZZ": "x", "SIDECAR_AAA": "x", "SIDECAR_MMM": "x"})


def test_an_unprintable_variable_stays_on_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        complaining(read_environment, {"SIDECAR_A\nB\x1b[31m": "x"})
    assert str(caught.value).isprintable()


def test_both_spellings_of_a_key_are_an_error() -> None:
    environ = {"SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY, "SIDECAR_MANGOPAY_API_KEY_FILE": "/x"}
    expected = "^SIDECAR_MANGOPAY_API_KEY and SIDECAR_MANGOPAY_API_KEY_FILE are both set: keep one of them$"
    with pytest.raises(ConfigError, match=expected):
        complaining(read_environment, environ)


def test_an_empty_spelling_does_not_count() -> None:
    found = complaining(read_environment, {"SIDECAR_MANGOPAY_API_KEY": "", "SIDECAR_MANGOPAY_API_KEY_FILE": "/x"})
    assert found["mangopay.api_key"].from_file


# --- Kubernetes --------------------------------------------------------------------------------------------------

LINKS = {
    "SIDECAR_SERVICE_HOST": "10.0.0.1",
    "SIDECAR_SERVICE_PORT": "8080",
    "SIDECAR_SERVICE_PORT_HTTP": "8080",
    "SIDECAR_SERVICE_PORT_HTTP_ADMIN": "8080",
    "SIDECAR_PORT": "tcp://10.0.0.1:8080",
    "SIDECAR_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "SIDECAR_PORT_8080_TCP_PROTO": "tcp",
    "SIDECAR_PORT_8080_TCP_PORT": "8080",
    "SIDECAR_PORT_8080_TCP_ADDR": "10.0.0.1",
    "SIDECAR_PORT_53_UDP": "udp://10.0.0.1:53",
    "SIDECAR_PORT_53_UDP_ADDR": "10.0.0.1",
    "SIDECAR_PORT_9_SCTP": "sctp://10.0.0.1:9",
    "SIDECAR_FOO_SERVICE_HOST": "10.0.0.1",
    "SIDECAR_FOO_SERVICE_PORT": "8080",
    "SIDECAR_FOO_BAR_SERVICE_PORT_METRICS": "8080",
    "SIDECAR_FOO_PORT": "tcp://[fd00::1]:8080",
    "SIDECAR_FOO_PORT_8080_TCP_ADDR": "fd00::1",
    "SIDECAR_LISTEN_PORT_8080_TCP_PORT": "8080",
    "SIDECAR_CONFIG_PORT": "tcp://10.0.0.1:80",
    "SIDECAR_LISTEN_SERVICE_HOST": "10.0.0.1",
}


@pytest.mark.parametrize(("variable", "text"), LINKS.items())
def test_service_links_are_ignored(variable: str, text: str) -> None:
    assert is_service_link(variable, text)
    assert complaining(read_environment, {variable: text}) == {}


def test_service_links_do_not_disturb_a_configuration() -> None:
    assert load(None, {**ENVIRON, **LINKS}).warnings == ()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SIDECAR_FOO_PORT", "8080"),
        ("SIDECAR_PORT", "8080"),
        ("SIDECAR_HOST", "10.0.0.1"),
        ("SIDECAR_PORT_X_TCP", "tcp://10.0.0.1:80"),
        ("SIDECAR_PORT_80_HTTP", "8080"),
        ("SIDECAR_SERVICE_HOSTS", "10.0.0.1"),
    ],
)
def test_what_only_resembles_a_service_link_is_an_error(variable: str, text: str) -> None:
    with pytest.raises(ConfigError):
        complaining(read_environment, {variable: text})


@pytest.mark.parametrize("section", ["listen", "admin"])
@pytest.mark.parametrize("text", ["tcp://10.0.0.1:7000", "udp://10.0.0.1:7000", "TCP://[::1]:7000"])
def test_a_service_link_that_collides_with_a_port_is_ignored_with_a_warning(section: str, text: str) -> None:
    variable = f"SIDECAR_{section.upper()}_PORT"
    config = load(None, {**ENVIRON, variable: text})
    assert (config.listen.port, config.admin.port) == (18080, 19090)
    [warning] = config.warnings
    assert warning.startswith(f"{variable} holds a Kubernetes service link and is ignored")


# --- proxies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_an_ignored_proxy_is_told_without_its_password(variable: str) -> None:
    [warning] = load(None, {**ENVIRON, variable: "http://me:hunter2@proxy:3128"}).warnings
    assert warning.startswith(f"{variable} set in the environment: ignored")
    assert "upstream.egress_proxy" in warning
    assert "hunter2" not in warning


def test_several_proxies_are_one_warning() -> None:
    environ = {"HTTP_PROXY": "x", "HTTPS_PROXY": "x", "https_proxy": "x", "NO_PROXY": "x"}
    [warning] = environment_warnings(environ)
    assert warning.startswith("HTTP_PROXY, HTTPS_PROXY, https_proxy set")


def test_an_empty_proxy_is_none() -> None:
    assert list(environment_warnings({"HTTPS_PROXY": ""})) == []
