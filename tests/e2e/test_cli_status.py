"""``status``: asks the admin port that the configuration names, and tells in words."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from sidecar.admin.server import AdminServer
from sidecar.core.admission.guard import GuardRules
from sidecar.runtime import SystemClock
from tests.support.sidecar import Command
from tests.wire.test_admin_server import STATUS, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.admin.status import Status

REQUIRED = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", "SIDECAR_MANGOPAY_API_KEY": "not-a-real-key"}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = AdminServer(State(), GuardRules(frozenset()), clock=SystemClock())
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await server.shutdown(1.0)


#: A sidecar's document as a stranger would write it to clear the terminal, and to forge a line.
HOSTILE = msgspec.structs.replace(STATUS, client_id="acme\x1b[2J\x9b31m", warnings=("harmless\nerror      forged",))


class Hostile(State):
    def status(self) -> Status:
        return HOSTILE


@pytest.fixture
async def hostile_port() -> AsyncIterator[int]:
    server = AdminServer(Hostile(), GuardRules(frozenset()), clock=SystemClock())
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await server.shutdown(1.0)


@pytest.fixture
async def other_server() -> AsyncIterator[int]:
    """A port of somebody else's, which answers every request with a page."""

    async def response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(response, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def status(*arguments: str, **environ: str) -> tuple[int, str, str]:
    def run() -> tuple[int, str, str]:
        with Command("status", *arguments, environ=environ) as command:
            return command.wait(), command.stdout, command.stderr

    return await asyncio.to_thread(run)


async def test_the_configured_admin_port_is_asked_and_told_in_words(port: int) -> None:
    code, stdout, stderr = await status(**REQUIRED, SIDECAR_ADMIN_PORT=str(port))
    assert (code, stderr) == (0, "")
    assert stdout.startswith(f"mangopay-sidecar {STATUS.version}, up 2 h 5 min\n")
    assert "account    acme in sandbox" in stdout


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "::1,127.0.0.1"])
async def test_a_listener_on_any_address_is_asked_on_loopback(port: int, host: str) -> None:
    code, _, stderr = await status(**REQUIRED, SIDECAR_ADMIN_PORT=str(port), SIDECAR_ADMIN_HOST=host)
    assert (code, stderr) == (0, "")


async def test_a_port_on_the_command_line_needs_no_configuration(port: int) -> None:
    assert (await status("--port", str(port)))[0] == 0


async def test_json_is_the_document_itself(port: int) -> None:
    code, stdout, _ = await status("--port", str(port), "--json")
    assert code == 0
    assert json.loads(stdout)["client_id"] == "acme"


async def test_who_sits_on_the_port_cannot_steer_the_terminal(hostile_port: int) -> None:
    code, stdout, _ = await status("--port", str(hostile_port))
    assert code == 0
    assert all(line.isprintable() for line in stdout.split("\n"))
    assert "account    acme?[2J?31m in sandbox" in stdout
    assert "warning    harmless?error      forged" in stdout


async def test_nor_by_the_document_itself(hostile_port: int) -> None:
    code, stdout, _ = await status("--port", str(hostile_port), "--json")
    assert code == 0
    assert all(line.isprintable() for line in stdout.split("\n"))
    assert json.loads(stdout)["client_id"] == "acme\x1b[2J?31m", "JSON has words of its own for what is below space"


async def test_none_running_is_status_1_and_one_line(port: int) -> None:
    code, stdout, stderr = await status("--port", "1")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("no sidecar answers on admin port 1: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("--json",)])
async def test_another_program_on_that_port_is_told(other_server: int, arguments: tuple[str, ...]) -> None:
    code, stdout, stderr = await status("--port", str(other_server), *arguments)
    assert (code, stdout) == (1, "")
    assert stderr.count("\n") == 1


async def test_an_admin_port_that_is_off_is_told() -> None:
    code, _, stderr = await status(**REQUIRED, SIDECAR_ADMIN_PORT="off")
    assert code == 1
    assert "admin.port is off" in stderr


async def test_a_bad_configuration_is_status_2() -> None:
    code, _, stderr = await status(**REQUIRED, SIDECAR_ADMIN_PORT="ninety")
    assert code == 2
    assert "SIDECAR_ADMIN_PORT" in stderr
