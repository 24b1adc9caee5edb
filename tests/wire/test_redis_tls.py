"""TLS to a store in Redis has the rules of ours: always verified, by whom section [tls] trusts, no key log."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
import trustme

from sidecar.config import ConfigError, Tls
from sidecar.core.secret import Secret
from sidecar.network.resolver import look_up
from sidecar.tokens.stores.backend import StoreError
from sidecar.tokens.stores.redis import RedisBackend
from tests.support.certificates import ADDRESS, leaf_pem
from tests.support.redis_server import RedisServer
from tests.support.redis_server import Tls as ServerTls
from tests.support.upstreams import ScriptedNames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.mark.parametrize("where", ["URL", "section"])
async def test_a_ca_file_that_holds_none_is_told(secured: Secured, tmp_path: Path, where: str) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate", encoding="utf-8")
    if where == "URL":
        said = await used(secured.url(f"?ssl_ca_certs={empty}"))
        assert said.startswith("cannot be verified: token.store names a certificate or key behind ? that cannot be")
    else:
        said = await used(secured.url(), Tls(extra_ca_file=empty))
        assert said.startswith("cannot be verified: tls.extra_ca_file")


async def test_a_client_certificate_is_shown(secured: Secured) -> None:
    query = f"?ssl_certfile={secured.cert}&ssl_keyfile={secured.key}"
    assert await used(secured.url(query), Tls(ca_file=secured.root)) == ""
    wrong = f"?ssl_certfile={secured.cert}&ssl_keyfile={secured.root}"
    assert "that cannot be used" in await used(secured.url(wrong), Tls(ca_file=secured.root))


async def test_a_name_that_hangs_is_given_up_by_whoever_waits(secured: Secured) -> None:
    async def resolve(host: str, port: int) -> Addresses:
        await asyncio.Event().wait()
        return []

    store = RedisBackend(Secret(secured.url(host=NAME)), names=ScriptedNames(resolve))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.probe(), 0.05)
    await store.close()
