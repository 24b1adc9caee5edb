"""What a hostile web page can do with the admin port from within a browser on the same machine: nothing."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from structlog.testing import capture_logs

from tests.support.canary import CANARY_API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.browser.serving import Serving
    from tests.support.browser import Tab

ROUTES = ("", "status", "events")


@contextmanager
def hostile_page(html: str) -> Iterator[str]:
    """Serve a page on another port of this machine, and so of another origin; give its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("route", ROUTES)
def test_a_name_that_was_rebound_to_this_machine_reads_nothing(
    serving: Serving, open_tab: Callable[..., Tab], route: str
) -> None:
    """The browser itself resolves the attacker's name to 127.0.0.1, and takes it for one origin with the page."""
    serving.start()
    tab = open_tab()
    response = tab.page.goto(f"http://rebound.example:{serving.app.admin_port}/{route}")
    assert response is not None
    assert response.status == 403
    assert "host_not_allowed" in response.text()
    assert "acme" not in response.text()
    tab.forgive("403")


_STEAL = """<!doctype html><title>hostile</title><pre id="seen"></pre><script>
const base = "%s";
const seen = [];
const read = async (name, options) => {
  try {
    const answer = await fetch(base + name, options);
    seen.push(answer.type === "opaque" ? "opaque" : `read ${await answer.text()}`);
  } catch { seen.push("refused"); }
};
const listen = (name) => new Promise((done) => {
  const source = new EventSource(base + name);
  source.addEventListener("status", (event) => { seen.push(`read ${event.data}`); source.close(); done(); });
  source.addEventListener("error", () => { seen.push("refused"); source.close(); done(); });
});
const load = (element, name) => new Promise((done) => {
  element.addEventListener("load", () => { seen.push("loaded"); done(); });
  element.addEventListener("error", () => { seen.push("refused"); done(); });
  element.src = base + name;
  document.body.append(element);
});
(async () => {
  for (const name of ["", "status", "events"]) {
    await read(name, {});
    await read(name, { mode: "no-cors" });
    await read(name, { headers: { "X-Preflight": "1" } });
  }
  await listen("events");
  await load(document.createElement("script"), "status");
  await load(document.createElement("img"), "status");
  document.getElementById("seen").textContent = seen.join("\\n") + "\\nend";
})();
</script>"""


def test_a_page_of_another_origin_reads_nothing(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    serving.start()
    with hostile_page(_STEAL % serving.url) as address, capture_logs() as logs:
        tab = open_tab()
        tab.page.goto(address)
        seen = tab.page.locator("#seen")
        expect(seen).to_contain_text("end")
        words = seen.inner_text().split("\n")
    assert set(words) <= {"refused", "opaque", "end"}
    assert len(words) == 13
    # It was the sidecar that refused, and not the browser alone; preflights have a method that it does not know.
    refused = [entry["error"] for entry in logs if entry["event"] == "admin.refused"]
    assert refused == ["browser_not_allowed"] * 9
    tab.forgive("403|CORS|ERR_FAILED|ERR_BLOCKED")


def test_the_page_cannot_be_framed(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    serving.start()
    with hostile_page(f'<!doctype html><iframe src="{serving.url}"></iframe>') as address:
        tab = open_tab()
        tab.page.goto(address)
        tab.page.wait_for_load_state("networkidle")
        texts = [frame.content() for frame in tab.page.frames]
    assert not any("mangopay-sidecar" in text for text in texts)
    tab.forgive("403|frame")


def test_a_link_from_another_page_does_not_lead_here(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    """The browser's rules of the proxy port hold here too: only who types the address is let in, and is told so."""
    serving.start()
    with hostile_page(f'<!doctype html><a href="{serving.url}">status</a>') as address:
        tab = open_tab()
        tab.page.goto(address)
        tab.page.get_by_role("link").click()
        expect(tab.page.get_by_text("type the address into the browser yourself")).to_be_visible()
    tab.forgive("403")


def test_what_a_caller_sent_is_shown_as_text_and_never_run(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    markup = "<img/src=x/onerror=alert(1)>"
    serving.call("GET", "/v2.01/_/users", X_Request_Id=markup)
    tab.page.locator("#calls tr").first.click()
    expect(tab.page.get_by_role("dialog").get_by_text(markup)).to_be_visible()
    expect(tab.page.locator("img[src=x]")).to_have_count(0)


def test_a_query_and_an_id_are_nowhere_on_the_page(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(serving.start())
    serving.call("GET", f"/v2.01/_/users/user_m_01HQX?zebra={CANARY_API_KEY}")
    expect(tab.page.locator("#calls tr")).to_have_count(1)
    tab.page.locator("#calls tr").click()
    content = tab.page.content()
    assert "01HQX" not in content
    assert "zebra" not in content


def test_script_that_is_not_the_page_s_own_does_not_run(serving: Serving, open_tab: Callable[..., Tab]) -> None:
    """Were there a way to put markup or a string of code into the page, it would still come to nothing."""
    tab = open_tab(serving.start())
    ways = {
        "markup": "() => { document.body.innerHTML = '<p>in</p>'; }",
        "code": "() => { const timer = setTimeout; timer('document.title = 1'); }",
        "script": "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; "
        "document.head.append(s); if (!window.ran) throw new Error('blocked'); }",
    }
    for way in ways.values():
        with pytest.raises(Exception, match=r"blocked|TrustedHTML|TrustedScript|Content Security Policy"):
            tab.page.evaluate(way)
    tab.forgive("TrustedHTML|TrustedScript|Content Security Policy|This document requires")
