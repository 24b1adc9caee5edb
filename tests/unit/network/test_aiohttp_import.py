"""aiohttp is imported without a trust store that nobody uses, and the environment is as it was before."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
import trustme

from sidecar.network import aiohttp_import

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM: Final = """
import os, ssl, sys
from sidecar.network.aiohttp_import import import_aiohttp

before = dict(os.environ)
{before}
import_aiohttp()
context = sys.modules["aiohttp.connector"]._SSL_CONTEXT_VERIFIED
print(len(context.get_ca_certs()), context.verify_mode == ssl.CERT_REQUIRED, dict(os.environ) == before)
"""


def _run(program: str, **environ: str) -> list[str]:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environ)
    return done.stdout.split()


@pytest.mark.parametrize("environ", [{}, {"SSL_CERT_FILE": "/no/such/file", "SSL_CERT_DIR": "/no/such/directory"}])
def test_the_default_context_trusts_nobody_and_the_environment_stays(environ: dict[str, str]) -> None:
    assert _run(_PROGRAM.format(before=""), **environ) == ["0", "True", "True"]


def test_what_is_imported_already_stays_as_it_is() -> None:
    system = _run("import ssl; print(len(ssl.create_default_context().get_ca_certs()))")
    assert _run(_PROGRAM.format(before="import aiohttp")) == [*system, "True", "True"]


def test_a_context_that_is_made_afterwards_has_the_system_s_certificates(tmp_path: Path) -> None:
    """That of the upstream connections, if no ``tls.ca_file`` is set."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    program = (
        "import ssl; from sidecar.network.aiohttp_import import import_aiohttp; import_aiohttp(); "
        "print(len(ssl.create_default_context().get_ca_certs()))"
    )
    assert _run(program, SSL_CERT_FILE=str(tmp_path / "ca.pem")) == ["1"]


def test_an_import_that_fails_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_name: str) -> None:
        assert os.environ["SSL_CERT_FILE"] == os.devnull
        raise ImportError

    monkeypatch.delitem(sys.modules, "aiohttp", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/mine")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(ImportError):
        aiohttp_import.import_aiohttp()
    assert (os.environ["SSL_CERT_FILE"], "SSL_CERT_DIR" in os.environ) == ("/mine", False)
