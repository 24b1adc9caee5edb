"""``check`` names the right cause where TLS fails: real servers, certificates of a test's own authorities."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
import trustme

from tests.support.answering_mangopay import AnsweringMangopay, answering
from tests.support.certificates import DAY, ClientFiles, ServerContext, now
from tests.support.checking import Checked, examined
from tests.support.forward_proxy import forward_proxy

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS: Final = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Planted Inc.")


@pytest.fixture(scope="module")
def stranger() -> trustme.CA:
    return trustme.CA(organization_name="Intercepting Ltd.")


class Stage:
    """A Mangopay that speaks TLS, and the client's files."""

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        self.authority = authority
        self.mangopay = AnsweringMangopay()
        self.files = ClientFiles.write(directory, authority, authority.issue_cert("acme"))

    async def check(self, context: ssl.SSLContext | None, **settings: Any) -> Checked:
        async with AsyncExitStack() as stack:
            base_url = await stack.enter_async_context(answering(self.mangopay, context))
            given = {**self.files.trust, **settings}
            return await examined(base_url.replace("http://", "https://"), **given)

    def server(self, clients: trustme.CA | None = None, **dates: Any) -> ServerContext:
        return ServerContext.make(self.authority.issue_cert(ADDRESS, **dates), clients)


class AlertingServer:
    """Shakes hands on threads with blocking sockets, so that OpenSSL sends its alerts, which asyncio drops."""

    def __init__(self, context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
        context.maximum_version = version
        self._context = context
        self._listener = socket.create_server((ADDRESS, 0))
        self._thread = threading.Thread(target=self._serve)
        self.base_url = f"https://{ADDRESS}:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(10)
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    return  # __exit__ says that it is over
                with suppress(OSError), self._context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)

    def __enter__(self) -> AlertingServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def stage(tmp_path: Path, authority: trustme.CA) -> Stage:
    return Stage(tmp_path, authority)


async def test_all_is_right_with_a_client_certificate(stage: Stage) -> None:
    checked = await stage.check(stage.server(stage.authority), **stage.files.settings)
    assert (checked.status, checked.failures) == (0, [])
    assert "matches its key" in checked.detail("certificate")
    assert "days left" in checked.detail("certificate")
    assert "TLSv1.3" in checked.detail("tls")
    assert stage.mangopay.tokens_asked == 1


async def test_all_is_right_through_an_egress_proxy_too(stage: Stage) -> None:
    async with forward_proxy() as proxy:
        context = stage.server(stage.authority)
        checked = await stage.check(context, upstream_egress_proxy=proxy.url, **stage.files.settings)
    assert (checked.status, checked.failures) == (0, [])
    assert f"a tunnel to {ADDRESS}:" in checked.detail("egress")
    assert set(proxy.destinations) == {f"{ADDRESS}:{stage.mangopay.port}"}
    assert b"oauth" not in proxy.carried


async def test_an_unknown_ca_behind_an_egress_proxy_is_named(stage: Stage, stranger: trustme.CA) -> None:
    async with forward_proxy() as proxy:
        context = ServerContext.make(stranger.issue_cert(ADDRESS))
        checked = await stage.check(context, upstream_egress_proxy=proxy.url)
    assert (checked.status, checked.failures) == (1, [("tls", "tls_unknown_issuer")])
    assert "Intercepting Ltd." in checked.detail("tls")
    assert stage.mangopay.heads == []


@pytest.mark.parametrize("key", ["tls_ca_file", "tls_extra_ca_file"])
async def test_an_issuing_ca_that_is_named_is_enough(stage: Stage, key: str) -> None:
    issuing = stage.authority.create_child_ca()
    issuing.cert_pem.write_to_path(stage.files.ca)
    given = {"tls_ca_file": "", key: str(stage.files.ca)}
    checked = await stage.check(ServerContext.make(issuing.issue_cert(ADDRESS)), **given)
    assert (checked.status, checked.failures) == (0, [])


async def test_an_unknown_ca_is_named(stage: Stage, stranger: trustme.CA) -> None:
    context = ServerContext.make(stranger.issue_cert(ADDRESS))
    checked = await stage.check(context)
    assert (checked.status, checked.failures) == (1, [("tls", "tls_unknown_issuer")])
    assert "Intercepting Ltd." in checked.detail("tls")
    assert stage.mangopay.heads == []


async def test_a_wrong_host_name(stage: Stage) -> None:
    context = ServerContext.make(stage.authority.issue_cert("elsewhere.test", "*.more.test"))
    checked = await stage.check(context)
    assert (checked.status, checked.failures) == (1, [("tls", "tls_wrong_name")])
    assert "it is for elsewhere.test, *.more.test" in checked.detail("tls")
    assert stage.mangopay.heads == []


async def test_an_expired_server_certificate(stage: Stage) -> None:
    not_after = now() - 2 * DAY
    checked = await stage.check(stage.server(not_before=now() - 9 * DAY, not_after=not_after))
    assert (checked.status, checked.failures) == (1, [("tls", "tls_server_expired")])
    assert f"to {not_after:%Y-%m-%d}" in checked.detail("tls")
    assert stage.mangopay.heads == []


async def test_a_server_certificate_of_the_future(stage: Stage) -> None:
    checked = await stage.check(stage.server(not_before=now() + 2 * DAY, not_after=now() + 9 * DAY))
    assert (checked.status, checked.failures) == (1, [("tls", "tls_server_not_yet_valid")])


@pytest.mark.parametrize(
    ("version", "code"),
    [
        (ssl.TLSVersion.TLSv1_3, "client_certificate_required"),
        (ssl.TLSVersion.TLSv1_2, "tls_refused"),  # whose only word for it is "handshake failure"
    ],
)
async def test_a_client_certificate_is_demanded_and_none_given(
    stage: Stage, version: ssl.TLSVersion, code: str
) -> None:
    with AlertingServer(stage.server(stage.authority), version) as server:
        checked = await examined(server.base_url, **stage.files.trust)
    assert (checked.status, checked.failures) == (1, [("tls", code)])
    assert "client certificate" in checked.step("tls")["cause"]
    assert "SIDECAR_TLS_CLIENT_CERT_FILE" in checked.step("tls")["mend"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_of_another_ca_is_refused(
    stage: Stage, stranger: trustme.CA, version: ssl.TLSVersion
) -> None:
    with AlertingServer(stage.server(stranger), version) as server:
        checked = await examined(server.base_url, **stage.files.settings)
    assert (checked.status, checked.failures) == (1, [("tls", "client_certificate_refused")])
    assert "alert unknown ca" in checked.detail("tls")


@pytest.mark.parametrize(("has_certificate", "code"), [(False, "required"), (True, "refused")])
async def test_a_server_that_hangs_up_without_an_alert(stage: Stage, has_certificate: bool, code: str) -> None:
    """asyncio's own servers do, and they are not alone."""
    clients = trustme.CA() if has_certificate else stage.authority
    settings = stage.files.settings if has_certificate else {}
    checked = await stage.check(stage.server(clients), **settings)
    assert (checked.status, checked.failures) == (1, [("tls", f"client_certificate_{code}")])
    assert stage.mangopay.heads == []


async def test_a_port_without_tls() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, ADDRESS, 0)
    checked = await examined(f"https://{ADDRESS}:{server.sockets[0].getsockname()[1]}")
    server.close()
    await server.wait_closed()
    assert (checked.status, checked.failures) == (1, [("tls", "tls_not_spoken")])


async def test_a_server_that_says_nothing(stage: Stage) -> None:
    stage.mangopay.silent = True
    checked = await stage.check(None, upstream_connect_timeout="500ms")
    assert (checked.status, checked.failures) == (1, [("tls", "tls_timeout")])


# --- the client certificate's files ----------------------------------------------------------------------------------


async def offline(files: ClientFiles, base_url: str = "https://127.0.0.1:1", **settings: str) -> Checked:
    return await examined(base_url, "--offline", **{**files.settings, **settings})


async def test_an_expired_client_certificate_cannot_be_used(stage: Stage) -> None:
    not_after = now() - 2 * DAY
    expired = stage.authority.issue_cert("acme", not_before=now() - 9 * DAY, not_after=not_after)
    stage.files.put(expired)
    checked = await stage.check(stage.server(stage.authority), **stage.files.settings)
    assert (checked.status, checked.failures) == (2, [("certificate", "client_certificate_expired")])
    assert f"{not_after:%Y-%m-%d}" in checked.detail("certificate")
    assert stage.mangopay.heads == []


async def test_a_client_certificate_that_ends_soon_is_a_warning(stage: Stage) -> None:
    stage.files.put(stage.authority.issue_cert("acme", not_after=now() + 5 * DAY))
    checked = await offline(stage.files)
    assert (checked.status, checked.failures) == (0, [])
    assert checked.step("certificate")["code"] == "client_certificate_expiring"
    assert "4 days left" in checked.detail("certificate")


async def test_a_client_certificate_of_the_future(stage: Stage) -> None:
    stage.files.put(stage.authority.issue_cert("acme", not_before=now() + DAY, not_after=now() + 9 * DAY))
    checked = await offline(stage.files)
    assert (checked.status, checked.failures) == (2, [("certificate", "client_certificate_not_yet_valid")])


async def test_a_certificate_and_a_key_of_two_pairs(stage: Stage) -> None:
    stage.files.key.write_bytes(stage.authority.issue_cert("acme").private_key_pem.bytes())
    checked = await offline(stage.files)
    assert (checked.status, checked.failures) == (2, [("certificate", "client_key_mismatch")])


async def test_a_certificate_file_that_is_not_there(stage: Stage) -> None:
    stage.files.cert.unlink()
    checked = await offline(stage.files)
    assert (checked.status, checked.failures) == (2, [("certificate", "tls_file_unreadable")])


@pytest.mark.parametrize(
    ("host", "has_certificate", "fits"),
    [
        ("api.sandbox.mangopay.com", True, False),
        ("api-mtls.sandbox.mangopay.com", False, False),
        ("api-mtls.sandbox.mangopay.com", True, True),
        ("gateway.test", True, True),
    ],
)
async def test_host_and_client_certificate_must_fit(stage: Stage, host: str, has_certificate: bool, fits: bool) -> None:
    settings = {} if has_certificate else {"tls_client_cert_file": "", "tls_client_key_file": ""}
    checked = await offline(stage.files, f"https://{host}", mangopay_environment="sandbox", **settings)
    expected = [] if fits else [("certificate", "client_certificate_wrong_host")]
    assert (checked.status, checked.failures) == (int(not fits), expected)


async def test_a_world_readable_private_key_is_a_warning(stage: Stage) -> None:
    stage.files.key.chmod(0o644)
    checked = await offline(stage.files)
    assert checked.status == 0
    assert checked.step("files")["code"] == "secret_world_readable"
    assert str(stage.files.key) in checked.detail("files")
