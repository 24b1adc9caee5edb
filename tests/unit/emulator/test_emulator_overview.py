"""The page at ``/``: what it shows, what its forms do, and who may see it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import pytest

from sidecar.emulator.messages import EmulatedResponse, Request, split_path
from sidecar.emulator.overview import Overview
from sidecar.emulator.seen import Seen
from tests.support.clock import FakeClock
from tests.support.emulator import Platform, header, read

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST: Final = "127.0.0.1:18090"


class Text(HTMLParser):
    """Collects a page's text, and the names of its elements."""

    def __init__(self, response: EmulatedResponse) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[str] = []
        self.feed(response.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def overview(platform: Platform) -> Overview:
    emulator = platform.emulator
    return Overview(emulator.state, emulator.faults, emulator.outbox, emulator.control, emulator.seen)


def ask(
    platform: Platform,
    form: Mapping[str, str] | None = None,
    *,
    method: str | None = None,
    host: str = HOST,
    origin: str | None = f"http://{HOST}",
    peer: str = "127.0.0.1",
    query: str = "",
) -> EmulatedResponse:
    headers = [(b"Host", host.encode())]
    if form is not None and origin is not None:
        headers.append((b"Origin", origin.encode()))
    body = b"" if form is None else urlencode(form).encode()
    method = method or ("GET" if form is None else "POST")
    request = Request(method, "/", (), query, tuple(headers), body, 0.0)
    return overview(platform).response(request, peer)


def test_it_shows_requests_newest_first(platform: Platform) -> None:
    platform.emulator.seen.extend(
        (
            Seen(0.0, "GET", "/v2.01/acme/older", 200),
            Seen(1.0, "POST", "/v2.01/acme/<b>newer</b>", 0, "reset"),
        )
    )
    page = Text(ask(platform))
    assert page.text.index("<b>newer</b>") < page.text.index("/v2.01/acme/older")
    assert "00:00:01" in page.text
    assert "b" not in page.elements


def test_it_works_without_a_script(platform: Platform) -> None:
    page = ask(platform)
    assert "script" not in Text(page).elements
    assert header(page, "Content-Security-Policy")[0].startswith("default-src 'none'")
    assert (b"http-equiv" in page.body, b"http-equiv" in ask(platform, query="refresh").body) == (False, True)


def test_faults_are_added_and_removed(platform: Platform) -> None:
    added = ask(platform, {"do": "add-fault", "rule": " status=503 POST times=2 "})
    (fault,) = platform.emulator.faults.snapshot()
    shown = Text(ask(platform)).text
    removed = ask(platform, {"do": "remove-fault", "id": str(fault["id"])})
    assert (added.status, header(added, "Location"), removed.status) == (303, ["/"], 303)
    assert "method=POST" in shown
    assert platform.emulator.faults.snapshot() == []


def test_a_fault_that_comes_once_says_so(platform: Platform) -> None:
    ask(platform, {"do": "add-fault", "rule": "status=503 times=1 skip=1 delay=1 probability=1"})
    shown = Text(ask(platform)).text
    assert all(condition in shown for condition in ("times=1", "skip=1", "delay=1.0"))
    assert "probability" not in shown


@pytest.mark.parametrize(
    "form",
    [
        {"do": "add-fault", "rule": "statsu=<b>"},
        {"do": "remove-fault", "id": "x"},
        {"do": "settle"},
        {"do": "reset"},
        {},
    ],
)
def test_a_form_that_makes_no_sense_is_told_what_is_wrong(platform: Platform, form: dict[str, str]) -> None:
    page = ask(platform, form)
    assert page.status == 400
    assert b'role="alert"' in page.body
    assert b"<b>" not in page.body


def test_what_waits_is_settled(platform: Platform) -> None:
    waiting = platform.pay_in()["Id"]
    assert waiting in Text(ask(platform)).text
    done = ask(platform, {"do": "settle", "client_id": "acme", "id": waiting, "transition": "pay"})
    assert done.status == 303
    assert read(platform.call("GET", f"payins/{waiting}"))["Status"] == "SUCCEEDED"
    assert waiting not in Text(ask(platform)).text


def test_it_shows_hooks_and_their_calls(platform: Platform) -> None:
    platform.create("hooks", {"Url": "http://10.0.0.1/", "EventType": "KYC_CREATED"})
    triggered = ask(platform, {"do": "trigger", "client_id": "acme", "event": "KYC_CREATED", "id": "kyc_7"})
    text = Text(ask(platform)).text
    assert triggered.status == 303
    for shown in ("http://10.0.0.1/", "ENABLED, VALID", "kyc_7", "refused"):
        assert shown in text


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:18091", f"https://{HOST}"])
def test_a_form_must_come_from_the_page_itself(platform: Platform, origin: str | None) -> None:
    assert ask(platform, {"do": "add-fault", "rule": "hang"}, origin=origin).status == 403
    assert platform.emulator.faults.snapshot() == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:18090", "", "127.0.0.1.evil.example", "[::2]:1"])
def test_nobody_reads_it_by_a_name_of_their_own(platform: Platform, host: str) -> None:
    assert ask(platform, host=host).status == 403


@pytest.mark.parametrize("host", ["localhost:18090", "[::1]:18090", "127.0.0.1", "[::1]"])
def test_this_machine_may_see_it_and_what_it_links_to(platform: Platform, host: str) -> None:
    page = ask(platform, host=host)
    assert page.status == 200
    links = re.findall(r'href="(/__emulator__/[^"]+)"', page.body.decode())
    assert len(links) == 3
    for path in links:
        request = Request("GET", path, split_path(path), "", ((b"Host", host.encode()),), b"", 0.0)
        assert platform.emulator.control.response(request, "127.0.0.1").status == 200


def test_another_machine_may_not(platform: Platform) -> None:
    assert ask(platform, peer="10.0.0.1").status == 403


def test_it_takes_get_and_post(platform: Platform) -> None:
    assert [ask(platform, method=method).status for method in ("HEAD", "PUT", "DELETE")] == [200, 405, 405]


def test_a_line_is_one_line() -> None:
    assert Seen(0.0, "GET", "/a\x1b[2J\r\nb", 200).line() == "00:00:00 200 GET /a?[2J??b"
    assert Seen(3661.0, "POST", "/" + "a" * 500, 0, "reset").line() == f"01:01:01 --- POST /{'a' * 199}… fault=reset"
