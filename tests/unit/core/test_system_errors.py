"""Each error of the system has its words and its mend."""

from __future__ import annotations

import errno

import pytest

from sidecar.core.system_errors import mend, reason


@pytest.mark.parametrize(
    ("number", "words", "advice"),
    [
        (errno.EACCES, "Permission denied", "chown"),
        (errno.EPERM, "Operation not permitted", "chown"),
        (errno.ENOENT, "No such file or directory", "mount"),
        (errno.ENOTDIR, "Not a directory", "is a file"),
        (errno.EISDIR, "Is a directory", "in that directory"),
        (errno.ELOOP, "symbolic links", "in a circle"),
        (errno.EMLINK, "Too many links", "too many"),
        (errno.ENAMETOOLONG, "File name too long", "shorter"),
        (errno.ENOSPC, "No space left on device", "make room"),
        (errno.EDQUOT, "quota", "make room"),
        (errno.EROFS, "Read-only file system", "can be written"),
        (errno.EIO, "I/O|nput/output", "the disk"),
        (errno.ESTALE, "Stale", "again"),
        (errno.EMFILE, "Too many open files", "ulimit -n"),
        (errno.ENFILE, "Too many open files in system", "descriptors"),
        (errno.EAGAIN, "Resource temporarily unavailable", "ulimit -u"),
        (errno.ENOMEM, "Cannot allocate memory", "memory"),
        (errno.ENOBUFS, "No buffer space", "memory"),
    ],
)
def test_an_error_is_told_in_the_systems_words_and_with_what_to_do(number: int, words: str, advice: str) -> None:
    error = OSError(number, "words of somebody else", "/a/name/that/may/be/a/secret")
    assert any(each in reason(error) for each in words.split("|"))
    assert advice in (mend(error) or "")
    assert "secret" not in reason(error)


def test_one_without_a_number_is_told_by_its_kind() -> None:
    assert reason(TimeoutError("text of somebody")) == "TimeoutError"
    assert mend(TimeoutError("text of somebody")) is None


def test_one_with_a_number_of_the_resolvers_is_told_in_the_resolvers_words() -> None:
    assert reason(OSError(-2, "Name or service not known")) == "Name or service not known"
    assert reason(OSError(-2, "")) == "OSError"


def test_one_whose_mend_depends_has_none() -> None:
    assert mend(OSError(errno.EADDRINUSE, "")) is None
