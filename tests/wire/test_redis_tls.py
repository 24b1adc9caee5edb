"""TLS to a store in Redis has the rules of ours: always verified, by whom section [tls] trusts, no key log."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from structlog.testing import capture_logs

from sidecar.config import ConfigError, Tls
from sidecar.core.secret import Secret
from sidecar.network.resolver import look_up
from sidecar.network.trust import MAX_FILE
from sidecar.tokens.stores.backend import StoreError
from sidecar.tokens.stores.redis import RedisBackend
from tests.support.certificates import ADDRESS, leaf_pem
from tests.support.redis_server import RedisServer
from tests.support.redis_server import Tls as ServerTls
from tests.support.upstreams import ScriptedNames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.network.resolver import Addresses

pytestmark = pytest.mark.any_loop

NAME = "redis.test"


class Secured:
    """A server whose certificate an issuing CA made, for its address and NAME, and PEM files of both CAs."""

    def __init__(self, directory: Path) -> None:
        root = trustme.CA()
        issuing = root.create_child_ca()
        certificate = issuing.issue_cert(ADDRESS, NAME)
        self.root, self.issuing = directory / "root.pem", directory / "issuing.pem"
        self.key, self.cert = directory / "key.pem", directory / "cert.pem"
        root.cert_pem.write_to_path(self.root)
        issuing.cert_pem.write_to_path(self.issuing)
        self.cert.write_bytes(leaf_pem(certificate))
        certificate.private_key_pem.write_to_path(self.key)
        self.server = RedisServer(directory / "data", tls=ServerTls(self.cert, self.key, self.root))

    def url(self, query: str = "", host: str = ADDRESS) -> str:
        return f"rediss://{host}:{self.server.port}/0{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    secured = Secured(tmp_path_factory.mktemp("secured"))
    with secured.server:
        yield secured


async def used(url: str, tls: Tls | None = None, names: ScriptedNames | None = None) -> str:
    """Write through a store; return what is wrong, or nothing."""
    store = RedisBackend(Secret(url), tls, names=names)
    try:
        await store.probe()
    except StoreError as error:
        return str(error)
    finally:
        await store.close()
    return ""


def absent(directory: Path, _: str) -> Path:
    return directory / "absent"


def endless(directory: Path, parameter: str) -> Path:
    """Make a file, or a directory of them, that nobody should read to its end."""
    if parameter == "ssl_ca_path":
        for name in range(2):
            (directory / f"0000000{name}.0").write_bytes(bytes(MAX_FILE - 1))
        return directory
    path = directory / "endless"
    path.symlink_to("/dev/zero")
    return path


def circle(directory: Path, _: str) -> Path:
    (directory / "a").symlink_to(directory / "b")
    (directory / "b").symlink_to(directory / "a")
    return directory / "a"


def too_long(directory: Path, _: str) -> Path:
    return directory / ("x" * 300)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("ssl_cert_reqs=optional", "ssl_cert_reqs"),
        ("ssl_check_hostname=false", "ssl_check_hostname"),
        ("ssl_check_hostname=no&ssl_cert_reqs=none", "ssl_cert_reqs, ssl_check_hostname"),
        ("ssl_exclude_verify_flags=VERIFY_X509_TRUSTED_FIRST", "ssl_exclude_verify_flags"),
        ("ssl_include_verify_flags=VERIFY_ALLOW_PROXY_CERTS", "ssl_include_verify_flags"),
        ("ssl_ciphers=aNULL", "ssl_ciphers"),
        ("ssl_min_version=770", "ssl_min_version"),
    ],
)
def test_a_url_that_would_weaken_tls_is_refused(query: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisBackend(Secret(f"rediss://me:canary@host/0?{query}"))
    assert str(caught.value).startswith(f"token.store would weaken TLS by {named}: leave that out")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("query", ["ssl_cert_reqs=required", "ssl_check_hostname=true", "ssl_min_version=771"])
def test_a_url_that_says_what_holds_anyway_is_taken(query: str) -> None:
    assert RedisBackend(Secret(f"rediss://host/0?{query}")).place == "host:6379/0"


@pytest.mark.parametrize("key", ["ca_file", "extra_ca_file"])
@pytest.mark.parametrize("which", ["root", "issuing"])
async def test_whom_section_tls_trusts_is_trusted(secured: Secured, key: str, which: str) -> None:
    assert await used(secured.url(), Tls(**{key: getattr(secured, which)})) == ""


@pytest.mark.parametrize("which", ["root", "issuing"])
async def test_whom_the_url_names_is_trusted_besides(secured: Secured, which: str, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    query = f"?ssl_ca_certs={getattr(secured, which)}"
    assert await used(secured.url(query), Tls(ca_file=other)) == ""
    assert "not trusted: its issuer is not trusted here" in await used(secured.url(), Tls(ca_file=other))


async def test_another_name_is_told_in_words(secured: Secured) -> None:
    url, trusted = secured.url(host="localhost"), Tls(ca_file=secured.root)
    assert await used(url, trusted) == "shows a certificate that is not trusted: it is for another host name"


async def test_no_key_of_a_connection_is_written_anywhere(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    assert await used(secured.url(), Tls(ca_file=secured.root)) == ""
    assert not log.exists()


async def test_an_absolute_name_is_resolved_with_its_dot_and_verified_without(secured: Secured) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Addresses:
        asked.append(host)
        return look_up(ADDRESS, port, socket.AI_NUMERICHOST)

    url = secured.url(host=f"{NAME}.")
    assert await used(url, Tls(ca_file=secured.root), ScriptedNames(resolve)) == ""
    assert asked == [f"{NAME}."]


async def test_a_ca_file_that_changes_counts_for_the_next_connection(secured: Secured, tmp_path: Path) -> None:
    named = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(named)
    store = RedisBackend(Secret(secured.url(f"?ssl_ca_certs={named}")))
    with pytest.raises(StoreError, match="not trusted"):
        await store.probe()
    named.write_bytes(secured.root.read_bytes())
    await store.probe()
    await store.close()


async def test_a_new_ca_file_that_is_no_good_is_told_once_and_the_old_one_stays(
    secured: Secured, tmp_path: Path
) -> None:
    named = tmp_path / "ca.pem"
    named.write_bytes(secured.root.read_bytes())
    store = RedisBackend(Secret(secured.url(f"?ssl_ca_certs={named}")))
    with capture_logs() as logs:
        await store.probe()
        named.write_text("no certificate", encoding="utf-8")
        for _ in range(2):
            await store.rest()
            await store.probe()
        named.write_bytes(secured.root.read_bytes() * 2)
        await store.rest()
        await store.probe()
        await store.close()
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("store.tls_unchanged", "warning")
    assert entry["message"].startswith(f"token.store: ssl_ca_certs {named} holds no CA certificates")


@pytest.mark.parametrize("where", ["URL", "section"])
async def test_a_ca_file_that_holds_none_is_told(secured: Secured, tmp_path: Path, where: str) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate", encoding="utf-8")
    if where == "URL":
        said = await used(secured.url(f"?ssl_ca_certs={empty}"))
        assert said.startswith(f"cannot be verified: token.store: ssl_ca_certs {empty} holds no CA certificates")
    else:
        said = await used(secured.url(), Tls(extra_ca_file=empty))
        assert said.startswith("cannot be verified: tls.extra_ca_file")


async def test_a_client_certificate_is_shown(secured: Secured) -> None:
    query = f"?ssl_certfile={secured.cert}&ssl_keyfile={secured.key}"
    assert await used(secured.url(query), Tls(ca_file=secured.root)) == ""
    wrong = f"?ssl_certfile={secured.cert}&ssl_keyfile={secured.root}"
    said = await used(secured.url(wrong), Tls(ca_file=secured.root))
    assert said.startswith(f"cannot be verified: token.store: ssl_certfile {secured.cert} cannot be used with its key")


@pytest.mark.parametrize("parameter", ["ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize(
    ("make", "told", "advice"),
    [
        (absent, "cannot be read (No such file or directory)", "check the path and the mount"),
        (endless, "larger than 4194304 bytes|holds more than 4194304 bytes", "name PEM files"),
        (circle, "cannot be read (Too many levels of symbolic links)", "name the file itself"),
        (too_long, "cannot be read (File name too long)", "name a shorter path"),
    ],
)
async def test_files_that_the_url_names_have_the_limits_of_section_tls(
    secured: Secured, tmp_path: Path, parameter: str, make: Callable[[Path, str], Path], told: str, advice: str
) -> None:
    """What is wrong, with which parameter, which file, and what to do: the URL itself is not shown."""
    path = make(tmp_path, parameter)
    query = f"?{parameter}={path}"
    if parameter == "ssl_keyfile":
        query += f"&ssl_certfile={secured.cert}"
    said = await used(secured.url(query), Tls(ca_file=secured.root))
    assert said.startswith(f"cannot be verified: token.store: {parameter} {str(path)[:200]}")
    assert any(each in said for each in told.split("|"))
    assert advice in said
    assert "rediss:" not in said


async def test_a_directory_of_certificates_is_read_by_their_hashes(secured: Secured, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    directory = tmp_path / "certificates"
    directory.mkdir()
    (directory / "README").write_text("no certificate", encoding="utf-8")
    (directory / "01234567.0").write_bytes(other.read_bytes().rstrip())
    (directory / "89abcdef.0").write_bytes(secured.root.read_bytes())
    assert await used(secured.url(f"?ssl_ca_path={directory}"), Tls(ca_file=other)) == ""


async def test_a_name_that_hangs_is_given_up_by_whoever_waits(secured: Secured) -> None:
    async def resolve(host: str, port: int) -> Addresses:
        await asyncio.Event().wait()
        return []

    store = RedisBackend(Secret(secured.url(host=NAME)), names=ScriptedNames(resolve))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.probe(), 0.05)
    await store.close()


@pytest.mark.parametrize("in_vain", [False, True], ids=["its end is waited for", "an operation is given up first"])
async def test_a_connection_to_a_server_that_stands_still_is_closed_when_it_is_waited_for_no_longer(
    secured: Secured, in_vain: bool
) -> None:
    """TLS would wait for the server's goodbye, and a process that ends meanwhile leaves its socket open."""
    store = RedisBackend(Secret(secured.url()), Tls(ca_file=secured.root))
    await store.probe()
    (connection,) = store._pool._available_connections
    assert connection._writer is not None
    descriptor = connection._writer.transport.get_extra_info("socket").fileno()
    opened = socket_behind(descriptor)
    assert opened is not None
    secured.server.stop()
    try:
        if in_vain:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.probe(), 0.05)
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.close(), 0.05)
        for _ in range(100):
            await asyncio.sleep(0)
        assert socket_behind(descriptor) != opened
        await asyncio.wait_for(store.close(), 5)
    finally:
        secured.server.go_on()


def socket_behind(descriptor: int) -> str | None:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except FileNotFoundError:
        return None
