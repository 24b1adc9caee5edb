"""``csr``: a key for its owner only, and a request that openssl accepts."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from tests.support.sidecar import Command

if TYPE_CHECKING:
    from pathlib import Path


def csr(*arguments: str | Path) -> tuple[int, str, str]:
    with Command("csr", *arguments) as command:
        return command.wait(), command.stdout, command.stderr


def test_key_and_request_belong_together_and_name_the_client(tmp_path: Path) -> None:
    out = tmp_path / "new" / "directory"
    status, stdout, stderr = csr("--client-id", "acme", "--out", out)
    assert (status, stderr) == (0, "")
    key = load_pem_private_key((out / "acme.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    request = x509.load_pem_x509_csr((out / "acme.csr").read_bytes())
    assert request.public_key() == key.public_key()
    assert [name.value for name in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["acme"]
    assert request.is_signature_valid
    assert stat.S_IMODE((out / "acme.key").stat().st_mode) == 0o600
    assert f"SIDECAR_TLS_CLIENT_KEY_FILE={out / 'acme.key'}" in stdout
    assert "PRIVATE" not in stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_openssl_verifies_the_request(tmp_path: Path) -> None:
    assert csr("--client-id", "acme-2_test", "--out", tmp_path)[0] == 0
    checked = subprocess.run(
        ["openssl", "req", "-verify", "-noout", "-subject", "-in", tmp_path / "acme-2_test.csr"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0
    assert "verify OK" in checked.stdout + checked.stderr
    assert "acme-2_test" in checked.stdout


@pytest.mark.parametrize("there", ["acme.key", "acme.csr"])
def test_what_is_there_is_left_alone(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    status, stdout, stderr = csr("--client-id", "acme", "--out", tmp_path)
    assert (status, stdout) == (2, "")
    assert stderr == f"{tmp_path / there} exists already and is left as it is: name another directory\n"
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_a_key_without_its_request_is_not_left_behind(tmp_path: Path) -> None:
    """It would stand in the way of the next try."""
    (tmp_path / "acme.csr").mkdir()
    code = (
        "import sys; from pathlib import Path; Path.exists = lambda *_: False; "
        "from sidecar.cli import main; main(sys.argv[1:])"
    )
    tried = subprocess.run(
        [sys.executable, "-c", code, "csr", "--client-id", "acme", "--out", tmp_path], capture_output=True, check=False
    )
    assert (tried.returncode, tried.stdout, tried.stderr.count(b"\n")) == (2, b"", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["acme.csr"]


@pytest.mark.parametrize("client_id", ["a/b", "a:b", "", "..", "é", "a" * 65])
def test_a_client_id_that_is_none_is_refused(tmp_path: Path, client_id: str) -> None:
    status, stdout, stderr = csr("--client-id", client_id, "--out", tmp_path / "out")
    assert (status, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1
    assert "--client-id" in stderr
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_directory_can_have_is_told(tmp_path: Path) -> None:
    status, _, stderr = csr("--client-id", "acme", "--out", tmp_path / ("x" * 300))
    assert status == 2
    assert "cannot write to" in stderr


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, stderr = csr("--client-id", "acme", "--out", tmp_path / "file" / "below")
    assert status == 2
    assert "cannot write to" in stderr
