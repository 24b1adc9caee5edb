"""A value of a wrong type, anywhere in a body, never breaks the emulator: not at once, and not when it is looked at."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.emulator.engine import transitions
from sidecar.emulator.engine.kinds import kind_of
from sidecar.emulator.engine.routes import PAGES, Match
from sidecar.emulator.messages import Request, split_path
from sidecar.emulator.overview import Overview
from sidecar.emulator.resources import catalogue
from sidecar.emulator.tokenization import TEST_CARD
from tests.support.clock import FakeClock
from tests.support.emulator import ADDRESS, EUR, NO_FEES, Platform, issue_token, read
from tests.unit.emulator.test_emulator_table import RECIPIENT, ROWS, Row, account, where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.emulator.engine.routes import Route

Body = dict[str, Any]
#: What a value is replaced by, each in turn: JSON of each type, empty and not.
WRONG: Final[tuple[object, ...]] = ("x", 5, [1], ["x"], {}, {"x": "y"})
INTENTS: Final = "/V3.0/acme/payins/intents"
PNG: Final = "iVBORw=="


@dataclass(frozen=True)
class Write:
    """A call that writes; names in braces are fields of what ``about`` makes first, or attributes of Platform."""

    method: str
    path: str
    body: Callable[[Platform, Body], Body] = lambda platform, made: {}
    about: Callable[[Platform], Body] = lambda platform: {}

    @property
    def route(self) -> Route:
        """The row of the emulator's own table."""
        path = self.path if self.path.startswith("/") else f"/v2.01/acme/{self.path}"
        found = catalogue().find(self.method, split_path(path))
        assert isinstance(found, Match), self.path
        return found.route

    def ready(self, platform: Platform) -> tuple[str, Body]:
        """Return the path and a body of a call that was not made yet, with every field that may be given."""
        made = self.about(platform)
        path, body = where(self.path, platform, made), self.body(platform, made)
        if self.route.kind is None:
            return path, body
        fields = self.route.kind.settable.values() if self.route.settable is None else self.route.settable
        return path, {**dict.fromkeys(sorted(fields)), **body}


def row(path: str) -> Callable[[Platform], Body]:
    """Return what makes the resource of a row of the table."""
    (found,) = (each for each in ROWS if each.path == path)
    return lambda platform: platform.create(where(path, platform), found.body(platform))


def given(**body: Any) -> Callable[[Platform, Body], Body]:
    return lambda platform, made: body


def split(platform: Platform) -> Body:
    """Make a split whose money is there."""
    intent = platform.captured
    wanted = {"Splits": [{"LineItemId": intent["LineItems"][0]["Id"], "SplitAmount": 300}]}
    (made,) = platform.create(f"{INTENTS}/{intent['Id']}/splits", wanted)["Splits"]
    platform.settle(made["Id"], "release")
    return {**made, "IntentId": intent["Id"]}


def of_line_item(platform: Platform, made: Body) -> Body:
    splits = [{"LineItemId": made["LineItems"][0]["Id"], "SplitAmount": 300, "FeesAmount": 10, "Description": "d"}]
    return {"Splits": splits}


OWNER: Final = {"UserCategory": "OWNER", "Birthday": 1, "Nationality": "FR", "CountryOfResidence": "FR"}
DOCUMENT: Final = row("disputes/{dispute}/documents")
KYC: Final = row("users/{user}/kyc/documents")
NATURAL: Final = row("sca/users/natural")
LEGAL: Final = row("sca/users/legal")
#: Those that make no resource of the table.
OTHERS: Final = (
    Write("PUT", "users/{UserId}/bankaccounts/{Id}", given(Active=True), row("users/{user}/bankaccounts/iban")),
    Write("PUT", "cardregistrations/{Id}", given(RegistrationData="data=x"), row("cardregistrations")),
    Write("PUT", "cards/{new_card}"),
    Write("POST", "payment-methods/metadata", given(Type="BIN", Bin="497010")),
    Write("PUT", "clients", given(HeadquartersAddress=ADDRESS, TechEmails=["a@example.com"], ClientId="x")),
    Write("PUT", "clients/logo", given(File=PNG)),
    Write(
        *("PUT", "deposit-preauthorizations/{Id}", given(PaymentStatus="CANCELED")),
        row("deposit-preauthorizations/card/direct"),
    ),
    Write("PUT", "disputes/{dispute}"),
    Write("PUT", "disputes/{dispute}/submit", given(ContestedFunds=EUR)),
    Write("PUT", "disputes/{dispute}/close"),
    Write("PUT", "disputes/{DisputeId}/documents/{Id}", given(Status="VALIDATION_ASKED"), DOCUMENT),
    Write("POST", "disputes/{DisputeId}/documents/{Id}/pages", given(File=PNG), DOCUMENT),
    Write("POST", "dispute-documents/{Id}/consult", about=DOCUMENT),
    *(
        Write("POST", f"/v2.01/oauth/token/embedded/{kind}", given(clientId="acme", claims={"userId": "u"}))
        for kind in ("recipient", "checkout")
    ),
    Write("PUT", "hooks/{Id}", given(Url="http://x", Status="DISABLED"), row("hooks")),
    Write(
        *("POST", f"{INTENTS}/{{Id}}/captures"),
        lambda platform, made: {"Amount": 400, "LineItems": [{"Id": made["LineItems"][0]["Id"], "Amount": 400}]},
        row(INTENTS),
    ),
    Write("POST", f"{INTENTS}/{{Id}}/cancel", about=row(INTENTS)),
    Write("POST", f"{INTENTS}/{{Id}}/splits", of_line_item, lambda platform: platform.captured),
    Write("PUT", f"{INTENTS}/{{IntentId}}/splits/{{Id}}", given(FeesAmount=10), split),
    Write("POST", f"{INTENTS}/{{IntentId}}/splits/{{Id}}/execute", about=split),
    Write("POST", f"{INTENTS}/{{IntentId}}/splits/{{Id}}/reverse", about=split),
    Write("PUT", "users/{UserId}/kyc/documents/{Id}", given(Status="VALIDATION_ASKED"), KYC),
    Write("POST", "users/{UserId}/kyc/documents/{Id}/pages", given(File=PNG), KYC),
    Write("POST", "kyc/documents/{Id}/consult", about=KYC),
    Write("PUT", "mandates/{Id}/cancel", about=row("mandates/directdebit/web")),
    *(
        Write("PUT", "payins/{Id}/trackings", given(TrackingNumber="1", Carrier="DHL", NotifyBuyer=True), row(path))
        for path in ("payins/payment-methods/paypal", "payins/payment-methods/paypal/recurring")
    ),
    Write(
        *("POST", "payouts/reachability"),
        lambda platform, made: {
            "AuthorId": platform.user,
            "DebitedFunds": EUR,
            "DebitedWalletId": platform.wallet,
            "BankAccountId": account(platform),
        },
    ),
    Write("POST", "payins/payment-methods/paypal/data-collection", given(Tag="t", sender={"name": ["x"]})),
    Write("PUT", "preauthorizations/{Id}", given(PaymentStatus="CANCELED"), row("preauthorizations/card/direct")),
    Write("POST", "users/{user}/recipients/validate", given(**RECIPIENT)),
    Write("PUT", "recipients/{Id}", given(Status="DEACTIVATED"), row("users/{user}/recipients")),
    Write("PUT", "recurringpayinregistrations/{Id}", given(Status="ENDED"), row("recurringpayinregistrations")),
    Write(
        *("POST", "transfers/{Id}/refunds"),
        lambda platform, made: {"AuthorId": platform.user, "DebitedFunds": EUR, "Fees": NO_FEES},
        row("transfers"),
    ),
    Write("PUT", "sca/users/natural/{Id}", given(Address=ADDRESS), NATURAL),
    Write("PUT", "sca/users/natural/{Id}/category", given(**OWNER), NATURAL),
    Write("PUT", "sca/users/legal/{Id}", given(LegalRepresentative={"Email": "e@x", "FirstName": "F"}), LEGAL),
    Write("PUT", "sca/users/legal/{Id}", given(LegalRepresentative={"Email": "e@x"}), row("users/legal")),
    Write("PUT", "sca/users/legal/{Id}/category", given(UserCategory="OWNER", HeadquartersAddress=ADDRESS), LEGAL),
    Write("POST", "sca/users/{user}/enrollment"),
    Write("POST", "sca/users/{user}/consent"),
    Write("PUT", f"{INTENTS}/settlements/{{Id}}", given(FileName="b.csv"), row(f"{INTENTS}/settlements")),
    Write(
        *("PUT", "users/{UserId}/kyc/ubodeclarations/{Id}", given(Status="VALIDATION_ASKED")),
        row("users/{other}/kyc/ubodeclarations"),
    ),
    Write(
        *("PUT", "users/{other}/kyc/ubodeclarations/{declaration}/ubos/{Id}", given(Address=ADDRESS)),
        row("users/{other}/kyc/ubodeclarations/{declaration}/ubos"),
    ),
    Write(
        "POST", "users/data-formats/validation", given(CompanyNumber={"CompanyNumber": "12345678", "CountryCode": "FR"})
    ),
    Write("PUT", "users/natural/{Id}", given(Address=ADDRESS), row("users/natural")),
    Write("PUT", "users/legal/{Id}", given(HeadquartersAddress=ADDRESS), row("users/legal")),
    Write("PUT", "bankingaliases/{Id}", about=row("wallets/{wallet}/bankingaliases/iban")),
    Write("PUT", "wallets/{WalletId}/virtual-accounts/{Id}", about=row("wallets/{wallet}/virtual-accounts")),
    Write("PUT", "wallets/{wallet}"),
)


def making(each: Row) -> Write:
    return Write("POST", each.path, lambda platform, made: each.body(platform))


MAKING: Final = tuple(making(each) for each in ROWS)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in a body, or a part of it, something stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield (*here, name)
        yield from places(part, (*here, name))


def replaced(body: Body, place: tuple[Any, ...], other: object) -> Body:
    """Return ``body`` with something else in one place."""
    changed = part = deepcopy(body)
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = other
    return changed


def seen_from(platform: Platform, changed: set[str]) -> Iterator[str]:
    """Yield the path of everything that can be looked at: of each resource that is ``changed``, else of some."""
    client = platform.state.client("acme")
    kept = {name: [*changed.intersection(found)] or [*found][-3:] for name, found in client.collections.items()}
    rest = {"Type": ["IBAN"], "Fingerprint": [TEST_CARD.fingerprint], "Year": ["2023"], "Month": ["11"]}
    rest |= {"FundsType": ["FEES"], "Currency": ["EUR"], "Resource": list(changed), "Mandate": kept.get("Mandate", [])}
    rest |= {"Page": kept.get("DocumentPage", []), "Registration": kept.get("CardRegistration", [])}
    rest |= {"File": [f"{each}.csv" for each in changed], "Ticket": list(client.tickets)[-1:]}
    for route in (each for each in catalogue().routes if each.method == "GET" and each.client):
        paths = [f"/{route.version}/acme"]
        for part in route.pattern.split("/"):
            name = part[1:-1] if part.startswith("{") else None
            if name == "Id" and route.kind is not None:
                values = kept.get(route.kind.collection, [])
            elif name in catalogue().parents:
                values = kept.get(catalogue().parents[name], [])[:1]
            else:
                values = [part] if name is None else rest.get(name, ["x"])
            paths = [f"{path}/{value}" for path in paths for value in values]
        yield from paths


def look_at_everything(platform: Platform, changed: set[str]) -> None:
    for path in seen_from(platform, changed):
        assert platform.call("GET", f"{path}?per_page=100").status < 500, path
    emulator = platform.emulator
    page = Overview(emulator.state, emulator.faults, emulator.outbox, emulator.control, emulator.seen)
    assert page.response(Request("GET", "/", (), "", ((b"Host", b"localhost"),), b"", 0.0), None).status == 200


def let_everything_happen(platform: Platform) -> None:
    """Move what waits: resources alike go different ways."""
    client = platform.state.client("acme")
    resources = list({id(each): each for kept in client.collections.values() for each in kept.values()}.values())
    for number, resource in enumerate(resources):
        moves = kind_of(resource).transitions
        turn = number % max(1, len(moves))
        for move in (*moves[turn:], *moves[:turn]):
            if resource[move.field] in move.source:
                transitions.move(client, resource, move.name, 1_700_000_000)


def use(platform: Platform, collection: str, identifiers: list[str]) -> None:
    """Make what refers to resources of a collection, in the path or in the body, with each of them at least once."""
    uses = [(each, name) for each in ROWS for name, of in each.kind.links.items() if of == collection]
    parents = [name for name, of in catalogue().parents.items() if of == collection]
    uses += [(each, name) for each in ROWS for name in parents if f"{{{name}}}" in each.route.pattern]
    for number in range(max(len(uses), len(identifiers)) if uses and identifiers else 0):
        (each, name), identifier = uses[number % len(uses)], identifiers[number % len(identifiers)]
        path, body = where(each.path, platform), each.body(platform)
        if name in parents and f"{{{name}}}" in each.route.pattern:
            place = each.route.pattern.split("/").index(f"{{{name}}}")
            parts = path.split("/")
            parts[place - len(each.route.pattern.split("/"))] = identifier
            path = "/".join(parts)
        else:
            body = {**body, name: [identifier] if name in each.kind.several else identifier}
        assert platform.call("POST", path, body).status < 500, path


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


@pytest.mark.parametrize("write", [*MAKING, *OTHERS], ids=lambda write: f"{write.method} {write.path}")
def test_a_value_of_a_wrong_type_never_breaks_it(platform: Platform, write: Write) -> None:
    token, taken = platform.token, list[str]()
    path, body = write.ready(platform)
    for place in places(body):
        for other in WRONG:
            platform.token = token if write.route.client else issue_token(platform.emulator, embedded=True)
            response = platform.call(write.method, path, replaced(body, place, other))
            platform.token = token
            assert response.status < 500, (place, other)
            if response.status < 300:
                path, body = write.ready(platform)
            if response.status == 200 and "Id" in (shown := read(response)):
                taken.append(shown["Id"])
    look_at_everything(platform, set(taken))
    if write.route.kind is not None:
        use(platform, write.route.kind.collection, taken)
    let_everything_happen(platform)
    look_at_everything(platform, set(taken))


def test_every_call_that_writes_is_tried() -> None:
    tried = {id(write.route) for write in (*MAKING, *OTHERS)}
    writing = [each for each in catalogue().routes if each.method in {"POST", "PUT"} and each.version != PAGES]
    assert [f"{each.method} {each.pattern}" for each in writing if id(each) not in tried] == []
