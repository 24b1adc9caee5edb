"""How the page is used: live, filtered, paused, in detail, by keyboard alone, in the dark, and when it is stale."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser.serving import USER
from tests.browser.test_readme_images import sample, stop_sampling
from tests.deploy.readme import examples
from tests.support.app import request_bytes
from tests.support.canary import CANARY_CALLER_KEY
from tests.support.emulator import basic
from tests.support.ports import free_port
from tests.support.raw_client import RawClient
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator

    from tests.browser.serving import Serving
    from tests.support.browser import Tab

#: Behind which the README has its examples, in the order of the page.
FENCES = ("python", "js", "php", "java", "ruby", "csharp")
DEMO = re.compile(r"ready proxy=(\S+) admin=(\S+)")


def rows(page: Page) -> Locator:
    return page.locator("#calls tr")


def choose(page: Page, name: str) -> None:
    """Choose a filter, as somebody with a mouse does: by its label."""
    page.get_by_role("group", name="Which calls to list").locator("label").filter(has_text=name).click()


def retried_and_failed(serving: Serving, **headers: str) -> None:
    """Make six calls: two plain ones, one retried, one refused here, and two that Mangopay failed."""
    assert serving.call("POST", "/v2.01/_/sca/users/natural", USER) == 200
    assert serving.call() == 200
    serving.control("revoke")
    assert serving.call("GET", "/v2.01/_/users/retried-4711") == 404
    assert serving.call("GET", "/v2.01/../users") == 400
    serving.fault("status=500 GET times=1")
    assert serving.call() == 500
    serving.fault("reset=before POST api times=1")
    assert serving.call("POST", "/v2.01/_/payins/card/direct", USER, **headers) == 502


# --- live ------------------------------------------------------------------------------------------------------------


def test_it_opens_during_demo_traffic_and_follows_it(open_tab: Callable[..., Tab]) -> None:
    """The demo as users start it; the address is the one that it prints."""
    with Command("demo", "--port", "0", "--admin-port", "0") as demo:
        demo.wait_for(r"^To end:")
        proxy = demo.wait_for(DEMO.pattern)[1]
        (printed,) = re.findall(r"How it is doing: +(\S+)$", demo.stdout, re.MULTILINE)

        def call() -> None:
            with urllib.request.urlopen(f"{proxy}/v2.01/_/users", timeout=30) as response:
                response.read()

        call()
        tab = open_tab(printed)
        expect(tab.page.get_by_role("status").first).to_have_text("Live")
        expect(rows(tab.page)).to_have_count(1)
        for number in (2, 3):
            call()
            expect(rows(tab.page)).to_have_count(number)
        expect(rows(tab.page).first).to_contain_text("GET /v2.01/{client}/users")
        tab.page.goto("about:blank")  # or it complains that the demo is gone
        assert demo.stop() == 0
        assert demo.complaints == []


def test_the_sparkline_grows_and_is_told_in_words(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    url = serving.start()
    serving.background.run(stop_sampling())
    tab = open_tab(url)
    history = tab.page.get_by_role("region", name="Last 10 minutes")
    expect(history).to_contain_text("begins in a few seconds")
    serving.some_calls()
    expect(rows(tab.page)).to_have_count(9)
    serving.background.run(sample(serving))
    expect(
        history.get_by_role("img", name=re.compile("9 calls in the last 10 minutes, 3 with 4xx, 0 failed"))
    ).to_be_visible()
    expect(history.locator("svg rect").first).to_be_attached()
    expect(history).to_contain_text(re.compile(r"calls/s · p50 [\d.]+ m?s · p95"))


# --- before the first call ------------------------------------------------------------------------------------------


def test_before_the_first_call_it_says_how_to_make_it(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start(), permissions=["clipboard-read", "clipboard-write"])
    page, base = tab.page, f"http://127.0.0.1:{serving.app.port}"
    start = page.get_by_role("group").filter(has_text="How to call it")
    expect(start.get_by_label("Base URL", exact=True)).to_have_text(base)
    tab.keep("start")
    page.get_by_role("button", name="Copy the base URL").click()
    expect(start.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == base
    page.get_by_role("button", name="Copy the curl line").click()
    line = start.get_by_label("curl", exact=True).inner_text()
    assert page.evaluate("() => navigator.clipboard.readText()") == line
    assert line == f"curl -i '{base}/v2.01/_/users?per_page=1'"
    assert serving.call("GET", line.rpartition(base)[2].rstrip("'")) == 200
    expect(rows(page)).to_have_count(1)
    expect(start.get_by_label("Base URL", exact=True)).to_be_visible()  # somebody is in it: the button has the focus


def test_its_lines_for_sdks_are_the_readme_s_and_the_tabs_go_by_keyboard(
    serving: Serving, open_tab: Callable[..., Tab]
) -> None:
    page = open_tab(serving.start()).page
    tabs, panel = page.get_by_role("tab"), page.get_by_role("tabpanel")
    expected = {
        name: examples()[fence].replace("http://127.0.0.1:18080", f"http://127.0.0.1:{serving.app.port}")
        for name, fence in zip(("Python", "Node", "PHP", "Java", "Ruby", ".NET"), FENCES, strict=True)
    }
    tabs.first.focus()
    for name, lines in expected.items():
        tab = page.get_by_role("tab", name=name, exact=True)
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")
        assert panel.locator("code").text_content() == lines
        expect(panel).to_have_accessible_name(name)
        page.keyboard.press("ArrowRight")
    expect(tabs.first).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(tabs.last).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy the SDK's lines")).to_be_focused()


def test_it_makes_room_once_a_call_came_and_can_be_opened_again(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    page = open_tab(serving.start()).page
    base_url = page.get_by_label("Base URL", exact=True)
    expect(base_url).to_be_visible()
    serving.call()
    expect(base_url).to_be_hidden()
    page.get_by_text("How to call it").click()
    expect(base_url).to_be_visible()
    serving.call()
    expect(rows(page)).to_have_count(2)
    expect(base_url).to_be_visible()


# --- the list --------------------------------------------------------------------------------------------------------


def test_calls_can_be_filtered_and_searched(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    retried_and_failed(serving)
    serving.fault("pass answer_delay=1.1 GET times=1")
    assert serving.call("GET", "/v2.01/_/wallets/slow-4711") == 404
    page = tab.page
    expect(rows(page)).to_have_count(7)
    choose(page, "4xx")
    expect(rows(page)).to_have_count(3)
    expect(rows(page).nth(0)).to_contain_text("/v2.01/{client}/wallets/{id}")
    choose(page, "Failed")
    expect(rows(page)).to_have_count(3)
    expect(rows(page).nth(0)).to_contain_text("upstream_unreachable")
    expect(rows(page).nth(0)).to_contain_text("outcome unknown")
    expect(rows(page).nth(2)).to_contain_text("bad_request")
    choose(page, "Retried")
    expect(rows(page)).to_have_count(1)
    choose(page, "Slow (1.00 s or more)")
    expect(rows(page).first).to_contain_text("/v2.01/{client}/wallets/{id}")  # others may have been slow by chance
    expect(rows(page)).not_to_have_count(7)
    choose(page, "All")
    page.get_by_role("searchbox").fill("payins")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("searchbox").fill("nothing like that")
    expect(page.get_by_text("No call of the last 200 is like that.")).to_be_visible()
    tab.keep("filtered")


def test_the_newest_200_calls_are_listed_and_no_more(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    for _ in range(210):
        serving.call("GET", "/v2.01/_/users")
    serving.call("GET", "/v2.01/_/events")
    expect(rows(tab.page).first).to_contain_text("/events")
    expect(rows(tab.page)).to_have_count(200)
    again = open_tab(serving.url)
    expect(rows(again.page)).to_have_count(200)
    expect(rows(again.page).first).to_contain_text("/events")


def test_a_paused_list_stands_still_and_then_catches_up(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.call()
    expect(rows(tab.page)).to_have_count(1)
    tab.page.get_by_role("button", name="Pause").click()
    serving.call()
    serving.call()
    expect(tab.page.get_by_text("Paused; 2 calls since.")).to_be_visible()
    expect(rows(tab.page)).to_have_count(1)
    tab.page.get_by_role("button", name="Go on").click()
    expect(rows(tab.page)).to_have_count(3)


def test_a_paused_list_stands_still_when_the_tab_was_hidden_in_between(
    serving: Serving, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(serving.start())
    serving.call()
    expect(rows(tab.page)).to_have_count(1)
    tab.page.get_by_role("button", name="Pause").click()
    for hidden in ("true", "false"):
        tab.page.evaluate(
            f"Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {hidden}}});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        serving.call()
    expect(tab.page.get_by_text("Paused; 2 calls since.")).to_be_visible()
    expect(rows(tab.page)).to_have_count(1)
    tab.page.get_by_role("button", name="Go on").click()
    expect(rows(tab.page)).to_have_count(3)


# --- one call --------------------------------------------------------------------------------------------------------


def test_the_detail_of_a_retried_call_shows_its_attempts_in_time(
    serving: Serving, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(serving.start(), permissions=["clipboard-read", "clipboard-write"])
    retried_and_failed(serving)
    page = tab.page
    choose(page, "Retried")
    rows(page).first.click()
    dialog = page.get_by_role("dialog", name="GET /v2.01/{client}/users/{id}")
    expect(dialog).to_contain_text("The token had expired or was revoked; the call was retried with a new one.")
    attempts = dialog.locator("#timeline li")
    expect(attempts).to_have_count(3)
    expect(attempts.nth(1)).to_contain_text("answered 401: ")
    expect(attempts.nth(2)).to_contain_text("answered 404: ")
    boxes = [attempts.nth(index).locator("[data-wait=mangopay]").bounding_box() for index in (1, 2)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 2  # one after the other, from left to right
    dialog.get_by_role("button", name="Copy as curl").click()
    expect(dialog.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == (
        f"curl -i http://127.0.0.1:{serving.app.port}/v2.01/_/users/ID"
    )
    tab.keep("detail")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_detail_of_an_unknown_outcome_tells_what_to_look_up(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    retried_and_failed(serving, Idempotency_Key="page-0123456789ab")
    rows(tab.page).filter(has_text="outcome unknown").click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Mangopay may have executed it: find out before it is repeated.")
    expect(dialog).to_contain_text("page-0123456789ab")
    expect(dialog.locator("#timeline li")).to_have_count(5)  # the call, its attempt, and three of reading back
    expect(dialog).to_contain_text("Made again it may move money again.")
    line = dialog.get_by_role("textbox", name="As curl").input_value()
    assert line == (
        f"curl -i -X POST http://127.0.0.1:{serving.app.port}/v2.01/_/payins/card/direct "
        "-H 'Idempotency-Key: page-0123456789ab' -H 'Content-Type: application/json' --data @body.json"
    )


def test_the_detail_of_a_rejected_call_says_that_nothing_was_executed(
    serving: Serving, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(serving.start())
    assert serving.call() == 200
    serving.control("revoke")
    serving.fault("lockout token")
    assert serving.call() == 503
    rows(tab.page).filter(has_text="not executed").click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Mangopay answered it with 401 and executed nothing: it may be sent again.")


@pytest.mark.parametrize("how", ["refuse", "forward"])
def test_calls_for_another_client_id_are_told_and_are_among_the_errors(
    serving: Serving, how: str, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(serving.start(mangopay_foreign_client_ids=how))
    serving.fault("unauthorized GET /v2.01/another/users")
    assert serving.call() == 200
    assert serving.call("GET", "/v2.01/another/users") == (403 if how == "refuse" else 401)
    page = tab.page
    expect(page.get_by_text("Calls for another ClientId: 1 within 0 s")).to_be_visible()
    choose(page, "Failed")
    expect(rows(page)).to_have_count(1)
    rows(page).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Its path names another ClientId than the sidecar's.")
    expect(dialog).to_contain_text("This line has the sidecar's ClientId; the call had another one.")


def test_a_caller_key_is_named_and_never_shown(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    """The key itself is a canary, which the suite would find on the page."""
    tab = open_tab(serving.start(listen_caller_key=CANARY_CALLER_KEY, mangopay_client_id_aliases="me"))
    assert serving.call("GET", "/v2.01/me/users", Authorization=basic("app", CANARY_CALLER_KEY)) == 200
    rows(tab.page).first.click()
    line = tab.page.get_by_role("textbox", name="As curl").input_value()
    assert line.endswith('/v2.01/acme/users -u "app:$SIDECAR_CALLER_KEY"')
    tab.page.keyboard.press("Escape")
    tab.page.get_by_text("How to call it").click()
    expect(tab.page.get_by_label("curl", exact=True)).to_contain_text('per_page=1\' -u "app:$SIDECAR_CALLER_KEY"')
    expect(tab.page.get_by_text("Callers prove themselves with the caller key")).to_be_visible()
    expect(tab.page.get_by_role("tabpanel")).to_contain_text('"THE-CALLER-KEY"')


def test_a_unix_socket_is_called_as_such(serving: Serving, tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    path = tmp_path / "proxy.sock"

    async def call() -> None:
        with await RawClient.connect(path) as client:
            await client.send(request_bytes("GET", "/v2.01/_/users"))
            assert (await client.response()).status == 200

    tab = open_tab(serving.start(listen_port="off", listen_unix_socket=str(path)))
    shown = tab.page.get_by_label("curl", exact=True)
    expect(shown).to_have_text(f"curl -i --unix-socket {path} 'http://localhost/v2.01/_/users?per_page=1'")
    expect(tab.page.get_by_role("tab")).to_have_count(0)
    expect(tab.page.get_by_text("SDKs need an address: set SIDECAR_LISTEN_PORT.")).to_be_visible()
    serving.background.run(call())
    rows(tab.page).first.click()
    line = tab.page.get_by_role("textbox", name="As curl").input_value()
    assert line == f"curl -i --unix-socket {path} http://localhost/v2.01/_/users"


# --- by keyboard -----------------------------------------------------------------------------------------------------


def test_everything_can_be_done_by_keyboard_alone(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    retried_and_failed(serving)
    page = tab.page
    expect(rows(page)).to_have_count(6)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the calls")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name=re.compile("^All"))).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name=re.compile("^Failed"))).to_be_checked()
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("Tab")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Tab")
    opens = rows(page).get_by_role("button")
    expect(opens.nth(0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # there is no fourth
    expect(opens.nth(2)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(opens.nth(1)).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    expect(opens.nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(opens.nth(0)).to_be_focused()


def test_the_focus_stays_on_its_call_while_others_come(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.call("GET", "/v2.01/_/events")
    first = rows(tab.page).get_by_role("button").first
    first.focus()
    serving.call()
    expect(rows(tab.page)).to_have_count(2)
    expect(rows(tab.page).nth(1)).to_contain_text("/events")
    expect(rows(tab.page).nth(1).get_by_role("button")).to_be_focused()


# --- as it looks -----------------------------------------------------------------------------------------------------

LIGHT, DARK = "rgb(244, 245, 247)", "rgb(17, 21, 28)"


def test_it_is_dark_where_the_system_is_and_the_choice_is_kept(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    url = serving.start()
    body = open_tab(url).page.locator("body")
    expect(body).to_have_css("background-color", LIGHT)
    tab = open_tab(url, color_scheme="dark")
    body = tab.page.locator("body")
    expect(body).to_have_css("background-color", DARK)
    toggle = tab.page.get_by_role("button", name="Theme")
    toggle.click()
    expect(toggle).to_have_text("Theme: light")
    expect(body).to_have_css("background-color", LIGHT)
    tab.page.reload()
    expect(body).to_have_css("background-color", LIGHT)
    toggle.click()
    expect(body).to_have_css("background-color", DARK)
    tab.keep("dark")


def test_it_fits_a_phone(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start(), viewport={"width": 360, "height": 740})
    expect(tab.page.get_by_role("tabpanel")).to_be_visible()
    assert tab.page.evaluate("() => document.documentElement.scrollWidth") <= 360
    tab.keep("phone-start")
    retried_and_failed(serving)
    expect(rows(tab.page)).to_have_count(6)
    assert tab.page.evaluate("() => document.documentElement.scrollWidth") <= 360
    tab.keep("phone")
    rows(tab.page).first.click()
    box = tab.page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["width"] <= 360
    tab.keep("phone-detail")


# --- stale -----------------------------------------------------------------------------------------------------------


def test_it_says_when_it_is_stale_and_comes_back_by_itself(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    port = free_port()
    tab = open_tab(serving.start(admin_port=str(port)))
    serving.call()
    expect(rows(tab.page)).to_have_count(1)
    serving.background.leave()
    alert = tab.page.get_by_role("alert")
    expect(alert).to_contain_text(re.compile(r"No news for \d+ s: .* What you see is of \d\d:\d\d:\d\d. Trying again."))
    expect(tab.page).to_have_title("No news · acme")
    tab.keep("stale")
    serving.start(admin_port=str(port))
    expect(alert).to_be_hidden()
    expect(rows(tab.page)).to_have_count(0)  # it is another process, and has had no call
    serving.call()
    expect(rows(tab.page)).to_have_count(1)
    expect(tab.page).to_have_title("Everything works · acme emulator")
    tab.forgive("ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)")


def test_a_page_that_nobody_sees_listens_to_nothing(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    """So that a row of forgotten tabs costs nothing, and leaves connections to others."""
    tab = open_tab(serving.start())
    expect(tab.page.get_by_role("status").first).to_have_text("Live")
    streams = serving.app.sidecar._admin_server._streams
    # The page may show what it is sent before the sidecar, on another thread, counts it as a listener.
    while len(streams) != 1:
        tab.page.wait_for_timeout(10)
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); "
    tab.page.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')); }", True)
    while len(streams):
        tab.page.wait_for_timeout(10)
    serving.call()
    tab.page.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')); }", False)
    expect(rows(tab.page)).to_have_count(1)
    while len(streams) != 1:
        tab.page.wait_for_timeout(10)
