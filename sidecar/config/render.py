"""The model, written for people: the commented example, and the documentation's table.

``config.example.toml`` and the table in ``docs/configuration.md`` are this module's output; tests compare them::

    python -c 'from sidecar.config.render import render_example; print(render_example(), end="")'
    python -c 'from sidecar.config.render import render_table; print(render_table(), end="")'
"""

import json
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from sidecar.config.model import SECTIONS, SETTINGS
from sidecar.config.setting import REQUIRED, Setting

_WIDTH: Final = 110

_HEADER: Final = """\
Configuration of mangopay-sidecar. A line that is commented out shows the default, or an example where there is none.

Every key also has an environment variable, which wins over this file: listen.port is SIDECAR_LISTEN_PORT. A key that \
holds a string may be given as <key>_file instead, the name of a file that holds the value alone. Relative paths start \
at this file's directory.

Durations are seconds, or text such as "500ms", "5s", "10m", "1h". Sizes are bytes, or text such as "64KiB", "16MiB" \
(1024) or "10MB" (1000)."""


def render_example() -> str:
    """Return a configuration file that shows every key, each commented out."""
    lines = list(_comment(_HEADER))
    for section, settings in groupby(SETTINGS, key=lambda setting: setting.section):
        lines += ["", "", *_comment(SECTIONS[section].__doc__ or ""), f"[{section}]"]
        for setting in settings:
            required = "Required. " if setting.default is REQUIRED else ""
            lines += ["", *_comment(required + _meaning(setting)), f"# {_assignment(setting)}"]
    return "\n".join(lines) + "\n"


def render_table() -> str:
    """Return every key as rows of a Markdown table."""
    head = ("| key | variable | default | meaning |", "| --- | --- | --- | --- |")
    rows = [
        f"| `{setting.name}` | `{setting.variable}` | {_default(setting)} | {_meaning(setting)} |"
        for setting in SETTINGS
    ]
    return "\n".join((*head, *rows)) + "\n"


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        for line in textwrap.wrap(paragraph, _WIDTH, break_on_hyphens=False) or [""]:
            yield f"# {line}".rstrip()


def _meaning(setting: Setting) -> str:
    sentences = [setting.doc]
    if _is_shown_as_file(setting):
        sentences.append(f"Better as `{setting.key}_file` than in place, as `{setting.key}`.")
    return " ".join(sentences)


def _assignment(setting: Setting) -> str:
    if _is_shown_as_file(setting):
        # A key that people only have to uncomment would be tried on Mangopay, or guard nothing.
        return f'{setting.key}_file = "/run/secrets/{setting.section}_{setting.key}"'
    has_default = setting.default is not None and setting.default is not REQUIRED
    return f"{setting.key} = {_toml(setting.default if has_default else setting.example)}"


def _is_shown_as_file(setting: Setting) -> bool:
    return (
        setting.kind.is_secret
        and setting.allows_file
        and setting.example is None
        and not isinstance(setting.default, str)
    )


def _default(setting: Setting) -> str:
    if setting.default is REQUIRED:
        return "required"
    return "none" if setting.default is None else f"`{_toml(setting.default)}`"


def _toml(value: object) -> str:
    """Write a string, number, boolean or array of them; JSON's way is valid TOML for what we have."""
    return json.dumps(value, ensure_ascii=False)
