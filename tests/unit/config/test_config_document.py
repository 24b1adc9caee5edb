"""The TOML file: what does not belong there is an error that names file, place and the nearest known key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.config import ConfigError, load
from sidecar.config.sources import MAX_FILE, read_document
from tests.support.configuration import ENVIRON, complaining, written


def complaint_of(path: Path) -> str:
    """Load ``path`` and return the error's line, less how the file was named, its name and the line in it."""
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON)
    line = str(caught.value).removeprefix("--config: ")
    assert line.isprintable()
    assert line.startswith(str(path))
    return re.sub(r"^:\d+", "", line.removeprefix(str(path)))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[lisen]\nport = 1", ": lisen is no section: the nearest is [listen]"),
        ("[upstreams]", ": upstreams is no section: the nearest is [upstream]"),
        ("[listen]\nprot = 1", ": listen.prot is no key: the nearest is listen.port"),
        ("[listen]\nmax-body = 1", ": listen.max-body is no key: the nearest is listen.max_body"),
        ("[listen]\nport_file = 'x'", ": listen.port_file is no key: the nearest is listen.port"),
        ("[tls]\nca_file_file = 'x'", ": tls.ca_file_file is no key: the nearest is tls.ca_file"),
        ("[mangopay]\napikey = 'x'", ": mangopay.apikey is no key: the nearest is mangopay.api_key"),
        ("[listen]\npool_size = 1", ": listen.pool_size is no key: the nearest is upstream.pool_size"),
        ("[mangopay]\nport = 1", ": mangopay.port is no key: the nearest is "),
        ("[mangopay]\nendpoint = 'x'", ": mangopay.endpoint is no key: "),
        ("client_id = 'acme'", ": client_id stands outside a section: the nearest key is mangopay.client_id"),
        ("prot = 1", ": prot stands outside a section: the nearest key is "),
        ("secret_files = 1", ": secret_files stands outside a section"),
        ("listen = 1", ": listen is an integer: write it as a table, [listen]"),
        ("[[listen]]\nport = 1", ": listen is an array: write it as a table, [listen]"),
        ("[listen.port]\nx = 1", ": listen.port is a table: give a number from 0 to 65535"),
        ("[listen]\nport = '8080'", ": listen.port is a string: give a number from 0 to 65535"),
        ("[listen]\nport = true", ": listen.port is a boolean: give a number"),
        ("[listen]\nport = 8080.0", ": listen.port is a float: give a number"),
        ("[listen]\nport = 70000", ": listen.port is out of range: give a number"),
        ("[listen]\nhost = 5", ": listen.host is an integer: give an array"),
        ("[listen]\nhost = []", ": listen.host is an empty array: give an array"),
        ("[listen]\nallowed_hosts = ['a', 'b:80']", ": listen.allowed_hosts has an entry (number 2) that is neither"),
        ("[token]\nprefetch = 'true'", ": token.prefetch is a string: give true or false"),
        ("[token]\nprefetch = 1", ": token.prefetch is an integer: give true or false"),
        ("[token]\nwait_timeout = 0", ": token.wait_timeout is out of range: give a duration from 1ms to 24h"),
        ("[token]\nwait_timeout = nan", ": token.wait_timeout is out of range"),
        ("[token]\nwait_timeout = 2026-01-01", ": token.wait_timeout is a date or time: give a duration"),
        ("[upstream]\npool_size = 0", ": upstream.pool_size is out of range: give a whole number from 1 to 10000"),
        ("[mangopay]\napi_key = 12345", ": mangopay.api_key is an integer: give the key as Mangopay's Dashboard shows"),
        ("[mangopay]\napi_key_file = 1", ": mangopay.api_key_file is an integer: give the path of a file"),
        ("[mangopay]\nembedded_api_key = ''", ": mangopay.embedded_api_key is empty: give the key"),
        ("[log]\nlevel = 'warn'", ": log.level is none of the known names (the nearest is warning): give one of debug"),
    ],
)
def test_what_does_not_belong_there(tmp_path: Path, content: str, complaint: str) -> None:
    # The variables give client_id and api_key; here the file's own are looked at.
    environ = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme"}
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load(path, environ if "[mangopay]\napi_key" in content else ENVIRON)
    # The line is the last one of each of these documents, but where a table's header is what is wrong.
    line = 1 if complaint.startswith((": lisen ", ": upstreams ", ": listen ", ": listen.port is a table")) else None
    line = line or len(content.splitlines())
    assert caught.value.lines[0].startswith(f"{path}:{line}{complaint}")


def test_both_spellings_in_the_file_are_an_error_even_if_a_variable_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]\napi_key = 'hunter2'\napi_key_file = '/x'")
    assert (
        complaint_of(path) == f": mangopay.api_key and {path}:3: mangopay.api_key_file are both set: keep one of them"
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[listen\n", " is not valid TOML at line 1, column 8: correct that line (strings need quotes)"),
        (
            "a = hunter2",
            " is not valid TOML at line 1, column 5 (invalid value): correct that line (strings need quotes)",
        ),
        ("[mangopay]\n\napi_key = 'hunter2", " is not valid TOML at "),
        ("[mangopay]\napi_key = 'a'\napi_key = 'hunter2'\n", " is not valid TOML at line 3"),
        ("[listen]\n[listen]", " is not valid TOML at line 2"),
        ('[a]\nb = "\x01"', " is not valid TOML at line 2, column 6"),
        ("a = [1, 2", " is not valid TOML at end of document (unclosed array)"),
        ("a = {x = 1, x = 2}", " is not valid TOML at line 1"),
        ("a = 2026-13-45", " is not valid TOML at line 1"),
        ("a = " + "9" * 5000, " is not valid TOML (a number too long"),
        ("a = " + "[" * 50_000, " is not valid TOML"),
        (b"\xef\xbb\xbf[listen]", " begins with a byte order mark: save it as UTF-8 without one"),
        ("[listen]".encode("utf-16"), " is not UTF-8: save it as UTF-8"),
        (b"a = '\xff'", " is not UTF-8: save it as UTF-8"),
        (b"#" * (MAX_FILE + 1), " is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_toml_is_told_with_its_place_and_without_its_text(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    told = complaint_of(written(tmp_path, content))
    assert told.startswith(complaint)
    assert "hunter2" not in told


def test_no_exception_behind_the_error_holds_the_document(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, b"[mangopay]\napi_key = 'hunter2'\nx = '\xff'"), ENVIRON)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "[listen]\n", "listen = {}"])
def test_a_file_may_say_nothing(tmp_path: Path, content: str) -> None:
    assert load(written(tmp_path, content), ENVIRON) == load(None, ENVIRON)


def test_other_ways_to_write_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, 'listen.port = 1\nadmin = {port = 2}\r\nlog.level = "debug"')
    config = load(path, ENVIRON)
    assert (config.listen.port, config.admin.port, config.log.level) == (1, 2, "debug")


def test_a_missing_file(tmp_path: Path) -> None:
    assert complaint_of(tmp_path / "absent").startswith(" cannot be read (No such file or directory): check the path")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert complaint_of(tmp_path).startswith(" cannot be read (Is a directory)")


@pytest.mark.parametrize("name", ["\0", "a\nb", "\ud800", "x" * 5000, "a\x1b[31m"])
def test_a_file_with_an_impossible_name(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Path("/tmp") / name, ENVIRON)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_odd_keys_stay_on_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, '[listen]\n"a\\nb\\u001b[31m" = 1')
    assert r"'listen.a\nb\x1b[31m' is no key" in complaint_of(path)


def test_entries_are_found_with_their_place(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay]\napi_key_file = 'key'\n[listen]\nport = 1")
    document = complaining(read_document, path)
    assert [(given.where, given.value, given.from_file) for given in document.given.values()] == [
        (f"{path}:2: mangopay.api_key_file", "key", True),
        (f"{path}:4: listen.port", 1, False),
    ]


def test_all_that_is_wrong_is_told_at_once_each_in_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """\
[mangopay]
client_id = "acme"
apikey = "hunter2"

[listen]
port = 70000
host = []
[lisen]
x = 1
[log]
level = "warn"
[token]
prefetch = 1
""",
    )
    environ = {**ENVIRON, "SIDECAR_LISTEN_PROT": "1", "SIDECAR_UPSTREAM_POOL_SIZE": "many"}
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    starts = [
        "SIDECAR_LISTEN_PROT is no variable of the sidecar: the nearest is SIDECAR_LISTEN_PORT",
        f"{path}:3: mangopay.apikey is no key: the nearest is mangopay.api_key",
        f"{path}:8: lisen is no section: the nearest is [listen]",
        f"{path}:7: listen.host is an empty array: give an array",
        f"{path}:6: listen.port is out of range: give a number",
        f"{path}:13: token.prefetch is an integer: give true or false",
        "SIDECAR_UPSTREAM_POOL_SIZE is not a whole number: give a whole number",
        f"{path}:11: log.level is none of the known names (the nearest is warning)",
    ]
    assert len(caught.value.lines) == len(starts)
    for line, start in zip(caught.value.lines, starts, strict=True):
        assert line.startswith(start)
        assert "hunter2" not in line
    assert str(caught.value) == "\n".join(caught.value.lines)


def test_what_a_file_that_cannot_be_read_may_hold_is_not_told_to_be_missing(tmp_path: Path) -> None:
    path = written(tmp_path, "[mangopay\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {"SIDECAR_LISTEN_PORT": "x"})
    assert [line.partition(" ")[0] for line in caught.value.lines] == [str(path), "SIDECAR_LISTEN_PORT"]


def test_all_rules_between_keys_that_are_broken_are_told(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[listen]\nport = 'off'\nallowed_hosts = ['a']\n[tls]\nclient_cert_file = 'x'\n[mangopay]\nbase_url = 'http://a'",
    )
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON)
    assert [line.partition(" ")[0] for line in caught.value.lines] == [
        "mangopay.base_url",
        "listen.allowed_hosts",
        "listen.port",
        "tls.client_cert_file",
    ]
