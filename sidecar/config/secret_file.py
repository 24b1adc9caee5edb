"""A value in a file of its own, read strictly: a key that is almost right can lock the account."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from sidecar.config.errors import ConfigError, InvalidValue, UnreadableFile
from sidecar.config.values import PATH, checked_text
from sidecar.core.edge import BOM
from sidecar.core.secret import Secret
from sidecar.core.text import printable_name

MAX_FILE: Final = 64 * 1024
#: Errors for a path that leads to no file; the last: the text is a key, and longer than a file name may be.
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_MEND: Final = "it must be a readable file with the value alone, in UTF-8, and at most one line end behind it"


#: What pipes and the like gave, by device and inode: each gives it once, and files are read anew for as long as the
#: process lives.
_spent: Final[dict[tuple[int, int], tuple[bytes, bool]]] = {}


class SecretFile(msgspec.Struct, frozen=True):
    """What a file held."""

    value: Secret
    #: Every user of this machine may read the file.
    world_readable: bool


def anchored(path: Path, base: Path) -> Path:
    """Return ``path`` made absolute: from ``base``, and that from the working directory. May raise InvalidValue."""
    try:
        return (base / path).absolute()
    except OSError:
        raise InvalidValue("is a relative path, while the working directory is gone") from None


def secret_path(text: str, base: Path) -> Path:
    """Return the absolute path that ``text`` names from ``base``.

    Raises InvalidValue without the name if it may be the secret itself, put where its file's name belongs: if there
    is no such file and no directory that it could be in.
    """
    name = PATH.parse(text)
    path = anchored(name, base)
    has_directory = len(name.parts) > (2 if name.is_absolute() else 1)
    if _exists(path) or (has_directory and _exists(path.parent)):
        return path
    raise InvalidValue("names no file that is there (the name is not shown, in case it is the secret itself)")


def _exists(path: Path) -> bool:
    """Whether there is a file, or something on its path that keeps this user from looking."""
    try:
        path.stat()
    except OSError as error:
        return error.errno not in _ABSENT
    except ValueError:
        return False
    return True


def read_secret_file(path: Path) -> SecretFile:
    r"""Read one value; one line end (``\n`` or ``\r\n``) behind it is dropped.

    Raises ConfigError, with the file's name and never its content, for an unreadable file and for a value
    that is empty, has other whitespace around it, a control or invisible character or a BOM, or is not UTF-8.
    """
    try:
        content, world_readable = read_bounded(path, MAX_FILE)
    except UnreadableFile as unfit:
        raise ConfigError(printable_name(path), str(unfit), unfit.mend or _MEND) from None
    complaint, text = _decode(content)
    if complaint:
        raise ConfigError(printable_name(path), complaint, _MEND)
    return SecretFile(Secret(text), world_readable)


def _decode(content: bytes) -> tuple[str, str]:
    """Return what is wrong with ``content`` (or nothing) and its text, so that no exception holds it."""
    if len(content) > MAX_FILE:
        return f"is larger than {MAX_FILE} bytes", ""
    if content.startswith(BOM):
        return "begins with a byte order mark", ""
    content = content[:-2] if content.endswith(b"\r\n") else content.removesuffix(b"\n")
    try:
        return "", checked_text(content.decode("utf-8"))
    except UnicodeDecodeError:
        return "is not UTF-8", ""
    except InvalidValue as unfit:
        return str(unfit), ""


def world_readable_warning(path: Path, what: str) -> str:
    """Return the sentence for the log about a file that all may read; ``what``: "holds mangopay.api_key"."""
    return f"{printable_name(path)} {what} and every user of this machine may read it: chmod o-r it"


def read_bounded(path: Path, limit: int) -> tuple[bytes, bool]:
    """Read ``path`` to its end, or one byte more than ``limit``; tell too whether every user may read it.

    What is no regular file (``<(vault read …)``) is read once: from then on its content of then is returned.
    Raises UnreadableFile, which ends the sentence "FILE …" and does not repeat its name.
    """
    try:
        if (known := _known(path.stat())) is not None:
            return known
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(limit + 1), bool(found.st_mode & stat.S_IROTH)
    except OSError as error:
        raise UnreadableFile(error) from None
    except ValueError:  # a zero byte, or characters that the file system's encoding lacks
        raise UnreadableFile(None) from None
    if not stat.S_ISREG(found.st_mode):
        _spent[found.st_dev, found.st_ino] = content
    return content


def can_be_read_again(path: Path) -> bool:
    """Whether :func:`read_bounded` has no need to wait for somebody to write to a pipe."""
    try:
        found = path.stat()
    except OSError:
        return True  # what is wrong with it is told to whoever reads it
    return stat.S_ISREG(found.st_mode) or _known(found) is not None


def _known(found: os.stat_result) -> tuple[bytes, bool] | None:
    return None if stat.S_ISREG(found.st_mode) else _spent.get((found.st_dev, found.st_ino))
