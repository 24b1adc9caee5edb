"""mTLS: who demands our certificate gets it, who cannot prove itself gets nothing, and a bad file is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from typing import TYPE_CHECKING

import pytest
import structlog
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import PrivateFormat

from sidecar.config import Tls
from sidecar.core.certificate import Defect
from sidecar.core.secret import Secret
from sidecar.lifecycle import EXIT_BAD_CONFIG, StartError
from sidecar.network.trust import TlsFileError
from sidecar.runtime import SystemClock
from sidecar.upstream.trust import load_trust
from tests.support.app import App, request_bytes, running_app
from tests.support.certificates import (
    ADDRESS,
    DAY,
    ClientFiles,
    ServerContext,
    encrypted_key,
    leaf_pem,
    now,
    serial,
    tls_emulator,
)
from tests.support.ports import free_port
from tests.support.prometheus import parse
from tests.support.raw_client import RawClient, ReceivedResponse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USERS = "/v2.01/acme/users"
PASSWORD = "pass wörd"
#: asyncio's servers drop the connection before their last alert is out, mostly.
HANDSHAKE = ("TLS: ", "the TLS handshake failed (closed by the other side)")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def client(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("acme@example.org", not_after=now() + 90 * DAY + dt.timedelta(hours=1))


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA, client: trustme.LeafCert) -> ClientFiles:
    return ClientFiles.write(tmp_path, authority, client)


async def failed_fetch(app: App) -> str:
    """Return why the first token could not be fetched, once it is known."""
    manager = app.sidecar._upstream.managers[0]
    while (why := manager.status().last_error) is None:
        await asyncio.sleep(0.001)
    return why


async def admin(app: App, path: str) -> ReceivedResponse:
    """Ask the admin port."""
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(request_bytes("GET", path))
        return await client.response()


# --- shown -----------------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("key", trustme.KeyType)
async def test_a_server_that_demands_a_certificate_accepts_api_and_token_calls(
    authority: trustme.CA, tmp_path: Path, key: trustme.KeyType, version: ssl.TLSVersion
) -> None:
    certificate = authority.issue_cert("acme@example.org", key_type=key)
    files = ClientFiles.write(tmp_path, authority, certificate)
    context = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    context.minimum_version = context.maximum_version = version
    async with tls_emulator(context) as (emulator, url), running_app(url, **files.settings) as app:
        assert (await app.call("GET", USERS)).status == 200
        assert emulator.state.stats.token_requests == 1
    assert context.shown == [serial(certificate)] * 2


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("key", trustme.KeyType)
async def test_an_encrypted_key_is_opened_by_its_password(
    authority: trustme.CA, tmp_path: Path, key: trustme.KeyType, form: PrivateFormat
) -> None:
    certificate = authority.issue_cert("acme@example.org", key_type=key)
    files = ClientFiles.write(tmp_path, authority, certificate)
    files.key.write_bytes(encrypted_key(certificate, PASSWORD, form))
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    context = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    async with tls_emulator(context) as (_, url):
        async with running_app(url, **files.settings, tls_client_key_password_file=str(password)) as app:
            assert (await app.call("GET", USERS)).status == 200
    assert context.shown == [serial(certificate)] * 2


async def test_the_chain_behind_the_certificate_goes_along(tmp_path: Path) -> None:
    """The server knows the root only."""
    root = trustme.CA()
    certificate = root.create_child_ca().issue_cert("acme@example.org")
    files = ClientFiles.write(tmp_path, root, certificate)
    context = ServerContext.make(root.issue_cert(ADDRESS), root)
    async with tls_emulator(context) as (_, url), running_app(url, **files.settings) as app:
        assert (await app.call("GET", USERS)).status == 200


async def test_without_a_certificate_the_refusal_is_named(authority: trustme.CA, files: ClientFiles) -> None:
    context = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with tls_emulator(context) as (emulator, url), running_app(url, **files.trust) as app:
        assert (await failed_fetch(app)).startswith(HANDSHAKE)
        assert emulator.state.stats.requests == 0


# --- trusted ---------------------------------------------------------------------------------------------------------


def other_name(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.2", "api.mangopay.com")


def unknown_issuer(authority: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert(ADDRESS)


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(ADDRESS, not_before=now() - 2 * DAY, not_after=now() - DAY)


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("issue", "words"),
    [(other_name, "another IP address"), (unknown_issuer, "issuer is not trusted"), (expired, "has expired")],
)
async def test_who_cannot_prove_itself_receives_not_one_request_byte(
    authority: trustme.CA, files: ClientFiles, issue: Callable[[trustme.CA], trustme.LeafCert], words: str
) -> None:
    """Neither of a token request nor of an API call. The token comes first, so the server turns bad after it."""
    good, bad = (ServerContext.make(leaf, authority) for leaf in (authority.issue_cert(ADDRESS), issue(authority)))
    port = free_port()
    async with tls_emulator(good, port=port) as (emulator, url):
        async with running_app(url, **files.settings) as app:
            assert (await app.call("GET", USERS)).status == 200
            before = emulator.state.stats.requests
            await emulator.stop()
            await emulator.start(ADDRESS, port, ssl_context=bad)
            response = await app.call("POST", f"{USERS}/natural", b"{}")
            assert (response.status, response.header("X-Sidecar-Outcome")) == (502, b"not-sent")
            assert words in str(app.log.requests[-1]["detail"])
        async with running_app(url, **files.settings) as app:
            assert words in await failed_fetch(app)
        assert emulator.state.stats.requests == before
    assert bad.connections
    assert bad.shown == []


async def test_with_ca_file_nothing_else_is_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    """Not even what the system trusts: stood in for by the variable that OpenSSL reads."""
    files = ClientFiles.write(tmp_path, trustme.CA(), authority.issue_cert("x@example.org"))
    async with tls_emulator(ServerContext.make(authority.issue_cert(ADDRESS))) as (emulator, url):
        with pytest.MonkeyPatch.context() as patch:
            system = tmp_path / "system.pem"
            system.write_bytes(authority.cert_pem.bytes())
            patch.setenv("SSL_CERT_FILE", str(system))
            async with running_app(url, **files.trust) as app:
                assert "issuer is not trusted" in await failed_fetch(app)
            assert emulator.state.stats.requests == 0
            async with running_app(url) as app:
                assert (await app.call("GET", USERS)).status == 200


async def test_with_extra_ca_file_the_system_is_trusted_besides(authority: trustme.CA, tmp_path: Path) -> None:
    extra = trustme.CA()
    file, system = tmp_path / "extra.pem", tmp_path / "system.pem"
    file.write_bytes(extra.cert_pem.bytes())
    system.write_bytes(authority.cert_pem.bytes())
    for issuer in (authority, extra):
        async with tls_emulator(ServerContext.make(issuer.issue_cert(ADDRESS))) as (_, url):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SSL_CERT_FILE", str(system))
                async with running_app(url, tls_extra_ca_file=str(file)) as app:
                    assert (await app.call("GET", USERS)).status == 200


async def test_a_server_of_tls_1_1_is_refused(authority: trustme.CA, files: ClientFiles) -> None:
    context = ServerContext.make(authority.issue_cert(ADDRESS))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with tls_emulator(context) as (emulator, url), running_app(url, **files.settings) as app:
        assert (await failed_fetch(app)).startswith(HANDSHAKE)
        assert emulator.state.stats.requests == 0


# --- refused at start-up ---------------------------------------------------------------------------------------------


def settings(files: ClientFiles, password: str | None = None) -> Tls:
    return Tls(
        ca_file=files.ca,
        extra_ca_file=None,
        client_cert_file=files.cert,
        client_key_file=files.key,
        client_key_password=None if password is None else Secret(password),
    )


def refusal(files: ClientFiles, password: str | None = None) -> TlsFileError:
    with pytest.raises(TlsFileError) as caught:
        load_trust(settings(files, password), SystemClock().wall())
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("key", trustme.KeyType)
def test_a_certificate_that_does_not_match_its_key_is_refused_with_its_dates(
    authority: trustme.CA, files: ClientFiles, client: trustme.LeafCert, key: trustme.KeyType
) -> None:
    files.key.write_bytes(authority.issue_cert("x@example.org", key_type=key).private_key_pem.bytes())
    error = refusal(files)
    assert (error.setting, error.defect) == ("client_cert_file", Defect.KEY_MISMATCH)
    assert str(error).startswith(f"tls.client_cert_file: {files.cert} does not match the key {files.key} (valid from ")
    not_after = x509.load_pem_x509_certificate(leaf_pem(client)).not_valid_after_utc
    assert f"to {not_after:%Y-%m-%dT%H:%M:%SZ}" in str(error)


def test_a_chain_before_the_certificate_does_not_match_either(
    authority: trustme.CA, files: ClientFiles, client: trustme.LeafCert
) -> None:
    files.cert.write_bytes(authority.cert_pem.bytes() + leaf_pem(client))
    assert refusal(files).defect is Defect.KEY_MISMATCH


@pytest.mark.parametrize(
    ("start", "end", "defect", "words"),
    [(-20, -10, Defect.EXPIRED, "expired on "), (10, 20, Defect.NOT_YET_VALID, "is not valid before ")],
)
def test_a_certificate_out_of_its_dates_is_refused_with_them(
    authority: trustme.CA, files: ClientFiles, start: int, end: int, defect: Defect, words: str
) -> None:
    not_before, not_after = now() + start * DAY, now() + end * DAY
    files.put(authority.issue_cert("acme@example.org", not_before=not_before, not_after=not_after))
    error = refusal(files)
    assert error.defect is defect
    assert words in str(error)
    dates = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (not_before, not_after))
    assert "valid from {} to {}".format(*dates) in str(error)


@pytest.mark.parametrize(
    ("password", "defect", "mend"),
    [
        (None, Defect.KEY_ENCRYPTED, "SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE"),
        ("another", Defect.WRONG_PASSWORD, "check SIDECAR_TLS_CLIENT_KEY_PASSWORD"),
        ("x" * 2000, Defect.WRONG_PASSWORD, "check SIDECAR_TLS_CLIENT_KEY_PASSWORD"),
    ],
    ids=["none", "wrong", "too long for OpenSSL"],
)
def test_an_encrypted_key_that_does_not_open_is_told_and_nobody_is_asked(
    files: ClientFiles, client: trustme.LeafCert, password: str | None, defect: Defect, mend: str
) -> None:
    files.key.write_bytes(encrypted_key(client, PASSWORD))
    error = refusal(files, password)
    assert (error.setting, error.defect) == ("client_key_file", defect)
    assert mend in str(error)


@pytest.mark.parametrize(
    ("file", "content", "defect", "setting"),
    [
        ("cert", None, Defect.UNREADABLE, "client_cert_file"),
        ("key", None, Defect.UNREADABLE, "client_key_file"),
        ("ca", None, Defect.UNREADABLE, "ca_file"),
        ("cert", b"", Defect.NO_CERTIFICATE, "client_cert_file"),
        ("key", b"", Defect.NO_KEY, "client_key_file"),
        ("ca", b"", Defect.NO_CERTIFICATE, "ca_file"),
        ("cert", b"\x30\x82\x01", Defect.NO_CERTIFICATE, "client_cert_file"),
        ("key", b"-----BEGIN CERTIFICATE-----", Defect.NO_KEY, "client_key_file"),
        ("key", b"-----BEGIN PRIVATE KEY-----\nMII", Defect.UNUSABLE, "client_cert_file"),
        ("ca", b"nothing of the kind", Defect.NO_CERTIFICATE, "ca_file"),
        ("ca", b"-----BEGIN CERTIFICATE-----\nMII", Defect.NO_CERTIFICATE, "ca_file"),
        ("ca", b"x" * 5_000_000, Defect.UNREADABLE, "ca_file"),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_named(
    files: ClientFiles, file: str, content: bytes | None, defect: Defect, setting: str
) -> None:
    path: Path = getattr(files, file)
    path.unlink() if content is None else path.write_bytes(content)
    error = refusal(files)
    assert (error.setting, error.defect) == (setting, defect)
    assert str(error).startswith(f"tls.{setting}: ")
    assert str(path) in str(error)


def test_ca_files_may_hold_several_certificates_and_comments(authority: trustme.CA, files: ClientFiles) -> None:
    files.ca.write_bytes("# Müller AG\n".encode() + authority.cert_pem.bytes() + trustme.CA().cert_pem.bytes())
    context = load_trust(settings(files), SystemClock().wall()).context
    assert context.cert_store_stats()["x509_ca"] == 2


def test_a_key_that_everybody_may_read_is_warned_of(files: ClientFiles) -> None:
    assert load_trust(settings(files), SystemClock().wall()).warnings == ()
    files.key.chmod(0o644)
    (warning,) = load_trust(settings(files), SystemClock().wall()).warnings
    assert str(files.key) in warning
    assert "chmod o-r" in warning


def test_what_is_held_shows_neither_key_nor_password(files: ClientFiles, client: trustme.LeafCert) -> None:
    files.key.write_bytes(encrypted_key(client, PASSWORD))
    shown = repr(load_trust(settings(files, PASSWORD), SystemClock().wall()))
    assert "validity=Validity" in shown
    assert not any(word in shown for word in (PASSWORD, "PRIVATE", "sha", "\\x"))


async def test_the_sidecar_does_not_start_with_a_bad_certificate(authority: trustme.CA, files: ClientFiles) -> None:
    files.put(authority.issue_cert("acme@example.org", not_before=now() - 2 * DAY, not_after=now() - DAY))
    with pytest.raises(StartError, match=r"tls\.client_cert_file: .* expired on ") as caught:
        async with running_app("https://127.0.0.1:1", **files.settings):
            pytest.fail("it started")
    assert caught.value.status == EXIT_BAD_CONFIG


# --- told ------------------------------------------------------------------------------------------------------------


async def test_the_days_left_are_in_readyz_status_and_metrics(
    authority: trustme.CA, files: ClientFiles, client: trustme.LeafCert
) -> None:
    context = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    async with tls_emulator(context) as (_, url), running_app(url, **files.settings) as app:
        assert (await app.call("GET", USERS)).status == 200
        readiness, status = await admin(app, "/readyz"), await admin(app, "/status")
        assert (readiness.status, readiness.json["client_certificate_days_left"]) == (200, 90)
        ends = status.json["client_certificate"]
        metrics = parse((await admin(app, "/metrics")).body.decode())
    assert ends["days_left"] == 90
    assert metrics["mangopay_sidecar_client_certificate_expiry_timestamp_seconds"].value() == ends["expires_at"]
    assert metrics["mangopay_sidecar_config_last_reload_successful"].value() == 1


async def test_without_a_certificate_nothing_is_said_of_one(authority: trustme.CA, files: ClientFiles) -> None:
    async with tls_emulator(ServerContext.make(authority.issue_cert(ADDRESS))) as (_, url):
        async with running_app(url, **files.trust) as app:
            assert (await app.call("GET", USERS)).status == 200
            assert set((await admin(app, "/readyz")).json) == {"ready", "reason", "message"}
            assert (await admin(app, "/status")).json["client_certificate"] is None
            assert b"client_certificate" not in (await admin(app, "/metrics")).body


async def test_a_certificate_that_ends_soon_is_warned_of_and_keeps_the_sidecar_ready(
    authority: trustme.CA, files: ClientFiles
) -> None:
    files.put(authority.issue_cert("acme@example.org", not_after=now() + 3 * DAY))
    context = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    with structlog.testing.capture_logs() as logs:
        async with tls_emulator(context) as (_, url), running_app(url, **files.settings) as app:
            assert (await app.call("GET", USERS)).status == 200
            assert (await admin(app, "/readyz")).status == 200
    (warning,) = (entry for entry in logs if entry["event"].startswith("certificate."))
    assert (warning["event"], warning["log_level"], warning["days_left"]) == ("certificate.expiring", "warning", 2)
