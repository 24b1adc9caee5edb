"""A value in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.config.errors import ConfigError, InvalidValue
from sidecar.config.secret_file import MAX_FILE, anchored, read_secret_file, secret_path
from tests.support import configuration


def written(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    return configuration.written(directory, content, "key", mode)


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_one_line_end_is_dropped(tmp_path: Path, content: bytes) -> None:
    assert read_secret_file(written(tmp_path, content)).value.reveal() == "hunter2"


def test_utf_8_and_inner_spaces_stay(tmp_path: Path) -> None:
    assert read_secret_file(written(tmp_path, "pass wörd\n".encode())).value.reveal() == "pass wörd"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (b" \n", "whitespace around"),
        (b" hunter2", "whitespace around"),
        (b"hunter2 \n", "whitespace around"),
        (b"hunter2\t", "whitespace around"),
        (b"hunter2\n\n", "whitespace around"),
        (b"hunter2\r\n\r\n", "whitespace around"),
        (b"hunter2\n\r", "whitespace around"),
        (b"hunter2\r", "whitespace around"),
        (b"hunter2\r\r\n", "whitespace around"),
        (b"\nhunter2", "whitespace around"),
        ("hunter2\u00a0\n".encode(), "whitespace around"),
        (b"hunter2\nsecond line\n", "control character"),
        (b"hunter2\x00", "control character"),
        (b"hunt\x1ber2", "control character"),
        ("hunt\u200ber2".encode(), "invisible"),
        ("hunter2\ufeff".encode(), "invisible"),
        (b"\xef\xbb\xbfhunter2\n", "byte order mark"),
        ("hunter2".encode("utf-16"), "not UTF-8"),
        (b"hunter2\xff", "not UTF-8"),
        (b"hunter2" * 10_000, "is larger than"),
    ],
)
def test_anything_else_is_an_error_that_names_the_file_and_not_its_content(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_secret_file(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "hunter" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_no_exception_behind_the_error_holds_the_content(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_secret_file(written(tmp_path, b"hunter2\xff"))
    error: BaseException | None = caught.value
    while error is not None:
        assert b"hunter2" not in repr(vars(error) or error.args).encode()
        assert not isinstance(error, UnicodeDecodeError)
        error = error.__context__


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o444])
def test_a_file_that_everybody_may_read_is_told(tmp_path: Path, mode: int) -> None:
    assert read_secret_file(written(tmp_path, b"hunter2", mode)).world_readable


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640])
def test_a_file_for_owner_and_group_is_not(tmp_path: Path, mode: int) -> None:
    assert not read_secret_file(written(tmp_path, b"hunter2", mode)).world_readable


def test_the_mode_is_that_of_the_file_behind_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(written(tmp_path, b"hunter2", 0o600))
    assert not read_secret_file(link).world_readable


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent cannot be read \(No such file or directory\)"):
        read_secret_file(tmp_path / "absent")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read_secret_file(tmp_path)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ConfigError, match="no path has such characters"):
        read_secret_file(Path("/tmp/\0"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=50) | st.just(b"a" * (MAX_FILE + 1)))
def test_whatever_a_file_holds_it_is_a_clean_value_or_a_config_error(tmp_path: Path, content: bytes) -> None:
    try:
        value = read_secret_file(written(tmp_path, content)).value.reveal()
    except ConfigError:
        return
    assert value.isprintable()
    assert value == value.strip()
    assert value.encode() in (content, content[:-1], content[:-2])


# --- names of such files -----------------------------------------------------------------------------------------


def test_a_relative_name_starts_at_the_base(tmp_path: Path) -> None:
    written(tmp_path, b"hunter2")
    assert secret_path("key", tmp_path) == tmp_path / "key"


def test_a_missing_file_in_a_directory_that_is_there_may_be_named_later(tmp_path: Path) -> None:
    assert secret_path(f"{tmp_path}/absent", Path("/")) == tmp_path / "absent"


@pytest.mark.parametrize(
    "text", ["hunter2", "/hunter2", "hunter2/+x", "/hunter2/x", "h" * 300, "/tmp/" + "h" * 300 + "/x"]
)
def test_a_secret_in_place_of_a_name_is_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidValue, match="not shown"):
        secret_path(text, tmp_path)


@pytest.mark.parametrize("text", ["", " key", "key\n", "~/key"])
def test_a_name_must_be_clean_too(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidValue):
        secret_path(text, tmp_path)


def test_a_relative_path_needs_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        with pytest.raises(InvalidValue, match="working directory is gone"):
            anchored(Path("key"), Path())
        assert anchored(Path("/key"), Path()) == Path("/key")
    finally:
        os.chdir(tmp_path)
