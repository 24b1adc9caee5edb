"""In which line each key of a TOML document stands."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.lines import lines_of

DOCUMENT = '''\
# a comment
listen.port = 1   # dotted

admin = {port = 2, host = ["::1"]}
[mangopay]
client_id = "acme"
  "api_key" = """
[listen]
port = 3
"""

[ listen ] # again, with a comment
host = [
  "127.0.0.1",  # one

  "::1",
]
unix_socket = \'\'\'
# no comment
\'\'\'

[tls.client]
x.y = 1
[[token]]
store = "memory"
[empty]
'''


def test_each_key_has_the_line_that_it_begins_in() -> None:
    assert lines_of(DOCUMENT) == {
        "listen": 2,
        "listen.port": 2,
        "admin": 4,
        "admin.port": 4,
        "admin.host": 4,
        "mangopay": 5,
        "mangopay.client_id": 6,
        "mangopay.api_key": 7,
        "listen.host": 13,
        "listen.unix_socket": 18,
        "tls.client": 22,
        "token": 24,
        "token.store": 25,
        "empty": 26,
    }


@pytest.mark.parametrize("document", ["", "\n", "# only a comment", " \t \n"])
def test_a_document_may_say_nothing(document: str) -> None:
    assert lines_of(document) == {}


def test_line_ends_of_windows_count_once() -> None:
    assert lines_of("[listen]\r\n\r\nport = 1\r\n") == {"listen": 1, "listen.port": 3}


def test_a_statement_without_end_is_given_up() -> None:
    many = "\n".join("  1," for _ in range(5000))
    assert lines_of(f"[a]\nb = 1\nc = [\n{many}\n]\nd = 2") == {"a": 1, "a.b": 2}


def test_a_text_that_no_parser_can_follow_is_given_up() -> None:
    assert lines_of("a = " + "[" * 50_000) == {}


_KEYS = st.text("abc_-", min_size=1, max_size=4)
_VALUES = st.sampled_from(
    ['"x"', "1", "true", "[1,\n 2]", '"""\n[no]\nkey = 1\n"""', "'''#'''", "{a = 1}", "2026-01-01"]
)


@given(st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4))
def test_every_key_of_a_document_is_found_where_it_was_written(tables: dict[str, dict[str, str]]) -> None:
    lines: list[str] = []
    expected: dict[str, int] = {}
    for section, table in tables.items():
        lines += ["# comment", f"[{section}]"]
        expected[section] = len(lines)
        for key, value in table.items():
            lines.append(f"{key} = {value}")
            expected[f"{section}.{key}"] = len(lines)
            lines = "\n".join(lines).split("\n")
    document = "\n".join(lines)
    assert tomllib.loads(document).keys() == tables.keys()
    assert lines_of(document) == expected
