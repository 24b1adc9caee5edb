"""The Dockerfile, what it takes from this tree, and its health check. Building it for real: ``make image-check``."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.version import __version__
from tests.support.ports import free_port
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT: Final = Path(__file__).parents[2]
HEALTH_CHECK: Final = PROJECT / "deploy" / "container" / "healthcheck.py"


# --- the Dockerfile --------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continuation lines joined, without comments."""
    lines = [line for line in (PROJECT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined) if word]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1]


def arguments() -> dict[str, str]:
    pairs = [rest.partition("=") for name, rest in instructions() if name == "ARG"]
    return {name: value for name, _, value in pairs}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, PROJECT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_stage_begins_with_the_one_base_image_pinned_by_its_digest() -> None:
    assert [rest.split(" AS ")[0] for name, rest in instructions() if name == "FROM"] == ["${BASE_IMAGE}"] * 2
    assert re.fullmatch(r"docker\.io/library/python:3\.13-slim@sha256:[0-9a-f]{64}", arguments()["BASE_IMAGE"])


def test_it_runs_as_a_number_and_without_a_shell() -> None:
    assert re.fullmatch(r"[1-9][0-9]+:[1-9][0-9]+", last("USER"))
    check = last("HEALTHCHECK").partition("CMD ")[2]
    for command in (last("ENTRYPOINT"), last("CMD"), check):
        assert isinstance(json.loads(command), list)
    assert json.loads(last("CMD")) == ["run"]
    assert last("STOPSIGNAL") == "SIGTERM"


def test_everything_from_outside_is_pinned_by_hashes_and_no_source_is_built_but_ours() -> None:
    installs = [step for name, rest in instructions() if name == "RUN" for step in rest.split("&&") if "pip" in step]
    assert len(installs) >= 4
    for step in installs:
        words = set(shlex.split(step))
        if {"install", "wheel"} & words:
            assert {"--require-hashes", "--only-binary"} <= words or "--no-index" in words, step
            assert "--no-index" not in words or "--no-deps" in words, step


def test_nothing_is_exposed_downloaded_or_declared_writable() -> None:
    assert not {"EXPOSE", "ADD", "VOLUME"} & {name for name, _ in instructions()}


def test_the_labels_can_be_given_and_the_version_is_right_without() -> None:
    assert arguments()["VERSION"] == __version__
    label = last("LABEL")
    for name in ("version", "revision", "created", "source", "licenses"):
        assert f'org.opencontainers.image.{name}="${{{name.upper()}}}"' in label


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    """A key, a virtual environment or .git in the build's context could end up in a layer."""
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {path for paths in copied for path in paths}
    assert [path for paths in copied for path in paths if not (PROJECT / path).exists()] == []


# --- the health check ------------------------------------------------------------------------------------------------


def checked(**environ: str) -> tuple[int, str]:
    """Run the health check with the interpreter's options that the image has."""
    options = json.loads(last("HEALTHCHECK").partition("CMD ")[2])[1:-1]
    command = [sys.executable, *options, HEALTH_CHECK]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip()


@pytest.fixture(scope="module")
def sidecar() -> Iterator[Sidecar]:
    with Command("emulator", "--port", "0") as emulator:
        upstream = emulator.wait_for(r"^ready emulator=(\S+)$")[1]
        with Sidecar(upstream) as running:
            yield running


@pytest.fixture(scope="module")
def port(sidecar: Sidecar) -> str:
    return sidecar.admin_url.rpartition(":")[2]


class _Unwell(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def unwell() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Unwell) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield str(server.server_port)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "hosts", [None, "", "127.0.0.1", "0.0.0.0", "::1,127.0.0.1", "localhost", "127.0.0.99, 127.0.0.1"]
)
def test_a_sidecar_that_serves_is_healthy_wherever_its_admin_port_listens(port: str, hosts: str | None) -> None:
    environ = {} if hosts is None else {"SIDECAR_ADMIN_HOST": hosts}
    assert checked(SIDECAR_ADMIN_PORT=port, **environ) == (0, "")


@pytest.mark.parametrize("host", ["", 'host = "127.0.0.1"\n', 'host = ["127.0.0.1", "::1"]\n'])
def test_a_port_in_the_configuration_file_is_found(port: str, host: str, tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text(f'[mangopay]\nclient_id = "acme"\n[admin]\nport = {port}\n{host}')
    assert checked(SIDECAR_CONFIG=str(file)) == (0, "")


def test_a_variable_wins_over_the_configuration_file(port: str, tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text('[admin]\nport = 1\nhost = "127.0.0.1"\n')
    assert checked(SIDECAR_CONFIG=str(file), SIDECAR_ADMIN_PORT=port) == (0, "")
    assert checked(SIDECAR_CONFIG=str(file)) == (1, "no sidecar answers on admin port 1 of 127.0.0.1")


def test_a_file_that_says_nothing_of_it_means_the_default(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text('[mangopay]\nclient_id = "acme"\n')
    code, said = checked(SIDECAR_CONFIG=str(file), SIDECAR_ADMIN_HOST="127.0.0.99")
    assert (code, said) == (1, "no sidecar answers on admin port 19090 of 127.0.0.99")


@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_brackets_around_an_address_are_no_part_of_it(host: str) -> None:
    """The sidecar takes them, as in a URL."""
    free = str(free_port())
    said = f"no sidecar answers on admin port {free} of ::1"
    assert checked(SIDECAR_ADMIN_PORT=free, SIDECAR_ADMIN_HOST=host) == (1, said)


def test_without_an_admin_port_there_is_nothing_to_ask(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text('[admin]\nport = "off"\n')
    assert checked(SIDECAR_ADMIN_PORT="off") == (0, "")
    assert checked(SIDECAR_CONFIG=str(file)) == (0, "")


def test_a_port_that_cannot_be_known_is_told_with_the_mend() -> None:
    code, said = checked(SIDECAR_ADMIN_PORT="0")
    assert code == 1
    assert "set SIDECAR_ADMIN_PORT" in said


def test_nobody_there_and_another_response_than_200_are_unhealthy(unwell: str) -> None:
    free = str(free_port())
    for port in (free, unwell):
        code, said = checked(SIDECAR_ADMIN_PORT=port, SIDECAR_ADMIN_HOST="127.0.0.1")
        assert (code, said) == (1, f"no sidecar answers on admin port {port} of 127.0.0.1")


def test_it_loads_next_to_nothing(port: str) -> None:
    """What it costs is what it imports: no HTTP, no TOML, no regular expressions, not even all of ``socket``."""
    code = (
        f"import sys; source = open({str(HEALTH_CHECK)!r}).read()\n"
        "try: exec(compile(source, 'x', 'exec'), {'__name__': '__main__'})\n"
        "except SystemExit as end: assert not end.code\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, env={"SIDECAR_ADMIN_PORT": port}, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"socket", "enum", "re", "http.client", "tomllib", "collections", "site", "typing"}
    assert len(loaded) < 40
