"""From a file and variables to a configuration: which one wins, where paths start, which error is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.config import ConfigError, TokenStore, load
from sidecar.config.model import SETTINGS
from tests.support.canary import CANARY_API_KEY
from tests.support.configuration import ENVIRON, written

if TYPE_CHECKING:
    from collections.abc import Mapping


KEY = "SIDECAR_MANGOPAY_API_KEY"


# --- precedence --------------------------------------------------------------------------------------------------


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[listen]\nport = 1\nmax_connections = 2")
    config = load(path, {**ENVIRON, "SIDECAR_LISTEN_PORT": "3"})
    assert (config.listen.port, config.listen.max_connections) == (3, 2)


def test_an_empty_variable_leaves_the_file_its_say(tmp_path: Path) -> None:
    path = written(tmp_path, "[listen]\nport = 1")
    assert load(path, {**ENVIRON, "SIDECAR_LISTEN_PORT": ""}).listen.port == 1


def test_a_variable_that_names_a_file_wins_over_the_key_in_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]\nclient_id = 'acme'\napi_key = 'of-the-file'")
    key = written(tmp_path, "of-the-variable", "key")
    config = load(path, {f"{KEY}_FILE": str(key)})
    assert config.mangopay.api_key.reveal() == "of-the-variable"
    assert dict(config.secret_files) == {"mangopay.api_key": key}


def test_a_variable_wins_over_a_named_file_which_is_not_opened(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]\napi_key_file = '/nowhere/at/all'")
    config = load(path, ENVIRON)
    assert config.mangopay.api_key.reveal() == CANARY_API_KEY
    assert dict(config.secret_files) == {}


def test_the_argument_wins_over_the_variable_that_names_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[listen]\nport = 1")
    environ = {**ENVIRON, "SIDECAR_CONFIG": str(written(tmp_path, "[listen]\nport = 2", "other.toml"))}
    assert load(path, environ).listen.port == 1
    assert load(None, environ).listen.port == 2


@pytest.mark.parametrize("text", ["/nowhere/at/all", " /x", "~/x", "a\nb"])
def test_a_variable_that_names_no_file_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"SIDECAR_CONFIG|/nowhere/at/all"):
        load(None, {**ENVIRON, "SIDECAR_CONFIG": text})


def test_the_working_directory_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sidecar.toml", "config.toml", ".env", "mangopay-sidecar.toml"):
        written(tmp_path, "[listen]\nport = 1", name)
    monkeypatch.chdir(tmp_path)
    assert load(None, {**ENVIRON, "SIDECAR_CONFIG": ""}).listen.port == 18080


# --- paths -------------------------------------------------------------------------------------------------------


def test_relative_paths_of_the_file_start_at_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "hunter2", "etc/key")
    path = written(
        tmp_path,
        "[mangopay]\nclient_id = 'acme'\napi_key_file = 'key'\n[tls]\nca_file = '../ca.pem'\n[token]\nstore = 'file:t'",
        "etc/sidecar.toml",
    )
    monkeypatch.chdir(tmp_path)
    for named in (path, Path("etc/sidecar.toml")):
        config = load(named, {})
        assert config.secret_files["mangopay.api_key"] == tmp_path / "etc/key"
        assert config.tls.ca_file == tmp_path / "etc/../ca.pem"
        assert config.token.store == TokenStore("file", path=tmp_path / "etc/t")


def test_relative_paths_of_variables_start_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "hunter2", "key")
    monkeypatch.chdir(tmp_path)
    environ = {**ENVIRON, KEY: "", f"{KEY}_FILE": "key", "SIDECAR_LISTEN_UNIX_SOCKET": "run/s"}
    config = load(written(tmp_path, "", "etc/sidecar.toml"), environ)
    assert config.secret_files["mangopay.api_key"] == tmp_path / "key"
    assert config.listen.unix_socket == tmp_path / "run/s"


# --- what is missing, what is said anyway ------------------------------------------------------------------------


def test_a_missing_client_id_is_told_with_key_and_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {})
    assert caught.value.lines[0] == (
        "mangopay.client_id is missing: set SIDECAR_MANGOPAY_CLIENT_ID, or client_id under [mangopay] in "
        "a file that mangopay-sidecar init writes"
    )


def test_a_missing_key_is_told_with_the_variable_of_its_file_first() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"SIDECAR_MANGOPAY_CLIENT_ID": "acme"})
    assert str(caught.value) == (
        "mangopay.api_key is missing: set SIDECAR_MANGOPAY_API_KEY_FILE or SIDECAR_MANGOPAY_API_KEY, or api_key "
        "under [mangopay] in a file that mangopay-sidecar init writes"
    )


def test_what_is_missing_in_a_file_is_told_with_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]")
    with pytest.raises(ConfigError, match=rf"under \[mangopay\] in {path}$"):
        load(path, {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("token.store", "memory"),
        ("policy.read_only", "false"),
        ("policy.allow", "* /**"),
        ("listen.unix_socket_mode", "600"),
    ],
)
def test_a_default_may_be_said(name: str, text: str) -> None:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    config = load(None, {**ENVIRON, setting.variable: text})
    assert getattr(getattr(config, setting.section), setting.key) == setting()


def test_a_client_certificate_selects_the_host() -> None:
    tls = {"SIDECAR_TLS_CLIENT_CERT_FILE": "/cert.pem", "SIDECAR_TLS_CLIENT_KEY_FILE": "/key.pem"}
    assert load(None, {**ENVIRON, **tls}).mangopay.endpoint.host == "api-mtls.sandbox.mangopay.com"


@pytest.mark.parametrize(
    ("environ", "start"),
    [
        ({"SIDECAR_MANGOPAY_ENVIRONMENT": "emulator"}, "mangopay.environment"),
        ({"SIDECAR_MANGOPAY_BASE_URL": "http://example.com"}, "mangopay.base_url"),
        ({"SIDECAR_LISTEN_PORT": "off"}, "listen.port"),
        ({"SIDECAR_LISTEN_PORT": "19090"}, "listen.port and admin.port"),
    ],
)
def test_rules_between_keys_are_applied(environ: Mapping[str, str], start: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{start} "):
        load(None, {**ENVIRON, **environ})


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^tls.client_cert_file "):
        load(None, {**ENVIRON, "SIDECAR_TLS_CLIENT_CERT_FILE": "/cert.pem"})


def test_several_errors_are_told_in_one_order(tmp_path: Path) -> None:
    path = written(tmp_path, "[listen]\nnonsense = 1\n[nonsense]")
    with pytest.raises(ConfigError) as caught:
        load(path, {"SIDECAR_NONSENSE": "x", "SIDECAR_LISTEN_PORT": "x"})
    assert [line.removeprefix(f"{tmp_path}/").split(" is ")[0] for line in caught.value.lines] == [
        "SIDECAR_NONSENSE",
        "sidecar.toml:2: listen.nonsense",
        "sidecar.toml:3: nonsense",
        "mangopay.client_id",
        "mangopay.api_key",
        "SIDECAR_LISTEN_PORT",
    ]


# --- options of a command ----------------------------------------------------------------------------------------


def test_an_option_wins_over_the_variable_and_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[listen]\nport = 1\n[admin]\nport = 2")
    options = {"listen.port": ("--port", "5"), "mangopay.client_id": ("--client-id", "other")}
    config = load(path, {**ENVIRON, "SIDECAR_LISTEN_PORT": "3"}, options)
    assert (config.listen.port, config.admin.port, config.mangopay.client_id) == (5, 2, "other")


def test_what_is_wrong_in_an_option_is_told_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^--port is out of range: give a number from 0 to 65535"):
        load(None, ENVIRON, {"listen.port": ("--port", "70000")})


def test_loading_writes_nothing(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    load(None, {**ENVIRON, "HTTPS_PROXY": "x"})
    assert (*capsys.readouterr(), caplog.text) == ("", "", "")
