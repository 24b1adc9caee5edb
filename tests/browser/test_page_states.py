"""The page explains each state that an operator may meet; the states are real ones."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme
from playwright.sync_api import Locator, Page, expect

from tests.support.app import App, running_app
from tests.support.certificates import ADDRESS, DAY, ClientFiles, ServerContext, now, tls_emulator
from tests.support.memory_directory import directory_in_memory
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.browser.serving import Serving
    from tests.support.background import Background
    from tests.support.browser import Tab


def headline(page: Page) -> Locator:
    return page.get_by_role("region", name="How it is")


def area(page: Page, name: str) -> Locator:
    return page.get_by_role("list", name="Where to look").get_by_role("listitem").filter(has_text=name)


def expect_headline(page: Page, level: str, title: str) -> None:
    expect(headline(page).get_by_role("heading", name=title)).to_be_visible()
    expect(headline(page)).to_have_attribute("data-level", level)


def seconds_left(page: Page) -> int:
    """Read the headline's countdown, below a minute or in minutes and seconds."""
    text = headline(page).get_by_role("timer").inner_text()
    found = re.search(r"in (?:(\d+) min)? ?(?:(\d+) s)?$", text)
    assert found, text
    return int(found[1] or 0) * 60 + int(found[2] or 0)


def test_healthy(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.some_calls()
    expect_headline(tab.page, "ok", "Everything works")
    expect(headline(tab.page).get_by_role("timer")).to_contain_text("token is refreshed in 1")
    expect(
        tab.page.get_by_text("Nothing wrong with token, key, lock, rate limit, network, Mangopay, calls, and")
    ).to_be_visible()
    expect(tab.page.get_by_text("No client certificate is used.")).to_be_visible()
    expect(tab.page.get_by_role("list", name="Where to look")).to_have_count(0)
    expect(tab.page).to_have_title("Everything works · acme emulator")
    expect(tab.page.get_by_role("region", name="Rate limits").get_by_role("img")).to_have_count(4)
    tab.keep("healthy")


def test_what_is_not_known_yet_is_told_as_such(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    expect(tab.page.get_by_text("Not known yet: rate limit.")).to_be_visible()
    serving.some_calls(1)
    expect(tab.page.get_by_text("Nothing wrong with token, key, lock, rate limit,")).to_be_visible()
    process = tab.page.get_by_role("region", name="Sidecar")
    expect(process).to_contain_text(re.compile("4xx by Mangopay1.*sidecar's own errors0", re.DOTALL))


def test_a_token_that_ends_soon_and_that_nobody_uses(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    expect_headline(tab.page, "ok", "Everything works")
    serving.clock.ahead += 1150
    finding = tab.page.get_by_role("list", name="Further findings").get_by_role("listitem")
    expect(finding).to_contain_text("The token expires soon, and nobody uses it")
    expect(finding).to_contain_text(re.compile(r"token expires in [1-4]?\d s"))
    tab.keep("expired-soon-idle")


def test_a_token_that_ends_soon_and_cannot_be_renewed(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.some_calls()
    serving.fault("status=503 token")
    serving.clock.ahead += 1150
    assert serving.call() == 200
    expect(area(tab.page, "Token")).to_have_attribute("data-level", "warning")
    expect(area(tab.page, "Mangopay")).to_have_attribute("data-level", "warning")
    expect_headline(tab.page, "warning", "The token expires soon and cannot be refreshed")
    expect(headline(tab.page)).to_contain_text("failed in a row: status 503.")
    assert seconds_left(tab.page) <= 50
    tab.keep("expired-soon")


def test_after_a_revocation_the_call_is_retried(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.some_calls()
    serving.control("revoke")
    assert serving.call() == 200
    expect_headline(tab.page, "ok", "Everything works")
    finding = tab.page.get_by_role("list", name="Further findings").get_by_role("listitem")
    expect(finding).to_contain_text("A call was retried with a new token")
    newest = tab.page.locator("#calls tr").first
    expect(newest).to_contain_text("retried, new token")
    expect(newest).to_contain_text("200")
    tab.keep("retried")


def test_a_lockout_is_counted_down_and_cleared(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.some_calls()
    serving.control("lockout")
    serving.control("revoke")
    assert serving.call() == 503
    assert serving.call() == 503
    expect_headline(tab.page, "critical", "The account is locked out")
    expect(headline(tab.page)).to_contain_text("The sidecar tries again by itself")
    expect(area(tab.page, "Lock")).to_have_attribute("data-level", "critical")
    expect(area(tab.page, "Key")).to_have_attribute("data-level", "ok")
    expect(area(tab.page, "Token")).to_contain_text("none")
    expect(area(tab.page, "Certificate")).to_contain_text("not used")
    expect(tab.page.get_by_text("Nothing wrong with")).to_be_hidden()
    first = seconds_left(tab.page)
    assert 10 <= first <= 36  # 30 s, give or take a fifth, and what has passed
    less = "|".join(str(second) for second in range(1, first - 1))
    expect(headline(tab.page).get_by_role("timer")).to_contain_text(re.compile(f"next try in ({less}) s"))
    tab.keep("locked-out")
    serving.control("lockout", clear=True)
    serving.clock.ahead += 40
    assert serving.call() == 200
    expect_headline(tab.page, "ok", "Everything works")
    expect(tab.page.get_by_text("Nothing wrong with token, key, lock,")).to_be_visible()
    tab.keep("lockout-cleared")


def test_refused_credentials(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.control("credentials", api_keys={"acme": ["another"]}, any_client=False)
    serving.control("revoke")
    assert serving.call() == 502
    assert serving.call() == 502
    expect_headline(tab.page, "critical", "The API key or the ClientId is refused")
    expect(headline(tab.page)).to_contain_text("SIDECAR_MANGOPAY_ENVIRONMENT")
    expect(area(tab.page, "Key")).to_have_attribute("data-level", "critical")
    expect(area(tab.page, "Lock")).to_have_attribute("data-level", "ok")
    tab.keep("refused-credentials")


def test_upstream_down_is_the_network_and_not_mangopay(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start(emulator_settings={"port": free_port()}))
    serving.some_calls()
    serving.stop_mangopay()
    for _ in range(3):
        assert serving.call() == 502
    expect_headline(tab.page, "critical", "Mangopay cannot be connected to")
    expect(headline(tab.page)).to_contain_text("Last seen: connection refused.")
    expect(area(tab.page, "Network")).to_have_attribute("data-level", "critical")
    expect(area(tab.page, "Mangopay")).to_have_attribute("data-level", "ok")
    tab.keep("upstream-down")


def test_upstream_errors_are_mangopay_and_not_the_network(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.fault("status=503 api")
    for _ in range(3):
        assert serving.call() == 503
    expect_headline(tab.page, "critical", "Mangopay answers with errors of its own")
    expect(area(tab.page, "Network")).to_have_attribute("data-level", "ok")
    tab.keep("upstream-errors")


def test_a_rate_limit_nearly_used(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start(emulator_settings={"rate_limits": [10, 4500, 8800, 105600]}))
    serving.some_calls()
    expect_headline(tab.page, "warning", "The rate limit for 15 minutes is nearly used up")
    expect(headline(tab.page)).to_contain_text("1 of 10 calls are left.")
    expect(headline(tab.page).get_by_role("timer")).to_contain_text("window resets in 1")
    meter = tab.page.get_by_role("region", name="Rate limits").get_by_role("img", name="1 of 10 left")
    expect(meter.locator("[data-level=warning]")).to_be_visible()
    tab.keep("rate-limit")


def test_the_reserve_is_drawn_in_the_bars_and_refused_batch_calls_are_told(
    serving: Serving, open_tab: Callable[..., Tab]
) -> None:
    limits = {"limits_reserve": "60%", "limits_batch": "GET /v2.01/*/users"}
    tab = open_tab(serving.start(emulator_settings={"rate_limits": [10], "rate_windows": [900]}, **limits))
    statuses = [serving.call() for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    expect_headline(tab.page, "ok", "Everything works")
    finding = tab.page.get_by_role("list", name="Further findings").get_by_role("listitem")
    expect(finding).to_contain_text("Batch calls are refused, room at ")
    meter = tab.page.get_by_role("region", name="Rate limits").get_by_role("img")
    expect(meter).to_have_attribute("aria-label", "6 of 10 left; 60% of it is not for batch calls")
    reserve = meter.locator(".bar-reserve")
    expect(reserve).to_be_visible()
    expect(reserve).to_have_css("width", re.compile(r"^[1-9]"))
    tab.page.get_by_role("button", name="429").first.click()
    expect(tab.page.get_by_role("dialog")).to_contain_text(re.compile(r"Lane\s*batch"))
    tab.keep("batch-lane")


def test_a_deprecated_endpoint_is_told(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    assert serving.call("GET", "/v2.01/_/users/4711") == 404
    finding = tab.page.get_by_role("list", name="Further findings").get_by_role("listitem")
    expect(finding).to_contain_text("An app calls what Mangopay has deprecated")
    expect(finding).to_contain_text("Call GET sca/users/{UserId} in place of GET users/{UserId}.")
    expect(tab.page.locator("#calls tr").first).to_contain_text("deprecated")


def test_a_rate_window_that_cannot_be_told_is_shown_and_no_alarm(
    serving: Serving, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(serving.start(emulator_settings={"rate_limits": [9, 10], "rate_windows": [60, 300]}))
    serving.some_calls()
    limits = tab.page.get_by_role("region", name="Rate limits")
    expect(limits.get_by_text("a window of unknown length")).to_have_count(2)
    expect(limits.get_by_role("img", name="0 of 9 left")).to_be_visible()
    expect(tab.page.get_by_text("Nothing wrong with token, key, lock, rate limit,")).to_be_visible()


def test_what_support_will_ask_for_is_in_the_detail_of_a_call(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.fault("edge=520 api times=1")
    assert serving.call() == 520
    expect_headline(tab.page, "warning", "The edge before Mangopay answers with web pages")
    tab.page.get_by_role("button", name="520").click()
    expect(tab.page.get_by_role("dialog")).to_contain_text(
        re.compile(r"What support will ask for\s*CF-Ray [0-9a-f]{16}-CDG")
    )
    tab.page.keyboard.press("Escape")
    serving.fault("rate-limit api times=1")
    assert serving.call() == 429
    tab.page.get_by_role("button", name="429").click()
    expect(tab.page.get_by_role("dialog")).to_contain_text(
        re.compile(r"Mangopay's Id e[0-9a-f]{7}-\S+, Type rate_limit")
    )


@asynccontextmanager
async def _with_certificate(directory: Path, left: dt.timedelta) -> AsyncIterator[App]:
    authority = trustme.CA()
    certificate = authority.issue_cert("acme@example.org", not_after=now() + left)
    files = ClientFiles.write(directory, authority, certificate)
    context = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    async with tls_emulator(context) as (_, url), running_app(url, **files.settings) as app:
        yield app


def test_a_certificate_about_to_expire(background: Background, tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    app = background.enter(_with_certificate(tmp_path, 6 * DAY + dt.timedelta(hours=1)))
    tab = open_tab(f"http://127.0.0.1:{app.admin_port}/")
    expect_headline(tab.page, "warning", "The client certificate is about to expire")
    expect(headline(tab.page).get_by_role("timer")).to_contain_text(re.compile(r"certificate expires in 6 d \d+ min"))
    expect(area(tab.page, "Certificate")).to_have_attribute("data-level", "warning")
    expect(tab.page.get_by_role("region", name="Mangopay")).to_contain_text("6 days left")
    tab.keep("certificate")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where a file store's file is."""
    with directory_in_memory() as directory:
        yield directory


def test_a_store_that_works(directory: Path, serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start(token_store=f"file:{directory}/token"))
    serving.some_calls(1)
    expect_headline(tab.page, "ok", "Everything works")
    token = tab.page.get_by_role("region", name="Token")
    expect(token).to_contain_text(f"file at {directory}/token")
    expect(token).to_contain_text("works, for")


def test_a_store_that_is_down(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start(token_store="redis://127.0.0.1:1"))
    serving.some_calls(1)
    expect_headline(tab.page, "warning", "The token store does not work; tokens are this sidecar's own for now")
    expect(headline(tab.page)).to_contain_text("No call fails by this.")
    expect(area(tab.page, "Token")).to_have_attribute("data-level", "warning")
    expect(tab.page.get_by_role("region", name="Token")).to_contain_text("redis at 127.0.0.1:1")
    tab.keep("store-down")
