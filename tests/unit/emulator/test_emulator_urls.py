"""No URL of the emulator's leaves the machine: each is on the port that was called, and each has a page."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import Platform, call, connect, exchange, header, read, running_emulator
from tests.unit.emulator.test_emulator_sca import OWNER, url_in
from tests.unit.emulator.test_emulator_table import ROWS, Row, where

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A scheme, then what a URL may be made of (RFC 3986).
URL: Final = re.compile(r"\bhttps?://[^\s\"'<>\\]+")
#: What the app itself gives, in the tests' own bodies.
GIVEN: Final = {"x", "app.test"}
PNG: Final = "iVBORw0KGgo="


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def urls(value: Any) -> set[str]:
    """Return the URLs in a response's JSON and headers that are not the app's own."""
    return {url for url in URL.findall(json.dumps(value)) if urlsplit(url).hostname not in GIVEN}


def strangers(value: Any) -> list[str]:
    return sorted(url for url in urls(value) if urlsplit(url).netloc != "localhost")


def everything(platform: Platform, row: Row) -> Iterator[Any]:
    """Make a resource with 3-D Secure on, and yield whatever shows it."""
    body = {"SecureMode": "FORCE", **row.body(platform)}
    response = platform.call("POST", where(row.path, platform), body, headers=((b"Host", b"localhost"),))
    made = read(response)
    yield made
    for path in (*row.seen, *row.listed):
        shown = platform.call("GET", where(path, platform, made), headers=((b"Host", b"localhost"),))
        yield read(shown)
        yield [value.decode("latin-1") for _, value in shown.headers]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_no_resource_names_another_host(platform: Platform, row: Row) -> None:
    for shown in everything(platform, row):
        assert strangers(shown) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_every_url_of_a_resource_leads_somewhere(platform: Platform, row: Row) -> None:
    found = set().union(*map(urls, everything(platform, row)))
    for url in found:
        if "/pages/" in url:
            method = "PUT" if "/uploads/" in url else "GET"
            path = "/" + url.partition("://")[2].partition("/")[2]
            assert platform.send(method, path, ((b"Host", b"localhost"),)).status == 200, url


def test_a_client_s_logo_is_here_as_well(platform: Platform) -> None:
    assert platform.call("PUT", "clients/logo", {"File": PNG}).status == 204
    client = read(platform.call("GET", "clients"))
    assert strangers(client) == []
    shown = platform.visit(client["Logo"])
    assert (shown.status, shown.content_type, shown.body[:4]) == (200, b"image/png", b"\x89PNG")
    assert platform.visit("http://localhost/pages/acme/logo2").status == 404


def test_without_a_logo_there_is_none_to_see(platform: Platform) -> None:
    assert platform.visit("http://localhost/pages/acme/logo").status == 404


def test_a_settlement_s_file_is_taken(platform: Platform) -> None:
    settlement = platform.create("/V3.0/acme/payins/intents/settlements", {"FileName": "a.csv"})
    path = "/" + settlement["UploadUrl"].partition("://")[2].partition("/")[2]
    assert [platform.send("PUT", url, body=b"a;b").status for url in (path, path + "0")] == [200, 404]
    seen = read(platform.call("GET", f"/V3.0/acme/payins/intents/settlements/{settlement['Id']}"))
    assert seen["Status"] == "UPLOADED"


def test_users_authenticate_here(platform: Platform) -> None:
    owner = platform.create("sca/users/natural", OWNER)
    asked = [read(platform.call("POST", f"sca/users/{owner['Id']}/{what}")) for what in ("enrollment", "consent")]
    for shown in (owner, *asked):
        assert urls(shown) == {url_in(shown)}
        assert strangers(shown) == []


def test_a_tag_s_sca_has_a_page(platform: Platform) -> None:
    refused = platform.call("POST", "wallets", {"Tag": "SCA"})
    url = header(refused, "WWW-Authenticate")[0].partition("RedirectUrl=")[2]
    assert strangers(url) == []
    assert (platform.visit(url).status, platform.visit(url, {"outcome": "authenticate"}).status) == (200, 200)


@pytest.mark.parametrize("path", ["/v2.01/acme/wallets", "/v2.01/oauth/token"])
async def test_a_fault_s_sca_has_a_page(path: str) -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("sca POST")
        with await connect(emulator) as client:
            refused = await call(client, emulator, "POST", path, {})
            url = header(refused, "WWW-Authenticate")[0].partition("RedirectUrl=")[2]
            assert urlsplit(url).netloc == "localhost"
            assert (await exchange(client, "GET", urlsplit(url).path)).status == 200
