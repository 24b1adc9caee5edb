"""Whatever the environment and the files say: a configuration, or one clean line; and never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.config import Config, ConfigError, load
from sidecar.config.model import SECTIONS, SETTINGS
from tests.support.configuration import ENVIRON, OTHER_VALUES, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sidecar.config.setting import Setting

VARIABLES = [setting.variable for setting in SETTINGS]
VARIABLES += [f"{setting.variable}_FILE" for setting in SETTINGS if setting.allows_file]
KEYS = sorted({setting.key for setting in SETTINGS} | {f"{s.key}_file" for s in SETTINGS if s.allows_file})
SECRETS = [setting for setting in SETTINGS if setting.kind.is_secret]

variable_names = st.sampled_from([*VARIABLES, "SIDECAR_CONFIG", "HTTPS_PROXY"]) | st.text(max_size=5).map(
    lambda text: f"SIDECAR_{text}"
)
texts = st.text(max_size=30) | st.sampled_from([*OTHER_VALUES.values(), "1e5", "-0", "off", "tcp://x", "/", ".", "a,b"])
toml_values = st.one_of(
    st.text(max_size=20).map(lambda text: f"'{text}'"),
    st.sampled_from(
        ["true", "nan", "-inf", "1e400", "2026-01-01", "07:00:00", "[]", "[[1]]", "{a = 1}", "'''\n'''", "0x10"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from([f"'{text}'" for text in OTHER_VALUES.values()]),
)
toml_lines = st.one_of(
    st.sampled_from([f"[{section}]" for section in SECTIONS]),
    st.builds(lambda key, value: f"{key} = {value}", st.sampled_from(KEYS), toml_values),
    st.text(max_size=20),
)
SETTINGS_OF_A_RUN = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def attempt(path: Path | None, environ: Mapping[str, str]) -> Config | str:
    """Load; return the configuration or the error's lines, each of which must be a clean one."""
    try:
        return load(path, environ)
    except ConfigError as error:
        for line in error.lines:
            assert line.isprintable()
            assert 0 < len(line) < 1200
        return str(error)


@SETTINGS_OF_A_RUN
@given(st.dictionaries(variable_names, texts, max_size=6), st.booleans())
@example({"SIDECAR_CONFIG": "\ud800"}, False)
def test_no_environment_makes_it_raise_anything_but_a_config_error(environ: dict[str, str], complete: bool) -> None:
    attempt(None, {**ENVIRON, **environ} if complete else environ)


@SETTINGS_OF_A_RUN
@given(content=st.lists(toml_lines, max_size=8).map("\n".join) | st.text(max_size=100))
def test_no_text_of_a_file_makes_it_raise_anything_but_a_config_error(tmp_path: Path, content: str) -> None:
    attempt(written(tmp_path, content.encode("utf-8", "surrogatepass")), ENVIRON)


@SETTINGS_OF_A_RUN
@given(content=st.binary(max_size=100))
def test_no_bytes_of_a_file_make_it_raise_anything_but_a_config_error(tmp_path: Path, content: bytes) -> None:
    attempt(written(tmp_path, content), ENVIRON)


# --- secrets -----------------------------------------------------------------------------------------------------

#: Long enough not to stand in a message by chance.
CORE = "Xq7hunter2Zv"
around = st.text(max_size=3) | st.sampled_from(
    ["", " ", "\n", "\ufeff", "\x00", "http://u:", "redis://:", "@proxy:1", "%", "é"]
)
shapes = st.builds(lambda before, after: f"{before}{CORE}{after}", around, around) | st.sampled_from(
    [
        f"http://me:{CORE}@proxy",
        f"http://me:{CORE}%0a@proxy:1",
        f"redis://:{CORE}@h ost",
        f"file:{CORE}",
        f"memory {CORE}",
    ]
)


def never_shown(outcome: Config | str) -> None:
    if isinstance(outcome, Config):
        if outcome.token.store.kind != "file":  # a path, and no secret
            assert CORE not in repr(outcome)
        assert CORE not in " ".join(outcome.warnings)
    else:
        assert CORE not in outcome


@SETTINGS_OF_A_RUN
@given(setting=st.sampled_from(SECRETS), text=shapes)
def test_no_message_shows_a_secret_of_a_variable(setting: Setting, text: str) -> None:
    never_shown(attempt(None, {**ENVIRON, setting.variable: text}))


@SETTINGS_OF_A_RUN
@given(variable=st.sampled_from([*VARIABLES, "SIDECAR_NONSENSE", "HTTPS_PROXY"]), text=shapes)
def test_no_error_shows_a_secret_that_stands_under_any_variable(variable: str, text: str) -> None:
    outcome = attempt(None, {**ENVIRON, variable: text})
    if isinstance(outcome, str):
        assert CORE not in outcome


@SETTINGS_OF_A_RUN
@given(
    setting=st.sampled_from(SECRETS),
    text=shapes,
    quote=st.sampled_from(["'", '"', "'''", ""]),
    end=st.sampled_from(["", "'", "\n=", "\n[", "\nport = 1"]),
)
def test_no_message_shows_a_secret_of_the_file(
    tmp_path: Path, setting: Setting, text: str, quote: str, end: str
) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != setting.variable}
    content = f"[{setting.section}]\n{setting.key} = {quote}{text}{quote}{end}"
    never_shown(attempt(written(tmp_path, content.encode("utf-8", "surrogatepass")), environ))


@SETTINGS_OF_A_RUN
@given(setting=st.sampled_from([s for s in SECRETS if s.allows_file]), text=shapes, raw=st.binary(max_size=3))
def test_no_message_shows_a_secret_of_a_file_of_its_own(
    tmp_path: Path, setting: Setting, text: str, raw: bytes
) -> None:
    file = written(tmp_path, text.encode("utf-8", "surrogatepass") + raw, "value")
    environ = {name: value for name, value in ENVIRON.items() if name != setting.variable}
    never_shown(attempt(None, {**environ, f"{setting.variable}_FILE": str(file)}))


def test_the_check_itself_can_fail() -> None:
    with pytest.raises(AssertionError):
        never_shown(f"SIDECAR_MANGOPAY_API_KEY is {CORE}")
