"""``status``: asks the admin port that the configuration names, and tells in words."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest

from sidecar.admin.server import AdminServer
from sidecar.core.admission.guard import GuardRules
from sidecar.runtime import SystemClock
from tests.support.ports import free_port
from tests.support.sidecar import COMMAND, Command
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


class Terminal:
    """A command in a terminal of its own; what it draws can be waited for."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            with suppress(OSError):
                os.execve(COMMAND, [str(COMMAND), *arguments], {"PATH": os.environ["PATH"], "TERM": "xterm", **environ})
            os._exit(127)
        self._drawn = b""

    def wait_for(self, text: str) -> str:
        """Return what was drawn since the last time, once ``text`` is in it."""
        while text.encode() not in self._drawn:
            assert select.select([self._master], [], [], 30)[0], self._drawn
            self._drawn += os.read(self._master, 65536)
        drawn, self._drawn = self._drawn, b""
        return drawn.decode()

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait(self) -> int:
        with suppress(OSError):
            while os.read(self._master, 65536):
                pass
        os.close(self._master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


UP = f"mangopay-sidecar {STATUS.version}, up"


async def test_on_a_terminal_it_is_in_colour_unless_somebody_minds(hostile_port: int) -> None:
    """And in no other colours than ours, whoever sits on the port."""

    def look(**environ: str) -> str:
        terminal = Terminal("status", "--port", str(hostile_port), **environ)
        drawn = terminal.wait_for("forged")
        assert terminal.wait() == 0
        return drawn

    painted = "\x1b[33mwarning\x1b[0m    harmless?error      forged"
    for drawn in (
        await asyncio.to_thread(look),
        (await status("--port", str(hostile_port), FORCE_COLOR="1"))[1],
    ):
        assert painted in drawn
        assert drawn.count("\x1b") == 2
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in await asyncio.to_thread(look, **plain)


@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM"])
async def test_watched_on_a_terminal_it_is_drawn_in_its_place_until_somebody_ends_it(port: int, end: str) -> None:
    def look() -> int:
        terminal = Terminal("status", "--watch", "--port", str(port))
        first = terminal.wait_for("\x1b[J")
        assert first.lstrip().startswith("\x1b[H")
        assert UP in first
        assert UP in terminal.wait_for("\x1b[J")
        if end == "Ctrl-C":
            terminal.press(b"\x03")
        else:
            os.kill(terminal.pid, signal.SIGTERM)
        return terminal.wait()

    assert await asyncio.to_thread(look) == 0


async def test_watched_it_survives_a_restart_of_the_sidecar() -> None:
    """And it waits for one that is not there yet."""
    loop, server = asyncio.get_running_loop(), AdminServer(State(), GuardRules(frozenset()), clock=SystemClock())
    port = free_port()

    def wait_for(command: Command, pattern: str) -> None:
        command.wait_for(pattern)
        with command._grew:
            command._output["stdout"].clear()

    with Command("status", "--watch", "--port", str(port)) as command:
        for _ in range(2):
            await asyncio.to_thread(wait_for, command, f"^no sidecar answers on admin port {port}: ")
            listener = await loop.create_server(server, "127.0.0.1", port)
            await asyncio.to_thread(wait_for, command, f"^{UP}")
            listener.close()
        assert await asyncio.to_thread(command.stop) == 0
        assert command.stderr == ""
    await server.shutdown(1.0)


async def test_what_is_for_people_and_what_for_programs_exclude_each_other(port: int) -> None:
    code, stdout, stderr = await status("--port", str(port), "--watch", "--json")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)


async def test_all_numbers_are_there_for_whoever_asks(port: int) -> None:
    short, long = [(await status("--port", str(port), *more))[1] for more in ((), ("--verbose",))]
    assert "callers    " not in short
    assert "callers    " in long


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
