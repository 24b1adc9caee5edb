"""Every key: its default, and each way to set it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.config import Config, EgressProxy, MangopayEnvironment, TokenStore, load
from sidecar.config.model import SECTIONS, SETTINGS
from sidecar.config.setting import REQUIRED, Setting
from sidecar.core.endpoint import Endpoint
from sidecar.core.secret import Secret
from tests.support.canary import CANARY_API_KEY, CANARY_CALLER_KEY, CANARY_EMBEDDED_KEY
from tests.support.configuration import ENVIRON, OTHER_VALUES, written


def value_of(config: Config, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(config, section), key)


# --- defaults ----------------------------------------------------------------------------------------------------

MIB = 1024 * 1024
LOOPBACK = ("127.0.0.1", "::1")
DEFAULTS: dict[str, dict[str, object]] = {
    "mangopay": {
        "environment": MangopayEnvironment.SANDBOX,
        "base_url": None,
        "client_id": "acme",
        "api_key": Secret(CANARY_API_KEY),
        "embedded_api_key": None,
        "client_id_aliases": ("{ClientId}", "_"),
        "foreign_client_ids": "refuse",
        "endpoint": Endpoint("https", "api.sandbox.mangopay.com", 443, ""),
    },
    "listen": {
        "host": LOOPBACK,
        "port": 18080,
        "unix_socket": None,
        "unix_socket_mode": 0o600,
        "allowed_uids": None,
        "allowed_hosts": (),
        "caller_key": None,
        "max_body": 64 * MIB,
        "header_timeout": 10.0,
        "body_timeout": 30.0,
        "keepalive_timeout": 75.0,
        "max_connections": 1000,
    },
    "admin": {"host": LOOPBACK, "port": 19090, "watch_hooks": False},
    "tls": dict.fromkeys(
        ("ca_file", "extra_ca_file", "client_cert_file", "client_key_file", "client_key_password"), None
    ),
    "token": {"prefetch": True, "wait_timeout": 10.0, "store": TokenStore("memory")},
    "upstream": {"connect_timeout": 5.0, "response_timeout": 60.0, "pool_size": 100, "egress_proxy": None},
    "replay": {"max_body": 16 * MIB, "budget": 64 * MIB, "resolve_conflicts": False},
    "policy": {"read_only": False, "allow": ("* /**",), "deny": ()},
    "limits": {"reserve": 0.0, "batch": (), "wait": 0.0},
    "shutdown": {"delay": 0.0, "drain": 25.0},
    "log": {"level": "info", "format": "auto", "requests": "all"},
    "tracing": {"otlp_endpoint": None, "sample": 1.0},
}


def test_the_defaults_are_those_of_the_contract() -> None:
    config = load(None, ENVIRON)
    assert {section: msgspec.structs.asdict(getattr(config, section)) for section in SECTIONS} == DEFAULTS
    assert dict(config.secret_files) == {}
    assert config.warnings == ()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_sections_own_default_is_that_of_loading(setting: Setting) -> None:
    if setting.default is REQUIRED:
        with pytest.raises(TypeError):
            setting()
    else:
        assert setting() == DEFAULTS[setting.section][setting.key]


def test_a_section_can_be_made_without_loading() -> None:
    assert SECTIONS["listen"]() == load(None, ENVIRON).listen


def test_numbers_have_the_type_that_they_are_declared_with() -> None:
    config = load(None, {**ENVIRON, "SIDECAR_SHUTDOWN_DRAIN": "0"})
    assert [type(config.shutdown.delay), type(config.shutdown.drain)] == [float, float]


def test_a_configuration_is_frozen() -> None:
    config = load(None, ENVIRON)
    for target, key in ((config, "listen"), (config.listen, "port"), (config.mangopay, "api_key")):
        with pytest.raises(AttributeError):
            setattr(target, key, None)
    with pytest.raises(TypeError):
        config.secret_files["mangopay.api_key"] = Path("/x")  # type: ignore[index]


# --- every key ---------------------------------------------------------------------------------------------------


def test_the_values_below_cover_every_key() -> None:
    assert OTHER_VALUES.keys() == {setting.name for setting in SETTINGS}


EXPECTED: dict[str, object] = {
    "mangopay.environment": MangopayEnvironment.PRODUCTION,
    "mangopay.base_url": Endpoint("https", "gateway.internal", 443, "/mangopay"),
    "mangopay.client_id": "other",
    "mangopay.api_key": Secret(CANARY_API_KEY),
    "mangopay.embedded_api_key": Secret(CANARY_EMBEDDED_KEY),
    "mangopay.client_id_aliases": ("me", "us"),
    "mangopay.foreign_client_ids": "forward",
    "listen.host": ("0.0.0.0", "::"),
    "listen.port": 0,
    "listen.unix_socket": Path("/run/sidecar.sock"),
    "listen.unix_socket_mode": 0o660,
    "listen.allowed_uids": (0, 1000),
    "listen.allowed_hosts": ("sidecar", "sidecar.internal"),
    "listen.caller_key": Secret(CANARY_CALLER_KEY),
    "listen.max_body": 1024,
    "listen.header_timeout": 1.0,
    "listen.body_timeout": 2.0,
    "listen.keepalive_timeout": 180.0,
    "listen.max_connections": 7,
    "admin.host": ("10.0.0.1",),
    "admin.port": None,
    "admin.watch_hooks": True,
    "tls.ca_file": Path("/ca.pem"),
    "tls.extra_ca_file": Path("/extra.pem"),
    "tls.client_cert_file": Path("/cert.pem"),
    "tls.client_key_file": Path("/key.pem"),
    "tls.client_key_password": Secret("pass word"),
    "token.prefetch": False,
    "token.wait_timeout": 1.5,
    "token.store": TokenStore("file", path=Path("/var/lib/token")),
    "upstream.connect_timeout": 1.0,
    "upstream.response_timeout": 2.0,
    "upstream.pool_size": 3,
    "upstream.egress_proxy": EgressProxy("proxy", 3128, "me", Secret("pw")),
    "replay.max_body": 0,
    "replay.budget": 1,
    "replay.resolve_conflicts": True,
    "policy.read_only": True,
    "policy.allow": ("GET /**", "POST /v2.01/*/users/**"),
    "policy.deny": ("* /v2.01/*/payouts/**",),
    "limits.reserve": 0.2,
    "limits.batch": ("GET /v2.01/*/reports/**", "* /v2.01/*/transfers"),
    "limits.wait": 30.0,
    "shutdown.delay": 5.0,
    "shutdown.drain": 0.0,
    "log.level": "debug",
    "log.format": "json",
    "log.requests": "errors",
    "tracing.otlp_endpoint": Endpoint("http", "collector", 4318, "/tenant"),
    "tracing.sample": 0.125,
}


def test_every_key_can_be_set_by_a_variable() -> None:
    config = load(None, {setting.variable: OTHER_VALUES[setting.name] for setting in SETTINGS})
    assert {name: value_of(config, name) for name in OTHER_VALUES} == EXPECTED


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.allows_file], ids=lambda setting: setting.name)
def test_every_string_can_be_given_by_a_file_of_its_own(tmp_path: Path, setting: Setting) -> None:
    file = written(tmp_path, OTHER_VALUES[setting.name] + "\n", "value")
    environ = {name: text for name, text in ENVIRON.items() if name != setting.variable}
    if setting.section == "tls":
        environ |= {"SIDECAR_TLS_CLIENT_CERT_FILE": "/cert.pem", "SIDECAR_TLS_CLIENT_KEY_FILE": "/key.pem"}
    config = load(None, {**environ, f"{setting.variable}_FILE": str(file)})
    assert value_of(config, setting.name) == EXPECTED[setting.name]


def test_every_key_can_be_set_by_the_file(tmp_path: Path) -> None:
    lines: list[str] = []
    for setting in SETTINGS:
        section = f"[{setting.section}]"
        lines += [] if section in lines else [section]
        lines.append(f"{setting.key} = {as_toml(setting)}")
    config = load(written(tmp_path, "\n".join(lines)), {})
    assert {name: value_of(config, name) for name in OTHER_VALUES} == EXPECTED


def as_toml(setting: Setting) -> str:
    text = OTHER_VALUES[setting.name]
    if isinstance(setting.default, list) or setting.name == "listen.allowed_uids":
        entries = [entry.strip() for entry in text.split(",")]
        return str([int(entry) for entry in entries] if setting.name == "listen.allowed_uids" else entries)
    if isinstance(setting.default, bool) or (isinstance(setting.default, int) and text != "off"):
        return text
    return f'"{text}"'
