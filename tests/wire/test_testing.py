"""What the fixtures of the pytest plugin give to a test: each control route, the pages, and errors that help."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.testing import EmulatorError, MangopayEmulator
from sidecar.testing.control import ControlRoutes, send
from sidecar.testing.pair import Pair
from tests.support.background import Background
from tests.support.emulator import EUR, NATURAL_USER, NO_FEES, new_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.emulator.server import Emulator

#: What a test has no use for: they describe, or are another's second name.
FOR_PEOPLE: Final = {"index", "openapi.json", "token"}


@pytest.fixture(scope="module")
def served() -> Iterator[Emulator]:
    """An emulator whose hooks have a clock of their own pace; all tests of the file share it."""
    emulator = new_emulator()
    with Background() as background:
        background.run(emulator.start())
        yield emulator
        background.run(emulator.stop())


@pytest.fixture
def mangopay(served: Emulator) -> MangopayEmulator:
    emulator = MangopayEmulator(served.url + "/")
    emulator.reset()
    return emulator


class Caller:
    """An app that calls the emulator itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""

    def call(self, method: str, path: str, body: object = None) -> Any:
        import json

        if not self._token:
            headers = {"Authorization": "Basic YWNtZTprZXk=", "Content-Type": "application/x-www-form-urlencoded"}
            self._token = send(
                self._url, "POST", "/v2.01/oauth/token", b"grant_type=client_credentials", headers
            ).json()["access_token"]
        data = None if body is None else json.dumps(body).encode()
        answer = send(self._url, method, f"/v2.01/acme/{path}", data, {"Authorization": f"Bearer {self._token}"})
        return answer.json() if answer.status == 200 else answer.status


@pytest.fixture
def app(mangopay: MangopayEmulator) -> Caller:
    return Caller(mangopay.base_url)


def test_there_is_a_method_for_every_control_route(
    mangopay: MangopayEmulator, app: Caller, served: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set()
    ask = ControlRoutes.ask

    def noting(self: ControlRoutes, method: str, route: str, body: Any = None) -> Any:
        asked.add((method, route))
        return ask(self, method, route, body)

    monkeypatch.setattr(ControlRoutes, "ask", noting)
    mangopay.configure(expires_in=77)
    assert mangopay.settings["expires_in"] == 77
    user = app.call("POST", "users/natural", {**NATURAL_USER, "UserCategory": "OWNER"})["Id"]
    wallet = app.call("POST", "wallets", {"Owners": [user], "Description": "w", "Currency": "EUR"})["Id"]
    assert app.call("GET", f"wallets/{wallet}") == 401
    mangopay.authenticate(user)
    assert app.call("GET", f"wallets/{wallet}")["Id"] == wallet
    mangopay.authenticate(user, seconds=0)
    assert app.call("GET", f"wallets/{wallet}") == 401
    mangopay.require_sca(wallet, False)
    assert app.call("GET", f"wallets/{wallet}")["Id"] == wallet
    with mangopay.fault("status=503 GET times=1") as fault:
        assert [app.call("GET", "users"), fault.fired, len(mangopay.faults)] == [503, 1, 1]
    assert (mangopay.faults, fault.fired) == ([], 0)
    mangopay.fault({"action": "status", "value": 500})
    mangopay.clear_faults()
    assert mangopay.faults == []
    (write,) = mangopay.ledger.find("POST", "/Wallets/")
    assert (write.deliveries, write.executions, write.path) == (1, 1, "/v2.01/acme/wallets")
    assert (mangopay.ledger.executed_twice(), mangopay.ledger.delivered_twice()) == ([], [])
    assert mangopay.stats["token_requests"] == 1
    before = mangopay.now
    mangopay.advance(3600)
    assert mangopay.now - before >= 3600
    assert mangopay.age_stored_answers(10) == 0
    assert mangopay.place("PayOut", "38233499")["Id"] == "38233499"
    assert len(mangopay.make_disputes()) >= 5
    mangopay.settle("38233499", "send")
    mangopay.trigger("KYC_SUCCEEDED", "1")
    assert mangopay.deliveries == []
    mangopay.lock_out(5)
    mangopay.unlock()
    mangopay.accept_keys({"acme": ["key"]}, permissions={"key": ["Client.Developers:READ"]})
    assert mangopay.revoke() == 1
    mangopay.reset()
    assert mangopay.ledger.entries == ()
    routes = {route for route in served.control.routes if route[1] not in FOR_PEOPLE}
    assert routes - asked == set()


def test_a_card_is_tokenized_and_a_payment_authenticated_without_a_browser(
    mangopay: MangopayEmulator, app: Caller
) -> None:
    user = app.call("POST", "users/natural", {**NATURAL_USER, "UserCategory": "PAYER"})["Id"]
    wallet = app.call("POST", "wallets", {"Owners": [user], "Description": "w", "Currency": "EUR"})["Id"]
    registration = app.call("POST", "cardregistrations", {"UserId": user, "Currency": "EUR"})
    assert mangopay.tokenize_card(registration, number="1") == "errorCode=02625"
    data = {"RegistrationData": mangopay.tokenize_card(registration)}
    card = app.call("PUT", f"cardregistrations/{registration['Id']}", data)["CardId"]
    amounts = {"AuthorId": user, "CreditedWalletId": wallet, "DebitedFunds": EUR, "Fees": NO_FEES}
    secure = {"CardId": card, "SecureMode": "FORCE", "SecureModeReturnURL": "http://localhost/back"}
    paid = app.call("POST", "payins/card/direct", {**amounts, **secure})
    with pytest.raises(EmulatorError, match=r"has no button 'pay' now"):
        mangopay.press(paid["SecureModeRedirectURL"], "pay")
    back = mangopay.press(paid["SecureModeRedirectURL"], "authenticate")
    assert back == f"http://localhost/back?transactionId={paid['Id']}"
    assert app.call("GET", f"payins/{paid['Id']}")["Status"] == "SUCCEEDED"


class Hooks(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_hook_is_waited_for_and_what_came_instead_is_told(mangopay: MangopayEmulator, app: Caller) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Hooks) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        for event in ("KYC_SUCCEEDED", "KYC_FAILED"):
            app.call("POST", "hooks", {"Url": url, "EventType": event})
        mangopay.fault("hook-lost event=KYC_FAILED")
        mangopay.trigger("KYC_SUCCEEDED", "7")
        mangopay.trigger("KYC_FAILED", "7")
        delivery = mangopay.wait_for_delivery("KYC_SUCCEEDED", "7")
        assert (delivery.url, delivery.outcome, delivery.attempt) == (url, "delivered", 1)
        for event, resource, told in (("KYC_FAILED", None, "lost"), ("KYC_SUCCEEDED", "8", "none was called")):
            with pytest.raises(EmulatorError, match=told):
                mangopay.wait_for_delivery(event, resource, timeout=0)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda emulator: emulator.fault("statsu=503"), "POST /__emulator__/faults: .*did you mean status"),
        (lambda emulator: emulator.settle("nothing", "pay"), "acme has no resource nothing"),
        (lambda emulator: emulator.press("http://127.0.0.1/v2.01/x", "pay"), "not a page of the emulator"),
    ],
)
def test_what_cannot_be_done_is_told(mangopay: MangopayEmulator, ask: Any, told: str) -> None:
    with pytest.raises(EmulatorError, match=told):
        ask(mangopay)


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """Something else, which answers every request alike: with the status and the body of the parameter."""
    status, body = request.param

    class Handler(Hooks):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server wants it so

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("stranger", "told"),
    [
        ((200, b"<html>"), "is no Mangopay emulator"),
        ((403, b'{"error": "Control routes answer loopback peers only."}'), "start the emulator with --trust"),
    ],
    indirect=["stranger"],
)
def test_what_is_no_emulator_or_will_not_talk_is_told(stranger: str, told: str) -> None:
    with pytest.raises(EmulatorError, match=told):
        MangopayEmulator(stranger).reset()


@pytest.mark.parametrize(
    ("stranger", "told"),
    [
        (
            (200, b'{"name": "mangopay-sidecar", "environment": "production"}'),
            "for Mangopay's own production: unset it",
        ),
        ((200, b'{"name": "mangopay-sidecar"}'), "is a sidecar that does not tell for what: unset it"),
        ((200, b"[]"), "is no mangopay-sidecar"),
        ((403, b"{}"), "is no mangopay-sidecar"),
    ],
    indirect=["stranger"],
)
def test_a_base_url_that_is_not_for_tests_is_refused_before_any_call(stranger: str, told: str) -> None:
    with pytest.raises(EmulatorError, match=told):
        Pair.given({"MANGOPAY_BASE_URL": stranger, "MANGOPAY_EMULATOR_URL": "http://127.0.0.1:9"})


@pytest.mark.parametrize("accepted", ["_", "acme"])
def test_a_sidecar_of_any_client_id_is_found_ready(accepted: str) -> None:
    """Its aliases are its own: what it accepts is tried."""

    class Sidecar(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_ours = self.path == f"/v2.01/{accepted}/clients"
            self.send_response(200 if is_ours else 403)
            if not is_ours:
                self.send_header("X-Sidecar-Error", "client_id_mismatch")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Sidecar) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            pair = Pair(f"http://127.0.0.1:{server.server_port}", "http://127.0.0.1:9")
            pair.begin(reset=False)
            assert pair.waited == 0.0
        finally:
            server.shutdown()
            thread.join()


def test_nothing_that_listens_is_told() -> None:
    nobody = "http://127.0.0.1:9"
    with pytest.raises(EmulatorError, match=r"no Mangopay emulator answers at http://127\.0\.0\.1:9"):
        MangopayEmulator(nobody).reset()
    with pytest.raises(EmulatorError, match="no sidecar answers at MANGOPAY_BASE_URL"):
        Pair.given({"MANGOPAY_BASE_URL": nobody, "MANGOPAY_EMULATOR_URL": nobody})
    with pytest.raises(EmulatorError, match="MANGOPAY_EMULATOR_URL is set, and MANGOPAY_BASE_URL is not"):
        Pair.given({"MANGOPAY_EMULATOR_URL": nobody})
    assert Pair.given({"MANGOPAY_BASE_URL": ""}) is None
