"""Log lines: the ``request`` line, structlog's events, libraries' messages, and their two formats."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sidecar.core.client_id import ClientIdRules
from sidecar.core.deprecation import DEPRECATIONS
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.secret import Secret
from sidecar.telemetry.line_format import console_line, json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log import configure_logging
from sidecar.telemetry.log_output import LogOutput
from sidecar.telemetry.request_log import RequestLog
from tests.support.call_record import call_record
from tests.support.canary import CANARY_API_KEY
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sidecar.telemetry.record import CallRecord

TOKEN_URL = "https://acme:key@api.mangopay.com/v2.01/oauth/token"


class Log:
    """A log that goes to a file, and what is in it."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd
        self.output: LogOutput
        self.clock = FakeClock(wall=1_733_404_277.25)

    def configure(self, level: str = "info", form: str = "json") -> LogOutput:
        self.output = configure_logging(level, form, self.clock, fd=self._fd)
        return self.output

    def text(self) -> str:
        return self._path.read_text(encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    log = Log(path, fd)
    log.configure()
    yield log
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    os.close(fd)


def finished(**fields: Any) -> CallRecord:
    return call_record(
        **{
            "id": "abc-1",
            "started": 1000.0,
            "method": "GET",
            "path": "/v2.01/acme/users/user_m_01HW9C3B",
            "status": 200,
            "duration": 0.0123456,
            "ended_at": 1_733_404_270.75,
            "upstream_seconds": 0.01,
            "deliveries": 1,
            "bytes_out": 600,
            **fields,
        }
    )


def written(log: Log, call: CallRecord) -> dict[str, Any]:
    RequestLog(log.output, environment="sandbox").write(call)
    (line,) = log.lines()
    return line


def test_a_batch_call_tells_for_how_long_it_was_held(log: Log) -> None:
    line = written(log, finished(lane="batch", held_seconds=1.5))
    assert (line["lane"], line["held_ms"]) == ("batch", 1500.0)


def test_a_call_of_the_normal_lane_says_nothing_of_it(log: Log) -> None:
    assert {"lane", "held_ms", "deprecated"}.isdisjoint(written(log, finished()))


def test_a_call_to_a_deprecated_endpoint_is_told(log: Log) -> None:
    assert written(log, finished(deprecation=DEPRECATIONS[0]))["deprecated"] == "legacy_users"


# --- the request line ------------------------------------------------------------------------------------------------


def test_a_call_is_one_line_with_the_fields_of_the_contract_in_order(log: Log) -> None:
    line = written(log, finished())
    assert list(line.items()) == [
        ("timestamp", "2024-12-05T13:11:10.750Z"),  # when the call ended, not when its line was written
        ("level", "info"),
        ("event", "request"),
        ("id", "abc-1"),
        ("environment", "sandbox"),
        ("method", "GET"),
        ("path", "/v2.01/{client}/users/{id}"),
        ("status", 200),
        ("duration_ms", 12.345),
        ("upstream_ms", 10.0),
        ("token_wait_ms", 0.0),
        ("attempts", 1),
        ("recovered", []),
        ("bytes_in", 0),
        ("bytes", 600),
    ]


def test_what_was_mended_is_told(log: Log) -> None:
    assert written(log, finished(recovered=("connection", "token")))["recovered"] == ["connection", "token"]


def test_an_own_error_is_a_warning_with_code_outcome_and_detail(log: Log) -> None:
    call = finished(status=0)
    call.failed(SidecarError(ErrorCode.HOST_NOT_ALLOWED, "Host not allowed", detail="host=evil.example"))
    line = written(log, call)
    assert (line["level"], line["status"]) == ("warning", 403)
    assert (line["error"], line["outcome"], line["detail"]) == ("host_not_allowed", "not-sent", "host=evil.example")


def test_the_idempotency_key_is_told_when_the_outcome_is_unknown(log: Log) -> None:
    call = finished(status=0, idempotency_key="0123456789abcdef")
    call.failed(SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "slow", outcome=Outcome.UNKNOWN))
    assert written(log, call)["idempotency_key"] == "0123456789abcdef"


def test_the_idempotency_key_is_not_told_when_nothing_was_sent(log: Log) -> None:
    call = finished(status=0, idempotency_key="0123456789abcdef")
    call.failed(SidecarError(ErrorCode.OVERLOADED, "full"))
    assert "idempotency_key" not in written(log, call)


@pytest.mark.parametrize(
    "path", ["/v2.01/acme/users", "/v2.01/ACME/users", "/v2.01/%61cme/users", "/v2.01/countries/FR"]
)
def test_a_futile_401_tells_that_the_client_id_is_ours(log: Log, path: str) -> None:
    """As the admission has decided: in any case and encoding, and where there is none to be another's."""
    foreign = ClientIdRules("acme", ()).place(path)[1]
    assert written(log, finished(status=401, futile=True, path=path, foreign=foreign))["client_id_ours"] is True


@pytest.mark.parametrize("fields", [{"status": 401}, {"status": 200}, {"status": 401, "futile": True}])
def test_a_call_for_another_client_id_is_told(log: Log, fields: dict[str, Any]) -> None:
    line = written(log, finished(foreign=True, path="/v2.01/other/users", **fields))
    assert (line["level"], line["client_id_ours"]) == ("info", False)


def test_a_caller_that_left_is_told_and_there_is_no_status(log: Log) -> None:
    line = written(log, finished(status=0, caller="gone", outcome=Outcome.UNKNOWN))
    assert (line["status"], line["caller"], line["outcome"]) == (None, "gone", "unknown")


def test_the_caller_s_correlation_ids_are_told(log: Log) -> None:
    line = written(log, finished(traceparent="00-aa-bb-01", caller_request_id="r 1"))
    assert (line["traceparent"], line["x_request_id"]) == ("00-aa-bb-01", "r 1")


def test_above_level_info_only_calls_that_the_sidecar_ended_are_logged(log: Log) -> None:
    output = log.configure(level="warning")
    requests = RequestLog(output, environment="sandbox")
    requests.write(finished())
    call = finished(status=0)
    call.failed(SidecarError(ErrorCode.OVERLOADED, "full"))
    requests.write(call)
    assert [line["error"] for line in log.lines()] == ["overloaded"]


# --- events ----------------------------------------------------------------------------------------------------------


async def test_an_unknown_outcome_is_logged_at_once() -> None:
    """Its caller has left, so there is no other trace of it."""
    reader, writer = os.pipe()
    output = LogOutput(LineWriter(writer), json_line, FakeClock(), "info")
    output.attach(asyncio.get_running_loop())
    RequestLog(output, environment="sandbox").write(finished(status=0, caller="gone", outcome=Outcome.UNKNOWN))
    os.set_blocking(reader, False)
    line = json.loads(os.read(reader, 65536))
    assert (line["outcome"], line["level"]) == ("unknown", "info")
    output.close()
    os.close(reader)
    os.close(writer)


def test_an_event_has_timestamp_level_and_event_first(log: Log) -> None:
    structlog.get_logger().info("token.refreshed", credential="api", generation=2)
    assert list(log.lines()[0].items()) == [
        ("timestamp", "2024-12-05T13:11:17.250Z"),
        ("level", "info"),
        ("event", "token.refreshed"),
        ("credential", "api"),
        ("generation", 2),
    ]


async def test_the_timestamp_moves_with_the_clock(log: Log) -> None:
    structlog.get_logger().info("a.b")
    await log.clock.advance(59.0)
    structlog.get_logger().info("a.b")
    assert [line["timestamp"] for line in log.lines()] == ["2024-12-05T13:11:17.250Z", "2024-12-05T13:12:16.250Z"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", ["debug", "info", "warning", "error"]), ("warning", ["warning", "error"]), ("error", ["error"])],
)
def test_the_level_is_a_threshold(log: Log, level: str, shown: list[str]) -> None:
    log.configure(level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)("some.event")
    assert [line["level"] for line in log.lines()] == shown


def test_a_secret_in_an_event_shows_itself_as_stars(log: Log) -> None:
    structlog.get_logger().info("config.loaded", key=Secret(CANARY_API_KEY), nested={"key": [Secret(CANARY_API_KEY)]})
    line = log.lines()[0]
    assert (line["key"], line["nested"]) == ("***", {"key": ["***"]})
    assert CANARY_API_KEY not in log.text()


def test_an_exception_is_told_by_type_and_place_without_its_text_or_locals(log: Log) -> None:
    def fail(secret: str) -> None:
        raise ValueError(secret)

    try:
        fail(CANARY_API_KEY)
    except ValueError:
        structlog.get_logger().exception("task.failed", task="sweeper")
    line = log.lines()[0]
    assert (line["level"], line["error"], line["task"]) == ("error", "builtins.ValueError", "sweeper")
    assert line["at"][-1].endswith(" fail")
    assert CANARY_API_KEY not in log.text()
    assert "Traceback" not in log.text()


@pytest.mark.parametrize("value", ["\udcff", {1.5: "x", object(): 1}, [object()]])
def test_a_value_that_json_cannot_hold_loses_at_most_itself(log: Log, value: object) -> None:
    structlog.get_logger().info("odd.value", value=value)
    assert log.lines()[0]["event"] == "odd.value"


# --- libraries -------------------------------------------------------------------------------------------------------


def test_a_library_s_warning_comes_in_the_same_format(log: Log) -> None:
    logging.getLogger("aiohttp.client").warning("Unclosed connection to %s", TOKEN_URL)
    line = log.lines()[0]
    assert (line["level"], line["event"], line["logger"]) == ("warning", "library.reported", "aiohttp.client")
    assert line["message"] == "Unclosed connection to https://***@api.mangopay.com/v2.01/oauth/token"


def test_asyncio_s_report_of_a_failed_task_shows_neither_message_nor_traceback(log: Log) -> None:
    """asyncio puts the exception's repr on the message's second line, and its traceback behind."""
    log.configure()  # once more: pytest has put a handler of its own beside ours
    try:
        raise RuntimeError(CANARY_API_KEY)
    except RuntimeError as error:
        logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: %r", error, exc_info=error)
    line = log.lines()[0]
    assert line["message"] == "Task exception was never retrieved"
    assert line["error"] == "builtins.RuntimeError"
    assert CANARY_API_KEY not in log.text()


def test_libraries_debug_and_info_lines_are_left_out_at_every_level(log: Log) -> None:
    log.configure(level="debug")
    logging.getLogger("asyncio").info("Using selector: EpollSelector")
    assert log.lines() == []


@pytest.mark.parametrize("arguments", [("%s %s", 1), ("%d", "x")])
def test_a_library_s_message_that_does_not_fit_its_arguments_is_still_told(
    log: Log, arguments: tuple[Any, ...]
) -> None:
    log.configure()  # once more: pytest has put a handler of its own beside ours, which fails
    logging.getLogger("odd").warning(*arguments)
    assert log.lines()[0]["message"] == arguments[0]


async def test_a_library_may_log_from_another_thread(log: Log) -> None:
    import asyncio

    log.output.attach(asyncio.get_running_loop())
    thread = threading.Thread(target=lambda: logging.getLogger("odd").error("from a thread"))
    thread.start()
    thread.join()
    assert log.text() == ""
    await log.clock.settle()
    log.output.close()  # the file is written to by a thread of its own: this waits for it
    assert [line["message"] for line in log.lines()] == ["from a thread"]


# --- log.requests = "errors" -----------------------------------------------------------------------------------------


def lines_of_errors_only(log: Log, call: CallRecord) -> list[dict[str, Any]]:
    RequestLog(log.output, environment="sandbox", errors_only=True).write(call)
    return log.lines()


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_of_errors_only_a_call_that_went_well_has_no_line(log: Log, status: int) -> None:
    assert lines_of_errors_only(log, finished(status=status, recovered=("token",))) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 400},
        {"status": 401, "futile": True},
        {"status": 503},
        {"status": 0, "caller": "gone", "outcome": Outcome.NOT_SENT},
        {"status": 200, "caller": "gone"},  # Mangopay executed it, and nobody has read the response
        {
            "status": 200,
            "error": ErrorCode.UPSTREAM_UNREACHABLE,
            "outcome": Outcome.UNKNOWN,
        },  # cut short after its head
    ],
)
def test_of_errors_only_every_other_call_has_its_line(log: Log, fields: dict[str, Any]) -> None:
    [line] = lines_of_errors_only(log, finished(**fields))
    assert line["status"] == (fields["status"] or None)


# --- formats ---------------------------------------------------------------------------------------------------------

HEAD = {"timestamp": "2024-12-05T13:11:17.250Z", "level": "info", "event": "request"}


def test_the_console_format_is_for_people() -> None:
    line = console_line({**HEAD, "status": 200, "recovered": ("token", "connection"), "why": "a b"}, color=False)
    assert line == b'13:11:17.250Z info     request status=200 recovered=token,connection why="a b"\n'


def test_the_console_format_leaves_out_what_is_empty() -> None:
    line = console_line({**HEAD, "a": None, "b": "", "c": [], "d": 0, "e": False}, color=False)
    assert line == b"13:11:17.250Z info     request d=0 e=False\n"


#: As long as paths of Mangopay's API are.
LONG_PATH = "/v2.01/acme/users/user_m_01HABC/identity-verifications/idv_m_01HDEF/sessions"


def on_a_terminal(log: Log, record: CallRecord) -> str:
    RequestLog(log.configure(form="console"), environment="sandbox").write(record)
    return log.text()


def ended(path: str = LONG_PATH, **fields: Any) -> CallRecord:
    defaults: dict[str, Any] = {"method": "POST", "status": 200, "duration": 0.1524, "deliveries": 1, "bytes_in": 9}
    return call_record(id="abc-1", started=0.0, ended_at=1_733_404_277.25, path=path, **{**defaults, **fields})


def test_on_a_terminal_a_call_is_one_short_line(log: Log) -> None:
    line = on_a_terminal(log, ended(traceparent="00-a-b-01", caller_request_id="r" * 36))
    assert line == (
        "13:11:17.250Z info     POST /v2.01/{client}/users/{id}/identity-verifications/{id}/sessions 200 in 152 ms\n"
    )
    assert len(line) <= 110


def test_on_a_terminal_what_was_done_about_a_call_is_told(log: Log) -> None:
    line = on_a_terminal(log, ended("/v2.01/acme/users", recovered=("token",), deliveries=2))
    assert line == "13:11:17.250Z info     POST /v2.01/{client}/users 200 in 152 ms recovered=token\n"


def test_on_a_terminal_a_call_without_success_is_told_with_what_finds_it_again(log: Log) -> None:
    record = ended("/v2.01/acme/payins", status=0, duration=60.0, idempotency_key="key-0123456789abc")
    record.failed(SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "slow", outcome=Outcome.UNKNOWN))
    assert on_a_terminal(log, record) == (
        "13:11:17.250Z warning  POST /v2.01/{client}/payins 504 in 60.0 s id=abc-1 error=upstream_timeout "
        "outcome=unknown idempotency_key=key-0123456789abc\n"
    )


@pytest.mark.parametrize(("status", "shown"), [(404, "404"), (0, "unanswered")])
def test_on_a_terminal_so_is_one_that_mangopay_refused_or_nobody_waited_for(log: Log, status: int, shown: str) -> None:
    line = on_a_terminal(log, ended("/v2.01/acme/users", status=status))
    assert line == f"13:11:17.250Z info     POST /v2.01/{{client}}/users {shown} in 152 ms id=abc-1\n"


def test_on_a_terminal_a_method_cannot_forge_a_line(log: Log) -> None:
    assert on_a_terminal(log, ended(method="GET\n\x1b[2J")).count("\n") == 1


@pytest.mark.parametrize("value", ["a\nb", "\x1b[2J", "a\rb", "\u202eb", "\x85", 'q"uote', "\udcff", ["x\ny"]])
def test_a_value_cannot_forge_a_line_or_move_the_cursor(value: object) -> None:
    line = console_line({**HEAD, "value": value}, color=False)
    assert line.count(b"\n") == 1
    assert line[:-1].decode().isprintable()


def test_colors_are_for_terminals_only() -> None:
    entry = {**HEAD, "level": "warning"}
    assert b"\x1b[33m" in console_line(entry, color=True)
    assert b"\x1b" not in console_line(entry, color=False)


def test_json_is_one_line_whatever_the_value() -> None:
    line = json_line({**HEAD, "value": "a\nb\u2028c"})
    assert line.count(b"\n") == 1
    assert json.loads(line)["value"] == "a\nb\u2028c"


def _through_terminal(form: str) -> str:
    master, slave = os.openpty()
    try:
        configure_logging("info", form, FakeClock(), fd=slave)
        structlog.get_logger().info("some.event", key="value")
        text = b""
        while not text.endswith(b"\n"):  # a terminal may hand over a part
            text += os.read(master, 4096)
        return text.decode()
    finally:
        os.close(master)
        os.close(slave)


def _through_pipe(form: str) -> str:
    reader, writer = os.pipe()
    try:
        configure_logging("info", form, FakeClock(), fd=writer)
        structlog.get_logger().info("some.event", key="value")
        return os.read(reader, 4096).decode()
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("through", "form", "console"),
    [
        (_through_terminal, "gcp", False),
        (_through_terminal, "ecs", False),
        (_through_terminal, "auto", True),
        (_through_terminal, "console", True),
        (_through_terminal, "json", False),
        (_through_pipe, "auto", False),
        (_through_pipe, "console", True),
        (_through_pipe, "json", False),
    ],
)
def test_auto_means_console_on_a_terminal_and_json_elsewhere(
    through: Callable[[str], str], form: str, console: bool
) -> None:
    text = through(form)
    assert bool(re.fullmatch(r"\S+ info     some\.event key=value\r?\n", text)) is console
    assert text.startswith("{") is not console
