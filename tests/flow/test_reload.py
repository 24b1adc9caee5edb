"""Keys and certificates that change while the sidecar runs: real files, a clock that the test moves."""

from __future__ import annotations

import itertools
import os
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
import trustme

from sidecar.config import load
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.reload import INTERVAL, Reloader, RotatingKey, Swappable
from sidecar.threads import NoThreadError
from sidecar.upstream.expiry import CertificateExpiry
from sidecar.upstream.trust import load_trust
from tests.support import canary
from tests.support.certificates import DAY, ClientFiles, leaf_pem, now
from tests.support.clock import FakeClock
from tests.support.tokens import LOCKED_OUT, REFUSED, FakeSource, Managers

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping

    from sidecar.config import Config
    from sidecar.tokens.fetcher import Fetcher
    from sidecar.tokens.manager import TokenManager
    from sidecar.upstream.dialing import Dialer
    from sidecar.upstream.pool import Pool

OLD, NEW, NEWER = (canary.CANARY_API_KEY + suffix for suffix in ("-old", "-new", "-nwr"))
EMBEDDED = canary.CANARY_EMBEDDED_KEY

_stamps = itertools.count(1_600_000_000)


def stamp(path: Path) -> None:
    """Give the file a time of its own: a test writes faster than the system's clock for files ticks."""
    moment = next(_stamps)
    os.utime(path, (moment, moment))


def in_place(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    stamp(path)


def by_rename(path: Path, content: str | bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    in_place(fresh, content)
    fresh.rename(path)


def by_symlink(path: Path, content: str | bytes) -> None:
    """Swap a link to the directory, as Kubernetes does: ``key -> ..data/key``, ``..data -> ..2026_01_01``."""
    data = path.parent / "..data"
    fresh = path.parent / f"..{next(_stamps)}"
    fresh.mkdir()
    in_place(fresh / path.name, content)
    link = path.parent / "..data_tmp"
    link.symlink_to(fresh.name)
    link.rename(data)
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(f"..data/{path.name}")


@dataclass
class Keyed:
    """What a fetcher is to the reloader."""

    api_key: Secret


@dataclass
class Way:
    """What dialer and pool are to it."""

    ssl_context: ssl.SSLContext | None = None
    retired: int = 0

    def retire(self) -> None:
        self.retired += 1


@dataclass
class Running:
    """A reloader at work, and the parts that it renews."""

    clock: FakeClock
    reloader: Reloader
    keys: dict[str, RotatingKey]
    sources: dict[str, FakeSource]
    way: Way
    expiry: CertificateExpiry
    logs: list[MutableMapping[str, Any]] = field(default_factory=list)

    async def looks(self, count: int) -> None:
        """Let the files be looked at so many times."""
        await self.clock.advance(INTERVAL * count)

    def key(self, name: str = "mangopay.api_key") -> str:
        return self.keys[name].fetcher.api_key.reveal()

    @property
    def manager(self) -> TokenManager:
        return self.keys["mangopay.api_key"].manager

    @property
    def source(self) -> FakeSource:
        return self.sources["mangopay.api_key"]

    def events(self, prefix: str = "config.") -> list[str]:
        return [entry["event"] for entry in self.logs if entry["event"].startswith(prefix)]

    @property
    def changed(self) -> list[list[str]]:
        """The settings that each reload changed."""
        return [entry["changed"] for entry in self.logs if entry["event"] == "config.reloaded"]


async def inline(function: Callable[[], Any]) -> Any:
    return function()


@asynccontextmanager
async def running(environ: dict[str, str], path: Path | None = None) -> AsyncIterator[Running]:
    """Run a reloader for a configuration; its first look at the files is behind it."""
    environ = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", **environ}

    def read() -> Config:
        return load(path, environ)

    config, clock = read(), FakeClock(wall=now().timestamp())
    managers, way, expiry = Managers(clock), Way(), CertificateExpiry(clock)
    trust = load_trust(config.tls, clock.wall())
    way.ssl_context = trust.context
    expiry.watch(trust.validity)
    keys, sources = {}, {}
    for name, key in (
        ("mangopay.api_key", config.mangopay.api_key),
        ("mangopay.embedded_api_key", config.mangopay.embedded_api_key),
    ):
        if key is not None:
            sources[name] = FakeSource(clock)
            manager = managers.start(sources[name], "api" if name == "mangopay.api_key" else "embedded")
            keys[name] = RotatingKey(cast("Fetcher", Keyed(key)), manager)
    parts = Swappable(keys, cast("Dialer", way), cast("Pool", way), expiry)
    reloader = Reloader(config, trust, read, parts, clock=clock, tasks=managers.tasks, in_thread=inline)
    managers.tasks.spawn(reloader.run(), name="config.watch")
    with structlog.testing.capture_logs() as logs:
        sidecar = Running(clock, reloader, keys, sources, way, expiry)
        try:
            await sidecar.looks(3)
            assert logs == []
            sidecar.logs = logs
            yield sidecar
        finally:
            await managers.close()
            canary.record("the log", repr(logs))


def key_file(directory: Path, content: str = OLD, name: str = "api_key") -> Path:
    path = directory / name
    in_place(path, content)
    return path


def keyed(path: Path) -> dict[str, str]:
    return {"SIDECAR_MANGOPAY_API_KEY_FILE": str(path)}


# --- how files change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [in_place, by_rename, by_symlink])
async def test_a_new_key_is_used_however_its_file_is_replaced(
    tmp_path: Path, write: Callable[[Path, str], None]
) -> None:
    path = tmp_path / "api_key"
    write(path, OLD + "\n")
    async with running(keyed(path)) as sidecar:
        for key in (NEW, NEWER, OLD):
            write(path, key + "\n")
            await sidecar.looks(3)
            assert sidecar.key() == key
        assert sidecar.changed == [["mangopay.api_key"]] * 3


async def test_a_file_is_not_read_while_it_is_being_written(tmp_path: Path) -> None:
    """Half a key is a key, and wrong keys lock the account."""
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        for end in range(1, len(NEW) + 1):
            in_place(path, NEW[:end])
            await sidecar.looks(1)
            assert sidecar.key() == OLD
        await sidecar.looks(1)
        assert sidecar.key() == NEW
        assert sidecar.events() == ["config.reloaded"]


async def test_a_file_that_is_gone_for_a_moment_is_no_failure(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        path.unlink()
        await sidecar.looks(2)
        in_place(path, NEW)
        await sidecar.looks(2)
        assert sidecar.key() == NEW
        assert sidecar.events() == ["config.reloaded"]


async def test_the_same_value_written_again_changes_nothing(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        in_place(path, OLD + "\n")
        await sidecar.looks(5)
        assert sidecar.events() == []


async def test_a_change_between_the_first_reading_and_the_first_look_is_noticed(tmp_path: Path) -> None:
    """The file is rewritten with the time stamp and the size that it had."""
    path = key_file(tmp_path)
    stood = path.stat()
    config = load(None, {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", **keyed(path)})
    path.write_text(NEW)
    os.utime(path, ns=(stood.st_mtime_ns, stood.st_mtime_ns))
    clock, way = FakeClock(), Way()
    managers = Managers(clock)
    key = RotatingKey(cast("Fetcher", Keyed(config.mangopay.api_key)), managers.start(FakeSource(clock)))
    parts = Swappable({"mangopay.api_key": key}, cast("Dialer", way), cast("Pool", way), CertificateExpiry(clock))
    reloader = Reloader(
        config,
        None,
        lambda: load(None, {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", **keyed(path)}),
        parts,
        clock=clock,
        tasks=managers.tasks,
        in_thread=inline,
    )
    managers.tasks.spawn(reloader.run(), name="config.watch")
    await clock.advance(INTERVAL * 2)
    assert key.fetcher.api_key == Secret(NEW)
    await managers.close()


async def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        path.unlink()
        os.mkfifo(path)
        await sidecar.looks(5)
        assert sidecar.key() == OLD
        assert [entry["event"] for entry in sidecar.logs] == ["config.reload_failed"]
        assert "no regular file" in sidecar.logs[0]["message"]


@contextmanager
def pipe(content: str) -> Iterator[str]:
    """Give the name of a pipe that holds ``content``, and is at its end behind that, as ``<(…)`` makes one."""
    reader, writer = os.pipe()
    try:
        os.write(writer, content.encode())
        os.close(writer)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)


async def test_a_key_from_a_pipe_stays_and_certificates_are_renewed(authority: trustme.CA, files: ClientFiles) -> None:
    """Nothing has changed at the first look, so there is nothing to tell."""
    with pipe(OLD) as name:
        async with running({**shown(files), **keyed(Path(name))}) as sidecar:
            put(files, authority.issue_cert("new@example.org"))
            await sidecar.looks(3)
            assert sidecar.key() == OLD
            assert sidecar.changed == [["tls.client_cert_file", "tls.client_key_file"]]
            sidecar.reloader.reload_now()
            await sidecar.clock.settle()
            assert (sidecar.key(), sidecar.events()) == (OLD, ["config.reloaded"] * 2)
            assert sidecar.reloader.successful


@pytest.mark.parametrize("what", ["the configuration", "another secret", "CA certificates"])
async def test_what_else_came_from_a_pipe_leaves_the_key_to_change(
    what: str, files: ClientFiles, tmp_path: Path
) -> None:
    path = key_file(tmp_path)
    content = {
        "the configuration": '[mangopay]\nclient_id = "acme"\n[log]\nlevel = "error"\n',
        "another secret": canary.CANARY_CALLER_KEY,
        "CA certificates": files.ca.read_text(),
    }[what]
    with pipe(content) as name:
        variables = {
            "the configuration": {},
            "another secret": {"SIDECAR_LISTEN_CALLER_KEY_FILE": name},
            "CA certificates": {"SIDECAR_TLS_CA_FILE": name},
        }[what]
        configuration = Path(name) if what == "the configuration" else None
        async with running({**keyed(path), **variables}, configuration) as sidecar:
            in_place(path, NEW)
            await sidecar.looks(3)
            assert (sidecar.key(), sidecar.changed) == (NEW, [["mangopay.api_key"]])
            assert sidecar.events() == ["config.reloaded"]


async def test_a_device_for_a_configuration_holds_nothing_up(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path), Path(os.devnull)) as sidecar:
        in_place(path, NEW)
        await sidecar.looks(3)
        assert (sidecar.key(), sidecar.events()) == (NEW, ["config.reloaded"])


# --- bad values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b" padded", b"\xef\xbb\xbfbom", None])
async def test_a_bad_new_value_is_told_once_and_the_old_one_stays(tmp_path: Path, content: bytes | None) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        path.unlink() if content is None else in_place(path, content)
        await sidecar.looks(10)
        assert sidecar.key() == OLD
        assert not sidecar.reloader.successful
        (entry,) = sidecar.logs
        assert (entry["event"], entry["log_level"]) == ("config.reload_failed", "error")
        assert str(path) in entry["message"]
        in_place(path, NEW)
        await sidecar.looks(3)
        assert (sidecar.key(), sidecar.reloader.successful) == (NEW, True)
        assert sidecar.changed == [["mangopay.api_key"]]


async def test_when_the_old_value_is_put_back_the_failure_is_over(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        in_place(path, "")
        await sidecar.looks(5)
        in_place(path, OLD)
        await sidecar.looks(5)
        assert sidecar.events() == ["config.reload_failed", "config.reloaded"]
        assert sidecar.reloader.successful


async def test_a_bug_while_reading_is_told_without_its_text_and_the_next_change_is_noticed(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        read, sidecar.reloader._read_config = sidecar.reloader._read_config, broken  # type: ignore[misc]
        in_place(path, NEW)
        await sidecar.looks(2)
        sidecar.reloader._read_config = read  # type: ignore[misc]
        assert sidecar.events() == ["config.reload_failed"]
        assert not sidecar.reloader.successful
        in_place(path, NEWER)
        await sidecar.looks(3)
        assert (sidecar.key(), sidecar.reloader.successful) == (NEWER, True)


def broken() -> Config:
    raise RuntimeError(NEW)


async def no_thread(_: Callable[[], Any]) -> Any:
    raise NoThreadError


async def test_without_a_thread_it_is_told_once_and_tried_again_though_no_file_changes(tmp_path: Path) -> None:
    async with running(keyed(key_file(tmp_path))) as sidecar:
        sidecar.reloader._in_thread = no_thread  # type: ignore[misc]
        await sidecar.looks(3)
        assert (sidecar.events(), sidecar.reloader.successful) == (["config.reload_failed"], False)
        sidecar.reloader._in_thread = inline  # type: ignore[misc]
        await sidecar.looks(62)
        assert sidecar.reloader.successful
        assert sidecar.events() == ["config.reload_failed", "config.reloaded"]


async def test_what_is_wrong_with_a_file_is_told_once_it_can_be_read(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        sidecar.reloader._in_thread = no_thread  # type: ignore[misc]
        in_place(path, "")
        await sidecar.looks(3)
        sidecar.reloader._in_thread = inline  # type: ignore[misc]
        await sidecar.looks(65)
        assert sidecar.events() == ["config.reload_failed"] * 2
        assert str(path) in sidecar.logs[-1]["message"]
        assert str(path) in (sidecar.reloader.error or "")


async def test_what_nobody_foresaw_is_told_on_sighup_too(tmp_path: Path) -> None:
    async with running(keyed(key_file(tmp_path))) as sidecar:
        sidecar.reloader._read_config = broken  # type: ignore[misc]
        for times in (1, 2):
            sidecar.reloader.reload_now()
            await sidecar.clock.settle()
            assert (sidecar.events(), sidecar.reloader.successful) == (["config.reload_failed"] * times, False)


# --- SIGHUP ----------------------------------------------------------------------------------------------------------


async def test_sighup_reads_at_once(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        in_place(path, NEW)
        sidecar.reloader.reload_now()
        await sidecar.clock.settle()
        assert sidecar.key() == NEW


async def test_sighup_is_answered_in_the_log_even_if_nothing_changed(tmp_path: Path) -> None:
    async with running(keyed(key_file(tmp_path))) as sidecar:
        sidecar.reloader.reload_now()
        await sidecar.clock.settle()
        assert sidecar.changed == [[]]


async def test_sighup_tells_a_bad_value_at_once_and_once(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        in_place(path, "")
        sidecar.reloader.reload_now()
        await sidecar.clock.settle()
        assert sidecar.events() == ["config.reload_failed"]
        await sidecar.looks(10)
        assert sidecar.events() == ["config.reload_failed"]


async def test_sighup_works_without_a_file_to_watch() -> None:
    async with running({"SIDECAR_MANGOPAY_API_KEY": OLD}) as sidecar:
        sidecar.reloader.reload_now()
        await sidecar.clock.settle()
        assert sidecar.changed == [[]]


# --- which values ----------------------------------------------------------------------------------------------------


async def test_the_embedded_key_changes_by_itself(tmp_path: Path) -> None:
    api, embedded = key_file(tmp_path), key_file(tmp_path, EMBEDDED, "embedded")
    async with running({**keyed(api), "SIDECAR_MANGOPAY_EMBEDDED_API_KEY_FILE": str(embedded)}) as sidecar:
        in_place(embedded, EMBEDDED + "-new")
        await sidecar.looks(3)
        assert sidecar.key("mangopay.embedded_api_key") == EMBEDDED + "-new"
        assert sidecar.key() == OLD
        assert sidecar.changed == [["mangopay.embedded_api_key"]]


async def test_a_key_in_the_configuration_file_changes_with_that_file(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    in_place(path, f'[mangopay]\napi_key = "{OLD}"\n')
    async with running({}, path) as sidecar:
        in_place(path, f'[mangopay]\napi_key = "{NEW}"\n')
        await sidecar.looks(3)
        assert sidecar.key() == NEW
        assert sidecar.changed == [["mangopay.api_key"]]


async def test_other_keys_are_named_as_waiting_for_a_restart_once(tmp_path: Path) -> None:
    path, key = tmp_path / "sidecar.toml", key_file(tmp_path)
    in_place(path, "[listen]\nport = 18080\n")
    async with running(keyed(key), path) as sidecar:
        in_place(path, f'[listen]\nport = 8081\n[mangopay]\nembedded_api_key = "{EMBEDDED}"\n')
        for _ in range(2):
            sidecar.reloader.reload_now()
            await sidecar.clock.settle()
        (entry,) = (entry for entry in sidecar.logs if entry["event"] == "config.restart_needed")
        assert entry["changed"] == ["listen.port", "mangopay.embedded_api_key"]
        assert sidecar.changed == [[], []]


# --- the token -------------------------------------------------------------------------------------------------------


async def test_the_token_of_the_old_key_is_used_to_its_end(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        token = await sidecar.manager.take(sidecar.clock.now() + 5)
        in_place(path, NEW)
        await sidecar.looks(5)
        assert await sidecar.manager.take(sidecar.clock.now() + 5) is token
        assert sidecar.source.requests == 1


async def test_a_new_key_clears_the_latch_of_refused_credentials_at_once(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        sidecar.source.then(REFUSED)
        with pytest.raises(SidecarError):
            await sidecar.manager.take(sidecar.clock.now() + 5)
        assert sidecar.manager.status().latch_reason == "refused"
        in_place(path, NEW)
        await sidecar.looks(2)
        assert sidecar.manager.status().latch_reason is None
        assert (await sidecar.manager.take(sidecar.clock.now() + 5)).generation == 1


async def test_a_new_key_does_not_clear_a_lockout(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        sidecar.source.then(LOCKED_OUT)
        with pytest.raises(SidecarError):
            await sidecar.manager.take(sidecar.clock.now() + 5)
        in_place(path, NEW)
        await sidecar.looks(3)
        assert sidecar.manager.status().latch_reason == "lockout"
        assert sidecar.source.requests == 1


async def test_while_the_new_key_is_refused_the_old_token_serves_on(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    async with running(keyed(path)) as sidecar:
        token = await sidecar.manager.take(sidecar.clock.now() + 5)
        in_place(path, NEW)
        await sidecar.looks(3)
        sidecar.source.then(*[REFUSED] * 20)
        await sidecar.clock.advance(token.hard_at - sidecar.clock.now() - 5)
        assert sidecar.source.requests > 1
        assert sidecar.manager.status().latch_reason == "refused"
        while sidecar.clock.now() < token.expires_at - 1:
            assert await sidecar.manager.take(sidecar.clock.now() + 5) is token
            await sidecar.clock.advance(0.5)


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> ClientFiles:
    return ClientFiles.write(tmp_path, authority, authority.issue_cert("old@example.org"))


def shown(files: ClientFiles) -> dict[str, str]:
    return {f"SIDECAR_{name.upper()}": value for name, value in files.settings.items()}


def certified(files: ClientFiles) -> dict[str, str]:
    return {"SIDECAR_MANGOPAY_API_KEY": OLD, **shown(files)}


def put(files: ClientFiles, certificate: trustme.LeafCert) -> None:
    in_place(files.cert, leaf_pem(certificate))
    in_place(files.key, certificate.private_key_pem.bytes())


async def test_a_new_certificate_makes_a_new_context_and_retires_the_connections(
    authority: trustme.CA, files: ClientFiles
) -> None:
    async with running(certified(files)) as sidecar:
        old = sidecar.way.ssl_context
        put(files, authority.issue_cert("new@example.org", not_after=now() + 100 * DAY))
        await sidecar.looks(3)
        assert sidecar.way.ssl_context is not old
        assert sidecar.way.retired == 1
        assert sidecar.changed == [["tls.client_cert_file", "tls.client_key_file"]]
        assert sidecar.expiry.status is not None
        assert sidecar.expiry.status.days_left == 99


async def test_a_certificate_whose_key_comes_a_little_later_is_no_failure(
    authority: trustme.CA, files: ClientFiles
) -> None:
    certificate = authority.issue_cert("new@example.org")
    async with running(certified(files)) as sidecar:
        in_place(files.cert, leaf_pem(certificate))
        await sidecar.looks(2)
        in_place(files.key, certificate.private_key_pem.bytes())
        await sidecar.looks(2)
        assert sidecar.way.retired == 1
        assert sidecar.events() == ["config.reloaded"]


async def test_a_certificate_whose_key_never_comes_is_told_and_the_old_pair_stays(
    authority: trustme.CA, files: ClientFiles
) -> None:
    async with running(certified(files)) as sidecar:
        old = sidecar.way.ssl_context
        in_place(files.cert, leaf_pem(authority.issue_cert("new@example.org")))
        await sidecar.looks(3)
        assert sidecar.way.ssl_context is old
        assert sidecar.way.retired == 0
        (entry,) = sidecar.logs
        assert "does not match the key" in entry["message"]


async def test_a_certificate_that_is_not_yet_valid_is_used_once_it_is(
    authority: trustme.CA, files: ClientFiles
) -> None:
    async with running(certified(files)) as sidecar:
        put(files, authority.issue_cert("new@example.org", not_before=now() + DAY))
        await sidecar.looks(5)
        assert sidecar.events() == ["config.reload_failed"]
        assert sidecar.way.retired == 0
        await sidecar.clock.advance(DAY.total_seconds() / 24)
        sidecar.clock.step_wall(DAY.total_seconds())
        await sidecar.clock.advance(61)
        assert sidecar.way.retired == 1
        assert sidecar.events() == ["config.reload_failed", "config.reloaded"]


async def test_new_ca_files_are_trusted_and_the_client_certificate_stays(
    authority: trustme.CA, files: ClientFiles
) -> None:
    async with running(certified(files)) as sidecar:
        in_place(files.ca, authority.cert_pem.bytes() + trustme.CA().cert_pem.bytes())
        await sidecar.looks(3)
        context = sidecar.way.ssl_context
        assert context is not None
        assert context.cert_store_stats()["x509_ca"] == 2
        assert sidecar.changed == [["tls.ca_file"]]


async def test_half_a_ca_file_is_not_trusted(authority: trustme.CA, files: ClientFiles) -> None:
    async with running(certified(files)) as sidecar:
        old = sidecar.way.ssl_context
        in_place(files.ca, authority.cert_pem.bytes() + trustme.CA().cert_pem.bytes()[:200])
        await sidecar.looks(4)
        assert sidecar.way.ssl_context is old
        assert sidecar.events() == ["config.reload_failed"]


async def test_a_new_certificate_clears_the_latch_that_the_old_one_caused(
    authority: trustme.CA, files: ClientFiles
) -> None:
    async with running(certified(files)) as sidecar:
        sidecar.source.then(REFUSED)
        with pytest.raises(SidecarError):
            await sidecar.manager.take(sidecar.clock.now() + 5)
        put(files, authority.issue_cert("new@example.org"))
        await sidecar.looks(2)
        assert sidecar.manager.status().latch_reason is None


async def test_a_new_ca_alone_clears_no_latch(authority: trustme.CA, files: ClientFiles) -> None:
    async with running(certified(files)) as sidecar:
        sidecar.source.then(REFUSED)
        with pytest.raises(SidecarError):
            await sidecar.manager.take(sidecar.clock.now() + 5)
        in_place(files.ca, authority.cert_pem.bytes() * 2)
        await sidecar.looks(3)
        assert sidecar.changed == [["tls.ca_file"]]
        assert sidecar.manager.status().latch_reason == "refused"


async def test_a_bad_certificate_does_not_keep_a_good_key_from_being_used(files: ClientFiles, tmp_path: Path) -> None:
    path = key_file(tmp_path)
    environ = {**certified(files), **keyed(path)}
    del environ["SIDECAR_MANGOPAY_API_KEY"]
    async with running(environ) as sidecar:
        in_place(files.cert, "nothing")
        in_place(path, NEW)
        await sidecar.looks(4)
        assert sidecar.key() == NEW
        assert sidecar.way.retired == 0
        assert sidecar.events() == ["config.reloaded", "config.reload_failed"]


async def test_a_certificate_that_has_expired_meanwhile_does_not_stand_in_the_way_of_a_new_key(
    authority: trustme.CA, tmp_path: Path
) -> None:
    files = ClientFiles.write(tmp_path, authority, authority.issue_cert("x@example.org", not_after=now() + DAY))
    path = key_file(tmp_path)
    environ = {**certified(files), **keyed(path)}
    del environ["SIDECAR_MANGOPAY_API_KEY"]
    async with running(environ) as sidecar:
        sidecar.clock.step_wall(2 * DAY.total_seconds())
        in_place(path, NEW)
        await sidecar.looks(3)
        assert sidecar.key() == NEW
        assert sidecar.reloader.successful
