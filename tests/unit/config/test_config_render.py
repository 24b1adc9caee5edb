"""What people read is made from the model, and is valid itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from sidecar.config import ConfigError, load
from sidecar.config.model import SECTIONS, SETTINGS
from sidecar.config.render import render_example, render_table
from sidecar.config.setting import REQUIRED, Setting
from tests.support.configuration import ENVIRON, written

ROOT = Path(__file__).parents[3]
#: A commented line that is TOML: "# key = value".
COMMENTED = re.compile(r"^# ([a-z_]+) = (.*)$", re.MULTILINE)


def test_the_example_in_the_repository_is_the_rendered_one() -> None:
    # If this fails, write it again: the module's docstring says how.
    assert (ROOT / "config.example.toml").read_text(encoding="utf-8") == render_example()


def test_the_documentation_has_the_rendered_table() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- made by sidecar.config.render: begin -->\n")
    table, _, _ = rest.partition("<!-- made by sidecar.config.render: end -->")
    assert table == render_table()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_key_has_a_row_in_the_table(setting: Setting) -> None:
    [row] = [row for row in render_table().splitlines() if row.startswith(f"| `{setting.name}` |")]
    assert row.count("|") == 5
    assert f"`{setting.variable}`" in row
    assert setting.doc in row


def test_the_example_sets_nothing() -> None:
    assert tomllib.loads(render_example()) == {section: {} for section in SECTIONS}


def test_the_example_as_it_is_loads_with_the_variables_that_are_required(tmp_path: Path) -> None:
    assert load(written(tmp_path, render_example()), ENVIRON) == load(None, ENVIRON)


def test_the_example_alone_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mangopay.client_id is missing"):
        load(written(tmp_path, render_example()), {})


def uncommented(directory: Path) -> str:
    """Return the example with every key in effect, its secrets in files of ``directory``."""
    text = COMMENTED.sub(r"\1 = \2", render_example()).replace("/run/secrets", str(directory))
    for path in re.findall(rf'"({directory}/[a-z_]+)"', text):
        written(directory, "a secret of 16 letters" if "caller" in path else "hunter2", path)
    return text


def test_the_example_shows_every_key_once() -> None:
    shown = [
        (section, key)
        for section, keys in tomllib.loads(COMMENTED.sub(r"\1 = \2", render_example())).items()
        for key in keys
    ]
    expected = [
        (setting.section, setting.key)
        if (setting.section, setting.key) in shown
        else (setting.section, f"{setting.key}_file")
        for setting in SETTINGS
    ]
    assert shown == expected


def test_every_line_of_the_example_is_valid_when_it_is_uncommented(tmp_path: Path) -> None:
    assert load(written(tmp_path, uncommented(tmp_path)), {}).mangopay.client_id == "acme"


@pytest.mark.parametrize(
    "setting", [s for s in SETTINGS if s.default is not None and s.default is not REQUIRED], ids=lambda s: s.name
)
def test_a_commented_default_is_the_default(tmp_path: Path, setting: Setting) -> None:
    section = render_example().partition(f"\n[{setting.section}]\n")[2].partition("\n[")[0]
    [(key, value)] = [found for found in COMMENTED.findall(section) if found[0] == setting.key]
    path = written(tmp_path, f"[{setting.section}]\n{key} = {value}\n")
    assert load(path, ENVIRON) == load(None, ENVIRON)


def test_no_secret_is_shown_that_only_had_to_be_uncommented() -> None:
    assert not re.search(
        r"^# (api_key|embedded_api_key|caller_key|client_key_password) = ", render_example(), re.MULTILINE
    )


def test_lines_are_short_enough_to_read() -> None:
    assert max(map(len, render_example().splitlines())) <= 120
