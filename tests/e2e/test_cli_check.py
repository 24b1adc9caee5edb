"""``check``: what it prints, how it ends, what it asks for, and what it never does."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.answering_mangopay import AnsweringMangopay, answering, response
from tests.support.canary import CANARY_API_KEY, CANARY_EMBEDDED_KEY
from tests.support.checking import check, examined
from tests.support.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STEPS = ["config", "files", "certificate", "sidecar", "dns", "tcp", "tls", "token", "clock", "call", "read_back"]
REFUSED = response(401, '{"error": "invalid_client"}')
LOCKED = response(400, '{"error": "unauthorized_client"}')


@pytest.fixture
async def mangopay() -> AsyncIterator[AnsweringMangopay]:
    mangopay = AnsweringMangopay()
    async with answering(mangopay):
        yield mangopay


def url(mangopay: AnsweringMangopay) -> str:
    return f"http://127.0.0.1:{mangopay.port}"


async def test_a_line_for_each_step_and_status_0_when_all_is_right(mangopay: AnsweringMangopay) -> None:
    checked = await check(url(mangopay))
    assert (checked.status, checked.stderr) == (0, "")
    lines = checked.stdout.splitlines()
    assert [line.split()[1] for line in lines] == STEPS
    assert {line.split()[0] for line in lines} == {"ok", "skipped"}
    assert all(line.endswith(" ms)") for line in lines if line.startswith("ok "))


async def test_a_failure_has_its_cause_and_what_to_do_on_lines_of_their_own(mangopay: AnsweringMangopay) -> None:
    mangopay.token = REFUSED
    checked = await check(url(mangopay))
    assert (checked.status, checked.stderr) == (1, "")
    lines = checked.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("failed "))
    assert lines[at].split()[1] == "token"
    assert lines[at + 1].split()[0] == "cause:"
    assert lines[at + 1].endswith("[wrong_key]")
    assert lines[at + 2].split()[0] == "fix:"


async def test_json_is_one_document(mangopay: AnsweringMangopay) -> None:
    checked = await check(url(mangopay), "--json")
    document = checked.document
    assert document["ok"] is True
    assert [step["name"] for step in document["steps"]] == STEPS
    for step in document["steps"]:
        assert set(step) == {"name", "status", "detail", "code", "cause", "mend", "seconds"}
        assert step["seconds"] >= 0


async def test_one_token_call_and_two_gets_with_its_token_are_made_even_with_an_embedded_key(
    mangopay: AnsweringMangopay,
) -> None:
    checked = await check(url(mangopay), mangopay_embedded_api_key=CANARY_EMBEDDED_KEY)
    assert checked.status == 0
    token, call, read_back = mangopay.heads
    assert token.startswith(b"POST /v2.01/oauth/token HTTP/1.1\r\n")
    assert call.startswith(b"GET /v2.01/acme/clients HTTP/1.1\r\n")
    assert re.match(rb"GET /v2\.01/acme/responses/[a-z0-9-]{16,36} HTTP/1\.1\r\n", read_back)
    assert all(b"\r\nAuthorization: Bearer " in each for each in (call, read_back))


@pytest.mark.parametrize("said", [REFUSED, LOCKED, response(403), response(503), response(200, "<html>"), b""])
async def test_a_token_call_that_failed_is_not_repeated(mangopay: AnsweringMangopay, said: bytes) -> None:
    mangopay.token = said
    checked = await check(url(mangopay), "--json")
    assert checked.status == 1
    assert checked.step("call")["status"] == "skipped"
    assert [head.split(b" ")[1] for head in mangopay.heads] == [b"/v2.01/oauth/token"]


async def test_a_path_prefix_is_kept(mangopay: AnsweringMangopay) -> None:
    assert (await check(f"{url(mangopay)}/gate/way")).status == 0
    *paths, read_back = [head.split(b" ")[1] for head in mangopay.heads]
    assert read_back.startswith(b"/gate/way/v2.01/acme/responses/")
    assert paths == [
        b"/gate/way/v2.01/oauth/token",
        b"/gate/way/v2.01/acme/clients",
    ]


async def test_offline_touches_no_network(mangopay: AnsweringMangopay) -> None:
    connections: list[int] = []
    server = await asyncio.start_server(lambda *_: connections.append(1), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    checked = await check(url(mangopay), "--offline", "--json", admin_port=str(port))
    server.close()
    await server.wait_closed()
    assert checked.status == 0
    assert list(checked.marks) == ["config", "files", "certificate"]
    assert (mangopay.heads, connections) == ([], [])


@pytest.mark.parametrize("arguments", [(), ("--offline",)])
async def test_a_bad_configuration_is_status_2_one_line_on_stderr_and_no_network(
    mangopay: AnsweringMangopay, arguments: tuple[str, ...]
) -> None:
    checked = await check(url(mangopay), "--json", *arguments, listen_port="ninety")
    assert checked.status == 2
    assert checked.failures == [("config", "config_unusable")]
    assert checked.stderr.startswith("SIDECAR_LISTEN_PORT ")
    assert checked.stderr.count("\n") == 1
    assert mangopay.heads == []


# --- a sidecar that runs already -------------------------------------------------------------------------------------


def admin_port(sidecar: Sidecar) -> str:
    return sidecar.admin_url.rpartition(":")[2]


async def latched(sidecar: Sidecar) -> None:
    """Wait until the running sidecar's first token call is answered."""
    await asyncio.to_thread(sidecar.wait_for, '"token.latched"', stream="stderr")


@pytest.mark.parametrize(("said", "code"), [(LOCKED, "sidecar_latched_lockout"), (REFUSED, "sidecar_latched_refused")])
async def test_while_a_running_sidecar_is_latched_there_is_no_token_call_without_force(
    mangopay: AnsweringMangopay, said: bytes, code: str
) -> None:
    mangopay.token = said
    with await asyncio.to_thread(Sidecar, url(mangopay)) as sidecar:
        await latched(sidecar)
        assert mangopay.tokens_asked == 1
        checked = await check(url(mangopay), "--json", admin_port=admin_port(sidecar))
        assert checked.status == 1
        assert checked.failures == [("sidecar", code)]
        assert "its next try is in " in checked.step("sidecar")["detail"]
        assert {checked.marks[name] for name in ("token", "clock", "call")} == {"skipped"}
        assert "--force" in checked.step("token")["detail"]
        assert mangopay.tokens_asked == 1
        forced = await check(url(mangopay), "--json", "--force", admin_port=admin_port(sidecar))
        assert [step for step, _ in forced.failures] == ["sidecar", "token"]
        assert mangopay.tokens_asked == 2


@asynccontextmanager
async def by_another_name(port: str) -> AsyncIterator[str]:
    """Give a port that leads to the one given, as if callers had used a host name that the sidecar does not know."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        back, forth = await asyncio.open_connection("127.0.0.1", int(port))
        forth.write(re.sub(rb"\r\nHost: [^\r]*", b"\r\nHost: another.example\r\nConnection: close", head))
        writer.write(await back.read())
        for each in (forth, writer):
            each.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield str(server.sockets[0].getsockname()[1])


async def test_a_latched_sidecar_that_tells_this_name_no_status_is_asked_for_its_readiness(
    mangopay: AnsweringMangopay,
) -> None:
    """It tells /status to its own machine alone, under names that it knows; a further token call may prolong a lock."""
    mangopay.token = LOCKED
    with await asyncio.to_thread(Sidecar, url(mangopay)) as sidecar:
        await latched(sidecar)
        async with by_another_name(admin_port(sidecar)) as port:
            checked = await check(url(mangopay), "--json", admin_port=port)
    assert (checked.status, checked.failures) == (1, [("sidecar", "sidecar_latched_lockout")])
    assert mangopay.tokens_asked == 1


async def test_a_sidecar_that_is_well_and_tells_this_name_no_status_is_told(mangopay: AnsweringMangopay) -> None:
    with await asyncio.to_thread(Sidecar, url(mangopay)) as sidecar:
        await asyncio.to_thread(sidecar.wait_until_ready)
        async with by_another_name(admin_port(sidecar)) as port:
            checked = await check(url(mangopay), "--json", admin_port=port)
    assert (checked.status, checked.step("sidecar")["detail"]) == (0, "one runs, and says that it is ready")


async def test_a_running_sidecar_that_is_well_is_told(mangopay: AnsweringMangopay) -> None:
    with await asyncio.to_thread(Sidecar, url(mangopay)) as sidecar:
        await asyncio.to_thread(sidecar.wait_until_ready)
        checked = await check(url(mangopay), "--json", admin_port=admin_port(sidecar))
    assert checked.status == 0
    assert checked.step("sidecar")["detail"] == "one runs, and is not latched"


async def test_the_latch_of_another_accounts_sidecar_does_not_matter(mangopay: AnsweringMangopay) -> None:
    mangopay.token = REFUSED
    with await asyncio.to_thread(Sidecar, url(mangopay), client_id="other") as sidecar:
        await latched(sidecar)
        mangopay.token = AnsweringMangopay().token
        checked = await check(url(mangopay), "--json", admin_port=admin_port(sidecar))
    assert checked.status == 0
    assert checked.step("sidecar")["status"] == "skipped"


async def test_another_program_on_the_admin_port_is_no_sidecar(mangopay: AnsweringMangopay) -> None:
    checked = await check(url(mangopay), "--json", admin_port=str(mangopay.port))
    assert checked.status == 0
    assert "is no sidecar" in checked.step("sidecar")["detail"]


# --- what run would refuse, or warn of -------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--offline",)])
async def test_traces_that_could_never_be_sent_are_status_2(
    mangopay: AnsweringMangopay, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry reads its variables from the process alone."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
    checked = await examined(url(mangopay), *arguments, tracing_otlp_endpoint="http://127.0.0.1:4318")
    assert (checked.status, checked.failures) == (2, [("config", "config_unusable")])
    assert "OTEL_BSP_SCHEDULE_DELAY" in checked.stderr
    assert mangopay.heads == []


async def test_without_the_packages_of_traces_it_is_status_2(
    mangopay: AnsweringMangopay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "sidecar.tracing.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    checked = await examined(url(mangopay), "--offline", tracing_otlp_endpoint="http://127.0.0.1:4318")
    assert (checked.status, checked.failures) == (2, [("config", "config_unusable")])
    assert "mangopay-sidecar[otel]" in checked.stderr


async def test_what_the_sdk_of_traces_logs_is_not_printed(mangopay: AnsweringMangopay) -> None:
    """It falls back to its default, and says so: stdout is for the document alone."""
    wrong = {"OTEL_BSP_SCHEDULE_DELAY": "soon"}
    collector = "http://127.0.0.1:4318"
    checked = await check(url(mangopay), "--json", "--offline", others=wrong, tracing_otlp_endpoint=collector)
    assert (checked.status, checked.step("config")["status"]) == (0, "ok")


async def test_what_run_would_warn_of_is_a_warning(mangopay: AnsweringMangopay) -> None:
    checked = await check(url(mangopay), "--json", "--offline", limits_batch="POST /v2.01/*/payouts")
    step = checked.step("config")
    assert (checked.status, step["status"], step["code"]) == (0, "warning", "config_warning")
    assert "limits.reserve" in step["detail"]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "mark"), [(0o604, "warning"), (0o640, "ok"), (0o400, "ok")])
async def test_a_secret_that_every_user_may_read_is_a_warning(
    mangopay: AnsweringMangopay, tmp_path: Path, mode: int, mark: str
) -> None:
    file = tmp_path / "key"
    file.write_text(CANARY_API_KEY)
    file.chmod(mode)
    checked = await check(url(mangopay), "--json", "--offline", mangopay_api_key="", mangopay_api_key_file=file)
    assert checked.status == 0
    step = checked.step("files")
    assert step["status"] == mark
    assert str(file) in step["detail"]
    assert step["code"] == ("secret_world_readable" if mark == "warning" else None)


async def test_a_missing_secret_file_is_status_2(mangopay: AnsweringMangopay, tmp_path: Path) -> None:
    checked = await check(
        url(mangopay), "--json", mangopay_api_key="", mangopay_api_key_file=tmp_path / "nowhere" / "key"
    )
    assert checked.status == 2
    assert checked.failures == [("config", "secret_file_unreadable")]
    assert mangopay.heads == []
