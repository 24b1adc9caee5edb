"""``reconcile`` against a sidecar and an emulator: what it tells, what it asks, what Mangopay receives."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import sidecar.cli.reconcile as cli
from sidecar.cli.group import invoke
from sidecar.proxy import readback
from sidecar.reconcile.proxy import Proxy
from sidecar.telemetry.line_format import json_line
from tests.support import canary
from tests.support.app import running_pair
from tests.wire.faults.support import NATURAL, USER, try_call

if TYPE_CHECKING:
    from tests.support.app import Pair

PROJECT: Final = Path(__file__).parents[2]
CALLER_KEY: Final = canary.CANARY_CALLER_KEY
EXECUTED, REFUSED, NOT_THERE, REUSED = (
    f"reconcile-{name}" for name in ("executed-0001", "refused-00001", "not-there-001", "reused-000001")
)


@dataclass
class Ran:
    """What one run of the command printed."""

    status: int
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads("\n".join(self.out))
        return found


class Command:
    """Runs the command in this process, with variables of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        # Reading back gives up soon: here it finds nothing.
        monkeypatch.setattr(readback, "PAUSES", (0.01,))
        # It is for processes of the command's own, and lasts.
        monkeypatch.setattr(cli, "forbid_core_dumps", lambda: None)

    async def __call__(self, *arguments: str, **environ: str) -> Ran:
        ran = Ran(-1)
        self._patch.setattr(cli, "print_line", lambda text: ran.out.extend(text.splitlines()))
        self._patch.setattr(cli, "print_painted", lambda text: ran.out.extend(text.splitlines()))
        self._patch.setattr(cli, "print_error", ran.err.append)
        self._patch.setattr("sidecar.cli.group.print_error", ran.err.append)
        for name, text in environ.items():
            self._patch.setenv(f"SIDECAR_{name.upper()}", text)
        ran.status = await asyncio.to_thread(invoke, ["reconcile", *arguments])
        canary.record("reconcile", "\n".join((*ran.out, *ran.err)))
        return ran


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(monkeypatch)


def log_of(pair: Pair, path: Path, **changes: object) -> str:
    """Write the sidecar's log into a file; ``changes`` are made in each line of a call."""
    lines = [{**entry, **(changes if entry["event"] == "request" else {})} for entry in pair.app.log.entries]
    path.write_bytes(gzip.compress(b"".join(map(json_line, lines))))
    return str(path)


def keyed(key: str) -> tuple[tuple[str, str], ...]:
    return (("Idempotency-Key", key),)


async def lose(pair: Pair) -> None:
    """Make calls of each kind whose outcome stays unknown."""
    faults = pair.emulator.faults
    assert (await pair.call("POST", NATURAL.replace("natural", "legal"), b"{}", headers=keyed(REUSED))).status == 400
    faults.add("status=500 GET /v2.01/acme/responses")
    faults.add("reset=before POST /v2.01/acme/users/natural times=1")
    assert await try_call(pair.app, "POST", NATURAL, USER, headers=keyed(NOT_THERE)) is not None
    faults.add("reset=after POST,PUT /v2.01/acme")
    await asyncio.gather(
        *(
            try_call(pair.app, "POST", NATURAL, body, headers=keyed(key))
            for key, body in ((EXECUTED, USER), (REFUSED, b"{}"), (REUSED, USER))
        ),
        try_call(pair.app, "POST", NATURAL, USER),
        try_call(pair.app, "PUT", f"{NATURAL}/user_m_1", USER, headers=keyed(EXECUTED)),
    )
    faults.clear()
    pair.emulator.received.clear()


def asked(pair: Pair) -> list[str]:
    """The keys that Mangopay was asked for."""
    return sorted(each.target.rpartition("/")[2] for each in pair.emulator.received if "/responses/" in each.target)


async def test_each_write_is_told_and_each_key_asked_for_once(command: Command, tmp_path: Path) -> None:
    async with running_pair() as pair:
        await lose(pair)
        log = log_of(pair, tmp_path / "sidecar.log.gz")
        ran = await command("--log", log, log, "--json", "--port", str(pair.app.port))
        document = ran.document
        told = {(each["idempotency_key"], each["method"]): each for each in document["writes"]}
        assert {key: each["verdict"] for key, each in told.items()} == {
            (EXECUTED, "POST"): "executed",
            (REFUSED, "POST"): "refused",
            (NOT_THERE, "POST"): "not_there",
            (REUSED, "POST"): "not_this_call",
            (None, "POST"): "without_key",
            (None, "PUT"): "without_key",
        }
        executed, refused = told[EXECUTED, "POST"], told[REFUSED, "POST"]
        assert (executed["status"], executed["certain"]) == (200, True)
        assert executed["resource_id"] in pair.emulator.state.clients["acme"].collection("User")
        assert (refused["status"], refused["type"], refused["certain"]) == (400, "param_error", True)
        assert "users/legal" in told[REUSED, "POST"]["reason"]
        assert (ran.status, document["uncertain"], document["read"]["broken"]) == (1, 4, 0)
        assert asked(pair) == sorted([EXECUTED, REFUSED, NOT_THERE, REUSED])
        # It is said to the sidecar that apps go first, and to nobody else.
        assert not [name for each in pair.emulator.received for name, _ in each.headers if b"sidecar" in name.lower()]


async def test_the_table_says_what_to_do(command: Command, tmp_path: Path) -> None:
    async with running_pair() as pair:
        await lose(pair)
        ran = await command("--log", log_of(pair, tmp_path / "a.log"), "--port", str(pair.app.port))
        head, *rows = ran.out
        assert head.split("  ")[0] == "when (UTC)"
        by_key = {key: row for key in (EXECUTED, REFUSED, NOT_THERE, REUSED) for row in rows if key in row}
        assert "  executed  " in by_key[EXECUTED]
        assert "400 param_error" in by_key[REFUSED]
        assert "not there" in by_key[NOT_THERE]
        assert "its key was used for /V2.01/{client}/users/legal" in by_key[REUSED]
        assert any("look for users/natural made from" in row for row in rows)
        assert any("look whether the resource has changed" in row for row in rows)
        assert any(line.startswith("2 without key: ") for line in rows)
        assert rows[-1] == "6 writes with an unknown outcome; 4 still uncertain."
        # Certain ones first: what is left to do stands next to the last line.
        places = [rows.index(by_key[key]) for key in (EXECUTED, REFUSED)]
        assert max(places) < min(rows.index(by_key[key]) for key in (NOT_THERE, REUSED))
        assert ran.err == []


async def test_nothing_uncertain_is_0_and_nobody_is_asked(command: Command, tmp_path: Path) -> None:
    async with running_pair() as pair:
        assert (await pair.call("POST", NATURAL, USER)).status == 200
        pair.emulator.received.clear()
        ran = await command("--log", log_of(pair, tmp_path / "a.log"), "--port", "1")
        assert (ran.status, ran.out) == (0, ["0 writes with an unknown outcome; 0 still uncertain."])


async def test_all_certain_is_0(command: Command, tmp_path: Path) -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("status=500 GET /v2.01/acme/responses")
        pair.emulator.faults.add("reset=after POST api")
        await try_call(pair.app, "POST", NATURAL, USER, headers=keyed(EXECUTED))
        pair.emulator.faults.clear()
        ran = await command("--log", log_of(pair, tmp_path / "a.log"), "--port", str(pair.app.port))
        assert (ran.status, ran.out[-1]) == (0, "1 write with an unknown outcome; 0 still uncertain.")


# --- how the sidecar is reached --------------------------------------------------------------------------------------

ACCOUNT: Final = {
    "mangopay_environment": "emulator",
    "mangopay_base_url": "http://127.0.0.1:1",
    "mangopay_client_id": "acme",
    "mangopay_api_key": canary.CANARY_API_KEY,
}


async def test_by_tcp_with_the_caller_key_of_the_configuration(command: Command, tmp_path: Path) -> None:
    async with running_pair(listen_caller_key=CALLER_KEY, mangopay_client_id_aliases="{ClientId}") as pair:
        log = await one_lost(pair, tmp_path)
        environ = {**ACCOUNT, "listen_port": str(pair.app.port)}
        ran = await command("--log", log, **environ)
        assert ran.status == 1
        assert "SIDECAR_LISTEN_CALLER_KEY_FILE" in ran.err[-1]
        assert any("not asked" in line for line in ran.out)
        ran = await command("--log", log, **environ, listen_caller_key=CALLER_KEY)
        assert (ran.status, asked(pair)) == (0, [EXECUTED])


async def test_by_the_unix_socket_where_there_is_no_tcp(command: Command, tmp_path: Path) -> None:
    socket = str(tmp_path / "s")
    async with running_pair(listen_unix_socket=socket) as pair:
        log = await one_lost(pair, tmp_path)
        ran = await command("--log", log, **ACCOUNT, listen_port="off", listen_unix_socket=socket)
        assert (ran.status, asked(pair)) == (0, [EXECUTED])


@pytest.mark.usefixtures("command")
async def test_the_line_for_systemd_asks_at_the_socket_of_the_unit(tmp_path: Path) -> None:
    """As docs/reconcile.md prints it; its places, which are those of the unit, are moved into a directory."""
    page, unit = (PROJECT / "docs" / "reconcile.md", PROJECT / "deploy" / "systemd" / "mangopay-sidecar.service")
    (line,) = re.findall(r"^\$ sudo sh -c '(.*)'$", page.read_text(), re.MULTILINE)
    socket = str(tmp_path / "s")
    for setting, place, moved in (
        ("Environment=SIDECAR_LISTEN_PORT=", "off", "off"),
        ("Environment=SIDECAR_LISTEN_UNIX_SOCKET=", "/run/mangopay-sidecar.sock", socket),
        ("EnvironmentFile=", "/etc/mangopay-sidecar/environment", str(tmp_path / "environment")),
        ("LoadCredential=api-key:", "/etc/mangopay-sidecar/api-key", str(tmp_path / "api-key")),
        ("ExecStart=", "/opt/mangopay-sidecar/bin/mangopay-sidecar", f"{sys.executable} -m mangopay_sidecar"),
    ):
        assert f"\n{setting}{place}" in unit.read_text()
        assert place in line
        line = line.replace(place, moved)
    public = [f"SIDECAR_{name.upper()}={text}\n" for name, text in ACCOUNT.items() if name != "mangopay_api_key"]
    (tmp_path / "environment").write_text("".join(public))
    (tmp_path / "api-key").write_text(canary.CANARY_API_KEY)
    (tmp_path / "api-key").chmod(0o600)
    async with running_pair(listen_unix_socket=socket) as pair:
        log = await one_lost(pair, tmp_path)
        line = line.replace("journalctl -u mangopay-sidecar -o cat", f"gunzip --stdout {log}")
        program = await asyncio.create_subprocess_exec("sh", "-c", line, cwd=PROJECT, stdout=-1, stderr=-1)
        said = b"".join(await program.communicate()).decode()
        canary.record("reconcile", said)
        assert (program.returncode, asked(pair)) == (0, [EXECUTED]), said


async def one_lost(pair: Pair, tmp_path: Path, **changes: object) -> str:
    """Make a keyed call that was executed and whose outcome is unknown; return its log."""
    credentials = (("Authorization", "Basic " + b64encode(f"x:{CALLER_KEY}".encode()).decode()),)
    pair.emulator.faults.add("status=500 GET /v2.01/acme/responses")
    pair.emulator.faults.add("reset=after POST api")
    await try_call(pair.app, "POST", NATURAL, USER, headers=(*keyed(EXECUTED), *credentials))
    pair.emulator.faults.clear()
    pair.emulator.received.clear()
    return log_of(pair, tmp_path / "one.log", **changes)


async def test_another_environments_calls_are_not_asked_for(command: Command, tmp_path: Path) -> None:
    async with running_pair() as pair:
        log = await one_lost(pair, tmp_path, environment="production")
        ran = await command("--log", log, "--json", "--port", str(pair.app.port))
        (told,) = ran.document["writes"]
        assert (told["verdict"], ran.status, asked(pair)) == ("other_account", 1, [])


async def test_a_sidecar_that_does_not_run_leaves_the_list_of_what_is_unknown(command: Command, tmp_path: Path) -> None:
    async with running_pair() as pair:
        log = await one_lost(pair, tmp_path)
    ran = await command("--log", log, "--port", "1")
    assert (ran.status, ran.err) == (1, ["not all could be asked: no sidecar answers at 127.0.0.1:1 and ::1:1"])
    assert EXECUTED in ran.out[1]


async def test_a_configuration_that_was_not_read_is_mentioned_where_no_sidecar_answers(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_pair() as pair:
        log = await one_lost(pair, tmp_path)
    (tmp_path / "sidecar.toml").write_text("[listen]\nport = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Proxy, "get", lambda *_: None)
    ran = await command("--log", log)
    assert ran.status == 1
    assert ran.err[-1] == "sidecar.toml in the working directory is not read: name it by --config sidecar.toml"
    ran = await command("--log", log, "--port", "1")
    assert "sidecar.toml" not in "".join(ran.err)


async def test_only_calls_since_a_time_are_told_and_the_others_counted(command: Command, tmp_path: Path) -> None:
    async with running_pair() as pair:
        log = await one_lost(pair, tmp_path, timestamp="2020-01-01T00:00:00.000Z")
        port = str(pair.app.port)
        ran = await command("--log", log, "--since", "24h", "--port", port)
        assert (ran.status, ran.err) == (0, ["1 call with an unknown outcome before --since left out"])
        ran = await command("--log", log, "--port", port)
        assert (ran.status, asked(pair)) == (1, [])
        assert "too old" in ran.out[1]
        assert "look for users/natural made from 2019-12-31 23:" in ran.out[1]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--log FILE"),
        (("--log", "/nonexistent.log"), "cannot read /nonexistent.log: No such file"),
        (("--log", "-", "--since", "soon"), "--since is no time"),
        (("--log", "-", "--since", "0"), "24h"),
        (("--log", "-", "--config", "/nonexistent.toml"), "nonexistent.toml"),
    ],
)
async def test_usage(arguments: tuple[str, ...], word: str, command: Command) -> None:
    ran = await command(*arguments)
    assert (ran.status, ran.out) == (2, [])
    assert word in " ".join(ran.err)


async def test_a_configuration_that_is_half_there_is_not_guessed_at(command: Command, tmp_path: Path) -> None:
    empty = tmp_path / "empty.log"
    empty.touch()
    assert (await command("--log", str(empty), listen_caller_key=CALLER_KEY)).status == 2
    environ = {**ACCOUNT, "listen_caller_key": CALLER_KEY, "listen_port": "0"}
    ran = await command("--log", str(empty), **environ)
    assert (ran.status, "--port" in ran.err[0]) == (2, True)


async def test_a_log_that_is_none_is_mentioned(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "other.log"
    path.write_text('{"event":"request","outcome":"unkno\nGET / 200\n{"outcome":"unknown"\n')
    ran = await command("--log", str(path))
    assert ran.status == 1  # a torn line may hide a payment
    assert "none of the 3 lines is a sidecar's" in ran.err[0]
    assert ran.err[1] == f"2 lines not whole, and not read; 1 may hide an unknown outcome: {path}:3, {path}:1"


@pytest.mark.parametrize("content", ["", "GET / 200\n"], ids=["empty", "another program's"])
async def test_without_a_line_of_ours_nothing_is_certain(command: Command, tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.log"
    path.write_text(content)
    ran = await command("--log", str(path))
    assert (ran.status, "is a sidecar's" in ran.err[0]) == (2, True)


# --- who answers at the port -----------------------------------------------------------------------------------------

FINE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-RateLimit: 1\r\nX-RateLimit: 2\r\n\r\nhi"


CUT: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"
CUT_CHUNKS: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi"


@pytest.mark.parametrize(
    ("answer", "status"), [(FINE, 200), (CUT, 0), (CUT_CHUNKS, 0), (b"", None), (b"SSH-2.0-x\r\n", None)]
)
async def test_a_connection_that_has_ended_is_opened_anew_and_what_is_no_answer_is_none(
    answer: bytes, status: int | None
) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        proxy = Proxy([("127.0.0.1", server.sockets[0].getsockname()[1])], None)
        got = [await asyncio.to_thread(proxy.get, "/x") for _ in range(2)]
        proxy.close()
    assert [None if reply is None else reply.status for reply in got] == [status] * 2
    assert len(heads) == 2
    assert all(b"Host: localhost\r\n" in head and b"X-Sidecar-Lane: batch\r\n" in head for head in heads)
    if status and got[0] is not None:
        assert (got[0].body, got[0].headers["x-ratelimit"]) == (b"hi", "1, 2")


async def test_a_sidecar_that_does_not_answer_in_time_is_asked_at_one_address() -> None:
    heads: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = ("127.0.0.1", server.sockets[0].getsockname()[1])
        proxy = Proxy([address, address], None, timeout=0.2)
        reply = await asyncio.to_thread(proxy.get, "/x")
        over.set()
        proxy.close()
    assert reply is not None
    assert (reply.status, len(heads)) == (0, 1)
