"""Secrets: read strictly, never shown, their files remembered and their modes looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.config import ConfigError, load
from sidecar.config.model import SETTINGS
from tests.support.canary import CANARY_API_KEY, CANARY_CALLER_KEY, CANARY_EMBEDDED_KEY
from tests.support.configuration import ENVIRON, OTHER_VALUES, written

if TYPE_CHECKING:
    from pathlib import Path

KEY = "SIDECAR_MANGOPAY_API_KEY"


# --- secrets -----------------------------------------------------------------------------------------------------


def test_files_of_secrets_are_remembered_and_files_of_other_values_are_not(tmp_path: Path) -> None:
    key = written(tmp_path, "hunter2", "key")
    client_id = written(tmp_path, "acme", "client_id")
    config = load(None, {"SIDECAR_MANGOPAY_CLIENT_ID_FILE": str(client_id), f"{KEY}_FILE": str(key)})
    assert config.mangopay.client_id == "acme"
    assert dict(config.secret_files) == {"mangopay.api_key": key}


def test_of_a_secret_in_the_configuration_file_that_file_is_remembered(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]\napi_key = 'hunter2'\nclient_id = 'acme'")
    assert dict(load(path, {}).secret_files) == {"mangopay.api_key": path}


def test_a_link_to_a_secret_is_remembered_as_the_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(written(tmp_path, "hunter2", "key"))
    assert load(None, {**ENVIRON, KEY: "", f"{KEY}_FILE": str(link)}).secret_files["mangopay.api_key"] == link


def test_no_secret_is_in_the_repr() -> None:
    environ = {setting.variable: OTHER_VALUES[setting.name] for setting in SETTINGS}
    environ |= {
        "SIDECAR_TOKEN_STORE": "redis://:hunter2@host",
        "SIDECAR_UPSTREAM_EGRESS_PROXY": "http://me:hunter2@proxy:1",
        "SIDECAR_TLS_CLIENT_KEY_PASSWORD": "hunter2",
    }
    shown = repr(load(None, environ))
    for secret in ("hunter2", CANARY_API_KEY, CANARY_EMBEDDED_KEY, CANARY_CALLER_KEY):
        assert secret not in shown


@pytest.mark.parametrize("text", [" k", "k ", "k\n", "a b", "k\tk", "\ufeffk", "ké"])
def test_a_key_in_place_is_as_strict_as_in_a_file(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{KEY} has "):
        load(None, {**ENVIRON, KEY: text})


def test_a_bad_file_is_told_with_the_variable_and_its_name(tmp_path: Path) -> None:
    file = written(tmp_path, "hunter2\n\n", "key")
    with pytest.raises(ConfigError) as caught:
        load(None, {**ENVIRON, KEY: "", f"{KEY}_FILE": str(file)})
    assert str(caught.value).startswith(f"{KEY}_FILE: {file} has whitespace around it: it must be a readable file")


def test_a_file_whose_value_does_not_fit_is_told_with_what_is_wanted(tmp_path: Path) -> None:
    file = written(tmp_path, "hunter 2", "key")
    with pytest.raises(ConfigError) as caught:
        load(None, {**ENVIRON, KEY: "", f"{KEY}_FILE": str(file)})
    assert str(caught.value) == (
        f"{KEY}_FILE: {file} has a space in it: it must hold the key as Mangopay's Dashboard shows it"
    )


def test_a_key_given_where_its_files_name_belongs_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"not shown") as caught:
        load(None, {**ENVIRON, KEY: "", f"{KEY}_FILE": CANARY_API_KEY})
    assert CANARY_API_KEY not in str(caught.value)
    assert str(caught.value).startswith(f"{KEY}_FILE names no file")


def test_a_short_caller_key_is_refused() -> None:
    environ = {**ENVIRON, "SIDECAR_LISTEN_CALLER_KEY": "fifteen letters"}
    with pytest.raises(
        ConfigError, match=r"^SIDECAR_LISTEN_CALLER_KEY is too short: give at least 16 ASCII characters$"
    ):
        load(None, environ)
    assert load(None, {**environ, "SIDECAR_LISTEN_CALLER_KEY": "sixteen letters!"}).listen.caller_key


# --- warnings ----------------------------------------------------------------------------------------------------


def test_a_secret_that_everybody_may_read_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, "hunter2", "key", 0o644)
    config = load(None, {**ENVIRON, KEY: "", f"{KEY}_FILE": str(file)})
    assert config.warnings == (
        f"{file} holds mangopay.api_key and every user of this machine may read it: chmod o-r it",
    )


def test_a_value_that_is_no_secret_may_be_read_by_everybody(tmp_path: Path) -> None:
    file = written(tmp_path, "acme", "client_id", 0o644)
    environ = {KEY: CANARY_API_KEY, "SIDECAR_MANGOPAY_CLIENT_ID_FILE": str(file), "SIDECAR_LOG_LEVEL": "info"}
    assert load(None, environ).warnings == ()


def test_a_configuration_file_with_a_secret_that_everybody_may_read_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]\nclient_id = 'acme'\napi_key = 'hunter2'", mode=0o644)
    [warning] = load(path, {}).warnings
    assert warning.startswith(f"{path} holds mangopay.api_key and ")


def test_a_configuration_file_without_a_secret_may_be_read_by_everybody(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]\nclient_id = 'acme'\n[token]\nstore = 'memory'", mode=0o644)
    assert load(path, {KEY: CANARY_API_KEY}).warnings == ()


# --- places that others may write to -----------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SIDECAR_LISTEN_UNIX_SOCKET", "{}/socket"),
        ("SIDECAR_TOKEN_STORE", "file:{}/store"),
        ("SIDECAR_TLS_CA_FILE", "{}/ca.pem"),
        ("SIDECAR_MANGOPAY_API_KEY_FILE", "{}/key"),
    ],
)
def test_a_place_that_others_could_put_something_else_in_is_told(
    variable: str, value: str, depth: int, tmp_path: Path
) -> None:
    directory = tmp_path / "a" / "b"
    directory.mkdir(parents=True)
    written(directory, "hunter2", "key")
    environ = {**ENVIRON, variable: value.format(directory)}
    if "KEY" in variable:
        del environ[KEY]
    assert load(None, environ).warnings == ()
    open_one = (directory, directory.parent)[depth]
    open_one.chmod(0o777)
    [warning] = load(None, environ).warnings
    assert f"every user of this machine may write to {open_one} and so replace {directory}" in warning
    open_one.chmod(0o1777)
    assert load(None, environ).warnings == ()


def test_a_place_that_cannot_be_looked_at_is_left_to_whoever_uses_it(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    environ = {**ENVIRON, "SIDECAR_LISTEN_UNIX_SOCKET": f"{loop}/socket", "SIDECAR_TOKEN_STORE": "file:/gone/x/store"}
    assert load(None, environ).warnings == ()
