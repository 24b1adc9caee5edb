"""What the system refuses at the start is told in one line: which key or variable, which file, why, what to do."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.app import Sidecar
from sidecar.config import ConfigError, load
from sidecar.core.system_errors import mend
from sidecar.lifecycle import Lifecycle, StartError
from sidecar.runtime import SystemClock
from tests.support.app import CollectedLog
from tests.support.canary import CANARY_API_KEY
from tests.support.certificates import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BASE: Final = {
    "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
    "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
    "SIDECAR_MANGOPAY_BASE_URL": f"https://{ADDRESS}:9",
    "SIDECAR_TOKEN_PREFETCH": "false",
    "SIDECAR_LISTEN_PORT": "0",
    "SIDECAR_ADMIN_PORT": "off",
}

#: Every setting that names a file to be read, and what the error begins with.
_READ: Final = {
    "SIDECAR_CONFIG": "SIDECAR_CONFIG: ",
    "SIDECAR_MANGOPAY_API_KEY_FILE": "SIDECAR_MANGOPAY_API_KEY_FILE: ",
    "SIDECAR_MANGOPAY_EMBEDDED_API_KEY_FILE": "SIDECAR_MANGOPAY_EMBEDDED_API_KEY_FILE: ",
    "SIDECAR_MANGOPAY_CLIENT_ID_FILE": "SIDECAR_MANGOPAY_CLIENT_ID_FILE: ",
    "SIDECAR_LISTEN_CALLER_KEY_FILE": "SIDECAR_LISTEN_CALLER_KEY_FILE: ",
    "SIDECAR_UPSTREAM_EGRESS_PROXY_FILE": "SIDECAR_UPSTREAM_EGRESS_PROXY_FILE: ",
    "SIDECAR_TOKEN_STORE_FILE": "SIDECAR_TOKEN_STORE_FILE: ",
    "SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE": "SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE: ",
    "SIDECAR_TLS_CA_FILE": "tls.ca_file: ",
    "SIDECAR_TLS_EXTRA_CA_FILE": "tls.extra_ca_file: ",
    "SIDECAR_TLS_CLIENT_CERT_FILE": "tls.client_cert_file: ",
    "SIDECAR_TLS_CLIENT_KEY_FILE": "tls.client_key_file: ",
}
#: Those that are written to.
_WRITTEN: Final = {
    "SIDECAR_TOKEN_STORE": "token.store names ",
    "SIDECAR_LISTEN_UNIX_SOCKET": "SIDECAR_LISTEN_UNIX_SOCKET: ",
}


async def start_error(environ: Mapping[str, str]) -> str:
    """Start a sidecar that cannot; return the line that its user sees."""
    base = {name: text for name, text in _BASE.items() if f"{name}_FILE" not in environ}
    try:
        config = load(None, {**base, **environ})
        clock = SystemClock()
        sidecar = Sidecar(
            config, log=CollectedLog(clock).output, lifecycle=Lifecycle(clock, delay=0.0, drain=0.0), clock=clock
        )
    except (ConfigError, StartError) as error:
        return str(error)
    try:
        await sidecar.start()
    except StartError as error:
        return str(error)
    finally:
        await sidecar.close()
    pytest.fail("it started")


def _environ(variable: str, path: Path, directory: Path) -> dict[str, str]:
    """Name ``path`` by ``variable``, and have everything else in order."""
    environ = {variable: f"file:{path}" if variable == "SIDECAR_TOKEN_STORE" else str(path)}
    good = directory / "good.pem"
    good.write_text("whatever", encoding="utf-8")
    pair = {"SIDECAR_TLS_CLIENT_CERT_FILE": str(good), "SIDECAR_TLS_CLIENT_KEY_FILE": str(good)}
    if variable.startswith("SIDECAR_TLS_CLIENT"):
        environ = pair | environ
    return environ


def _absent(directory: Path) -> Path:
    return directory / "absent" / "file"


def _directory(directory: Path) -> Path:
    (made := directory / "directory").mkdir()
    return made


def _circle(directory: Path) -> Path:
    (directory / "a").symlink_to(directory / "b")
    (directory / "b").symlink_to(directory / "a")
    return directory / "a" / "file"


def _too_long(directory: Path) -> Path:
    return directory / ("x" * 256)


def _below_a_file(directory: Path) -> Path:
    (directory / "file").touch()
    return directory / "file" / "file"


def _holds(line: str, start: str, path: Path, number: int) -> None:
    assert line.startswith(start), line
    assert str(path)[:150] in line
    assert os.strerror(number) in line
    assert line.endswith(f": {mend(OSError(number, ''))}")
    assert "\n" not in line


@pytest.mark.parametrize("variable", _READ)
@pytest.mark.parametrize(
    ("make", "number"),
    [(_directory, errno.EISDIR), (_circle, errno.ELOOP), (_too_long, errno.ENAMETOOLONG)],
)
async def test_a_file_that_cannot_be_opened(
    variable: str, make: Callable[[Path], Path], number: int, tmp_path: Path
) -> None:
    path = make(tmp_path)
    _holds(await start_error(_environ(variable, path, tmp_path)), _READ[variable], path, number)


@pytest.mark.parametrize("variable", _READ)
@pytest.mark.parametrize(
    "number",
    [
        errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
        errno.EMLINK,
    ],
    ids=errno.errorcode.get,
)  # fmt: skip
async def test_a_file_that_the_system_refuses(
    variable: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user who may not, though tests may run as root; and on disks, mounts and machines that fail."""
    path = tmp_path / "refused"
    path.touch()
    opened = Path.open

    def refuse(self: Path, *arguments: object, **options: object) -> object:
        if self == path:
            raise OSError(number, os.strerror(number), str(self))
        return opened(self, *arguments, **options)  # type: ignore[call-overload]

    environ = _environ(variable, path, tmp_path)
    monkeypatch.setattr(Path, "open", refuse)
    _holds(await start_error(environ), _READ[variable], path, number)


@pytest.mark.parametrize(
    "variable", [name for name in _READ if name.endswith("_FILE") and _READ[name].startswith("SIDECAR_")]
)
async def test_a_secrets_file_in_a_directory_that_this_user_may_not_enter_is_no_absent_one(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "locked" / "file"
    looked, opened = Path.stat, Path.open

    def locked(original: Callable[..., object]) -> Callable[..., object]:
        def look(self: Path, *arguments: object, **options: object) -> object:
            if "locked" in self.parts:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
            return original(self, *arguments, **options)

        return look

    monkeypatch.setattr(Path, "stat", locked(looked))
    monkeypatch.setattr(Path, "open", locked(opened))
    _holds(await start_error(_environ(variable, path, tmp_path)), _READ[variable], path, errno.EACCES)


async def test_a_key_in_a_file_is_told_by_its_line(tmp_path: Path) -> None:
    document, path = tmp_path / "sidecar.toml", _directory(tmp_path)
    document.write_text(f'[listen]\ncaller_key_file = "{path}"\n', encoding="utf-8")
    line = await start_error({"SIDECAR_CONFIG": str(document)})
    _holds(line, f"{document}:2: listen.caller_key_file: ", path, errno.EISDIR)


# --- what is written to -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "make", "told"),
    [
        ("SIDECAR_TOKEN_STORE", _absent, "/absent, which is no directory: name a file in a directory that"),
        ("SIDECAR_TOKEN_STORE", _below_a_file, "/file, which is no directory: name a file in a directory that"),
        ("SIDECAR_TOKEN_STORE", _directory, "/directory, which is a directory: name a file in it"),
        ("SIDECAR_TOKEN_STORE", _too_long, "which cannot be looked at (File name too long): name a shorter path"),
        ("SIDECAR_LISTEN_UNIX_SOCKET", _absent, "(No such file or directory): check the path and the mount"),
        ("SIDECAR_LISTEN_UNIX_SOCKET", _below_a_file, "(Not a directory): check the path: a part of it"),
        ("SIDECAR_LISTEN_UNIX_SOCKET", _circle, "symbolic links): name the file itself"),
    ],
)
async def test_a_place_that_cannot_be_written_to(
    variable: str, make: Callable[[Path], Path], told: str, tmp_path: Path
) -> None:
    line = await start_error(_environ(variable, make(tmp_path), tmp_path))
    assert line.startswith(_WRITTEN[variable])
    assert told in line


async def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    """The system refuses it, or Python before the system is asked: that depends on Python's version."""
    line = await start_error(_environ("SIDECAR_LISTEN_UNIX_SOCKET", _too_long(tmp_path), tmp_path))
    assert "SIDECAR_LISTEN_UNIX_SOCKET" in line
    assert "File name too long" in line or "longer than the path of a socket may be" in line


async def test_a_directory_in_the_place_of_the_socket(tmp_path: Path) -> None:
    path = _directory(tmp_path)
    line = await start_error({"SIDECAR_LISTEN_UNIX_SOCKET": str(path)})
    assert line == f"{path} is there and is not a socket: set SIDECAR_LISTEN_UNIX_SOCKET"


async def test_a_path_longer_than_that_of_a_socket(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    line = await start_error({"SIDECAR_LISTEN_UNIX_SOCKET": str(path)})
    assert line == f"{path} is longer than the path of a socket may be: set SIDECAR_LISTEN_UNIX_SOCKET"


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get
)
async def test_a_socket_that_the_system_refuses(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"

    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    line = await start_error({"SIDECAR_LISTEN_UNIX_SOCKET": str(path), "SIDECAR_LISTEN_PORT": "off"})
    _holds(line, _WRITTEN["SIDECAR_LISTEN_UNIX_SOCKET"], path, number)


async def test_a_stale_socket_that_may_not_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    line = await start_error({"SIDECAR_LISTEN_UNIX_SOCKET": str(path), "SIDECAR_LISTEN_PORT": "off"})
    _holds(line, _WRITTEN["SIDECAR_LISTEN_UNIX_SOCKET"], path, errno.EPERM)


async def test_a_store_on_a_file_system_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(os.statvfs(tmp_path))
    found[8] |= os.ST_RDONLY  # f_flag
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(found))
    line = await start_error({"SIDECAR_TOKEN_STORE": f"file:{tmp_path}/tokens"})
    _holds(line, f"token.store names a file in {tmp_path} ", tmp_path, errno.EROFS)


# --- ports ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["LISTEN", "ADMIN"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
async def test_a_port_for_which_the_machine_is_short_of_something(
    section: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another address, or another port, would help nobody."""
    bind = socket.socket.bind

    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        if address[1] == 45_678:
            raise OSError(number, os.strerror(number))
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", refuse)
    line = await start_error({f"SIDECAR_{section}_PORT": "45678"})
    assert line.startswith(f"SIDECAR_{section}_PORT: port 45678 cannot be opened ({os.strerror(number)}): ")
    assert line.endswith(mend(OSError(number, "")) or "nothing")


@pytest.mark.parametrize("section", ["LISTEN", "ADMIN"])
@pytest.mark.parametrize(
    ("number", "told", "advice"),
    [
        (errno.EACCES, "port 45678 is for privileged users", "PORT to 1024 or above"),
        (errno.EADDRINUSE, "port 45678 is in use", "PORT"),
        (errno.EINVAL, "cannot be used (Invalid argument)", "HOST"),
    ],
)
async def test_a_port_that_is_refused(
    section: str, number: int, told: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = socket.socket.bind

    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        if address[1] == 45_678:
            raise OSError(number, os.strerror(number))
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", refuse)
    line = await start_error({f"SIDECAR_{section}_PORT": "45678"})
    assert told in line
    assert line.endswith(f"set SIDECAR_{section}_{advice}")
