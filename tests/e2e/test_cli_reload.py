"""``run`` and its secrets: refused at the start with status 2, read again on SIGHUP or when they change."""

from __future__ import annotations

import os
import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.support.canary import CANARY_API_KEY
from tests.support.certificates import DAY, ClientFiles, now
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(CANARY_API_KEY)
    return path


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.rename(path)


def test_a_new_key_is_noticed_by_itself(upstream: str, key: Path) -> None:
    with Sidecar(upstream, environ={"SIDECAR_MANGOPAY_API_KEY_FILE": str(key)}) as sidecar:
        replace(key, f"{CANARY_API_KEY}-new")
        sidecar.wait_for(r'"event":"config\.reloaded","changed":\["mangopay\.api_key"\]', stream="stderr")
        assert sidecar.stop() == 0
        assert sidecar.complaints == []


def test_sighup_reads_again_and_ends_nothing(upstream: str, key: Path) -> None:
    with Sidecar(upstream, environ={"SIDECAR_MANGOPAY_API_KEY_FILE": str(key)}) as sidecar:
        os.kill(sidecar.pid, signal.SIGHUP)
        sidecar.wait_for(r'"event":"config\.reloaded","changed":\[\],"asked":true', stream="stderr")
        replace(key, "not a key")
        os.kill(sidecar.pid, signal.SIGHUP)
        sidecar.wait_for(r'"event":"config\.reload_failed"', stream="stderr")
        with urllib.request.urlopen(f"{sidecar.url}/v2.01/_/users") as response:
            assert response.status == 200
        assert "mangopay_sidecar_config_last_reload_successful 0\n" in sidecar.admin("/metrics")[1]
        assert sidecar.stop() == 0


def test_a_client_certificate_that_has_expired_is_refused_in_one_line_with_status_2(tmp_path: Path) -> None:
    authority = trustme.CA()
    expired = authority.issue_cert("acme@example.org", not_before=now() - 2 * DAY, not_after=now() - DAY)
    files = ClientFiles.write(tmp_path, authority, expired)
    environ = {
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_TLS_CLIENT_CERT_FILE": str(files.cert),
        "SIDECAR_TLS_CLIENT_KEY_FILE": str(files.key),
    }
    with Command("run", environ=environ) as command:
        assert command.wait() == 2
        assert command.stderr.count("\n") == 1
        assert f"tls.client_cert_file: {files.cert} expired on " in command.stderr
        assert command.stdout == ""
