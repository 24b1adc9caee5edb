"""Each emulated resource against one table: a row says how one is made and where it is seen, the tests do the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.emulator.engine.routes import PAGES, Match
from sidecar.emulator.messages import split_path
from sidecar.emulator.resources import catalogue, files, payment_methods
from sidecar.emulator.scopes import SCOPES
from tests.support.clock import FakeClock
from tests.support.emulator import ADDRESS, EUR, LEGAL_USER, NATURAL_USER, NO_FEES, Platform, issue_token, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.emulator.engine.kinds import Kind
    from sidecar.emulator.engine.routes import Route
    from sidecar.emulator.messages import EmulatedResponse

Body = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """How a resource is made: the file that emulates it, the POST's path, and a body that is accepted.

    In paths, names in braces are attributes of Platform, or fields of the resource.
    ``shows``: what it looks like beyond what was given; ``seen``: paths that show it
    alone; ``listed``: paths that show it among others.
    """

    file: str
    path: str
    body: Callable[[Platform], Body]
    shows: Mapping[str, Any]
    seen: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()

    @property
    def route(self) -> Route:
        """The row of the emulator's own table."""
        path = self.path if self.path.startswith("/") else f"/v2.01/acme/{self.path}"
        found = catalogue().find("POST", split_path(path))
        assert isinstance(found, Match), self.path
        return found.route

    @property
    def kind(self) -> Kind:
        """What is made."""
        kind = self.route.kind
        assert kind is not None
        return kind


def amounts(platform: Platform) -> Body:
    return {"AuthorId": platform.user, "DebitedFunds": EUR, "Fees": NO_FEES}


def into_wallet(platform: Platform) -> Body:
    return {**amounts(platform), "CreditedWalletId": platform.wallet}


def account(platform: Platform) -> str:
    identifier: str = platform.bank_account()["Id"]
    return identifier


def by_card(platform: Platform) -> Body:
    body = {"AuthorId": platform.user, "DebitedFunds": EUR, "CardId": platform.new_card}
    return body | {"SecureModeReturnURL": "http://x"}


def deposit(platform: Platform, wanted: str | None = None) -> str:
    path = "deposit-preauthorizations"
    identifier: str = platform.create(f"{path}/card/direct", by_card(platform))["Id"]
    if wanted is not None:
        assert platform.call("PUT", f"{path}/{identifier}", {"PaymentStatus": wanted}).status == 200
    return identifier


def of_deposit(wanted: str | None, platform: Platform) -> Body:
    return {**into_wallet(platform), "DepositId": deposit(platform, wanted)}


def to_be_repeated(platform: Platform) -> Body:
    first = {"FirstTransactionDebitedFunds": EUR, "FirstTransactionFees": NO_FEES}
    return {"AuthorId": platform.user, "CreditedWalletId": platform.wallet, **first}


def recurring(platform: Platform, **fields: Any) -> str:
    identifier: str = platform.create("recurringpayinregistrations", {**to_be_repeated(platform), **fields})["Id"]
    return identifier


SCA_NATURAL: Final = {**NATURAL_USER, "TermsAndConditionsAccepted": True}
SCA_LEGAL: Final = {
    "Name": "ACME",
    "LegalPersonType": "BUSINESS",
    "Email": "acme@example.com",
    "LegalRepresentative": {"FirstName": "A", "LastName": "B"},
    "TermsAndConditionsAccepted": True,
    "UserCategory": "PAYER",
}

REPRESENTATIVE: Final = (
    *("FirstName", "LastName", "Birthday", "Nationality", "CountryOfResidence"),
    *("Email", "PhoneNumber", "PhoneNumberCountry"),
)

#: A quote for ten euros, and what they are worth.
QUOTE: Final = {"DebitedFunds": EUR, "CreditedFunds": {"Currency": "GBP"}}
IN_POUNDS: Final = {"Currency": "GBP", "Amount": 846}
RECIPIENT: Final = {
    "DisplayName": "Alex",
    "PayoutMethodType": "LocalBankTransfer",
    "RecipientType": "Individual",
    "Currency": "GBP",
    "Country": "GB",
    "IndividualRecipient": {"FirstName": "Alex", "LastName": "Smith"},
    "LocalBankTransfer": {"GBP": {"SortCode": "200000", "AccountNumber": "55779911"}},
}
UBO: Final = {
    "FirstName": "A",
    "LastName": "B",
    "Address": ADDRESS,
    "Nationality": "FR",
    "Birthday": 1,
    "Birthplace": {"City": "Paris", "Country": "FR"},
}


def between_currencies(platform: Platform) -> Body:
    return {"AuthorId": platform.user, "DebitedWalletId": platform.funded, "CreditedWalletId": platform.pounds}


def by_method(needed: tuple[str, ...], platform: Platform) -> Body:
    told = {"ReturnURL": "http://x", "Country": "BE", "Phone": "351#26", "LineItems": [], "PaymentData": "{}"}
    items = [{"Name": "n", "Quantity": 1, "UnitAmount": 1000}]
    return {**into_wallet(platform), **{name: told[name] or items for name in needed if name in told}}


#: In the order of files.
ROWS: Final = (
    Row(
        "bank_accounts",
        "users/{user}/bankaccounts/iban",
        lambda _: {"OwnerName": "V", "OwnerAddress": ADDRESS, "IBAN": "FR76", "BIC": "BNPAFRPP"},
        {"Type": "IBAN", "Active": True},
        seen=("users/{user}/bankaccounts/{Id}",),
        listed=("users/{user}/bankaccounts",),
    ),
    Row(
        "bank_wires",
        "payins/bankwire/direct",
        lambda platform: {
            "AuthorId": platform.user,
            "CreditedWalletId": platform.wallet,
            "DeclaredDebitedFunds": EUR,
            "DeclaredFees": NO_FEES,
        },
        {"Status": "CREATED", "PaymentType": "BANK_WIRE", "ExecutionType": "DIRECT", "DebitedFunds": None},
        seen=("payins/{Id}",),
        listed=("wallets/{wallet}/transactions", "users/{user}/transactions"),
    ),
    Row(
        "card_registrations",
        "cardregistrations",
        lambda platform: {"UserId": platform.user, "Currency": "EUR"},
        {"Status": "CREATED", "CardId": None},
        seen=("cardregistrations/{Id}",),
    ),
    Row(
        "card_validations",
        "cards/{new_card}/validation",
        lambda platform: {"AuthorId": platform.user, "SecureModeReturnURL": "http://x"},
        {"Status": "SUCCEEDED", "Validity": "VALID", "Type": "CARD_VALIDATION"},
        seen=("cards/{CardId}/validation/{Id}",),
    ),
    Row(
        "client_wallets",
        "clients/bankaccounts/iban",
        lambda _: {"OwnerName": "V", "OwnerAddress": ADDRESS, "IBAN": "FR76", "BIC": "BNPAFRPP"},
        {"Type": "IBAN", "UserId": None},
    ),
    Row(
        "client_wallets",
        "clients/payins/bankwire/direct",
        lambda _: {"CreditedWalletId": "CREDIT_EUR", "DeclaredDebitedFunds": EUR},
        {"Status": "CREATED", "PaymentType": "BANK_WIRE", "DeclaredFees": NO_FEES},
        seen=("payins/{Id}",),
        listed=("clients/wallets/CREDIT/EUR/transactions",),
    ),
    Row(
        "client_wallets",
        "clients/payouts",
        lambda platform: {"DebitedWalletId": "FEES_EUR", "DebitedFunds": EUR, "BankAccountId": account(platform)},
        {"Status": "CREATED", "PaymentType": "BANK_WIRE", "Fees": NO_FEES, "CreditedFunds": EUR},
        seen=("payouts/{Id}",),
        listed=("clients/wallets/FEES/EUR/transactions",),
    ),
    Row(
        "conversions",
        "clients/conversions/instant-conversion",
        lambda _: {
            "DebitedWalletType": "FEES",
            "CreditedWalletType": "CREDIT",
            "DebitedFunds": EUR,
            "CreditedFunds": {"Currency": "GBP"},
        },
        {"Status": "SUCCEEDED", "DebitedWalletId": "FEES_EUR", "CreditedWalletId": "CREDIT_GBP"},
        seen=("conversions/{Id}",),
        listed=("clients/wallets/FEES/EUR/transactions", "clients/wallets/CREDIT/GBP/transactions"),
    ),
    Row(
        "conversions",
        "clients/conversions/quoted-conversion",
        lambda platform: {
            "DebitedWalletType": "CREDIT",
            "CreditedWalletType": "FEES",
            "QuoteId": platform.create("conversions/quote", QUOTE)["Id"],
        },
        {"Status": "SUCCEEDED", "DebitedFunds": EUR, "CreditedFunds": IN_POUNDS},
        seen=("conversions/{Id}",),
        listed=("clients/wallets/CREDIT/EUR/transactions",),
    ),
    Row(
        "conversions",
        "conversions/instant-conversion",
        lambda platform: {**between_currencies(platform), "DebitedFunds": EUR, "CreditedFunds": {"Currency": "GBP"}},
        {"Status": "SUCCEEDED", "Type": "CONVERSION", "Fees": NO_FEES},
        seen=("conversions/{Id}",),
        listed=("wallets/{DebitedWalletId}/transactions", "wallets/{CreditedWalletId}/transactions"),
    ),
    Row(
        "conversions",
        "conversions/quote",
        lambda _: QUOTE,
        {"Status": "ACTIVE", "CreditedFunds": IN_POUNDS, "Duration": 300},
        seen=("conversions/quote/{Id}",),
    ),
    Row(
        "conversions",
        "conversions/quoted-conversion",
        lambda platform: {
            **between_currencies(platform),
            "QuoteId": platform.create("conversions/quote", QUOTE)["Id"],
        },
        {"Status": "SUCCEEDED", "DebitedFunds": EUR, "CreditedFunds": IN_POUNDS},
        seen=("conversions/{Id}",),
        listed=("wallets/{DebitedWalletId}/transactions",),
    ),
    Row(
        "deposits",
        "deposit-preauthorizations/card/direct",
        by_card,
        {"Status": "SUCCEEDED", "PaymentStatus": "WAITING", "PaymentType": "CARD"},
        seen=("deposit-preauthorizations/{Id}",),
        listed=("users/{user}/deposit-preauthorizations", "cards/{CardId}/deposit-preauthorizations"),
    ),
    *(
        Row(
            "deposits",
            f"payins/deposit-preauthorized/direct/{name}",
            partial(of_deposit, wanted),
            {"Status": "SUCCEEDED", "PaymentType": "PREAUTHORIZED", "ExecutionType": "DIRECT"},
            seen=("payins/{Id}",),
            listed=("deposit-preauthorizations/{DepositId}/transactions", "wallets/{wallet}/transactions"),
        )
        for name, wanted in {
            "capture-with-complement": None,
            "complement": "NO_SHOW_REQUESTED",
            "full-capture": None,
        }.items()
    ),
    Row(
        "direct_debits",
        "payins/directdebit/direct",
        lambda platform: {**into_wallet(platform), "MandateId": platform.mandate()["Id"]},
        {"Status": "FAILED", "ResultMessage": "The Status of this Mandate does not allow for payments"},
        seen=("payins/{Id}",),
        listed=("mandates/{MandateId}/transactions", "users/{user}/transactions"),
    ),
    Row(
        "direct_debits",
        "payins/directdebit/web",
        lambda platform: {**into_wallet(platform), "ReturnURL": "http://x", "DirectDebitType": "GIROPAY"},
        {"Status": "CREATED", "PaymentType": "DIRECT_DEBIT", "ExecutionType": "WEB"},
        seen=("payins/{Id}",),
    ),
    Row(
        "disputes",
        "disputes/{dispute}/documents",
        lambda _: {"Type": "DELIVERY_PROOF"},
        {"Status": "CREATED"},
        seen=("dispute-documents/{Id}",),
        listed=("dispute-documents", "disputes/{DisputeId}/documents"),
    ),
    Row(
        "disputes",
        "repudiations/{repudiation}/settlementtransfer",
        lambda platform: {"AuthorId": platform.user, "DebitedFunds": EUR, "Fees": NO_FEES},
        {"Status": "SUCCEEDED", "Type": "TRANSFER", "Nature": "SETTLEMENT"},
        seen=("settlements/{Id}",),
        listed=("users/{user}/transactions",),
    ),
    Row(
        "hooks",
        "hooks",
        lambda _: {"Url": "http://x", "EventType": "PAYIN_NORMAL_SUCCEEDED"},
        {"Status": "ENABLED", "Validity": "VALID"},
        seen=("hooks/{Id}",),
        listed=("hooks",),
    ),
    Row(
        "identity_verifications",
        "users/{user}/identity-verifications",
        lambda _: {"ReturnUrl": "http://x"},
        {"Status": "PENDING", "Checks": []},
        seen=("identity-verifications/{Id}",),
        listed=("users/{user}/identity-verifications",),
    ),
    Row(
        "intents",
        "/V3.0/acme/payins/intents",
        lambda platform: platform.intent(),
        {"Status": "AUTHORIZED", "Captures": [], "NextActions": "CAPTURE,CANCEL"},
        seen=("/V3.0/acme/payins/intents/{Id}",),
    ),
    Row(
        "kyc_documents",
        "users/{user}/kyc/documents",
        lambda _: {"Type": "IDENTITY_PROOF"},
        {"Status": "CREATED", "Flags": []},
        seen=("users/{user}/kyc/documents/{Id}", "kyc/documents/{Id}"),
        listed=("users/{user}/kyc/documents", "kyc/documents"),
    ),
    Row(
        "mandates",
        "mandates/directdebit/web",
        lambda platform: {"BankAccountId": account(platform), "Culture": "EN", "ReturnURL": "http://x"},
        {"Status": "CREATED", "MandateType": "DIRECT_DEBIT"},
        seen=("mandates/{Id}",),
        listed=("mandates", "users/{user}/mandates", "users/{user}/bankaccounts/{BankAccountId}/mandates"),
    ),
    Row(
        "payins",
        "payins/card/direct",
        into_wallet,
        {"Status": "SUCCEEDED", "PaymentType": "CARD", "ExecutionType": "DIRECT", "ResultCode": "000000"},
        seen=("payins/{Id}",),
        listed=("wallets/{wallet}/transactions", "users/{user}/transactions"),
    ),
    Row(
        "payins",
        "payins/card/web",
        into_wallet,
        {"Status": "CREATED", "PaymentType": "CARD", "ExecutionType": "WEB"},
        seen=("payins/{Id}",),
        listed=("wallets/{wallet}/transactions", "users/{user}/transactions"),
    ),
    *(
        Row(
            "payment_methods",
            path,
            partial(by_method, kind.required),
            {"Status": "CREATED" if path in payment_methods.METHODS else "SUCCEEDED", "Type": "PAYIN"},
            seen=("payins/{Id}",),
            listed=("wallets/{wallet}/transactions", "users/{user}/transactions"),
        )
        for path, kind in sorted({**payment_methods.METHODS, **payment_methods.DIRECT}.items())
    ),
    Row(
        "payouts",
        "payouts/bankwire",
        lambda platform: {
            **amounts(platform),
            "DebitedWalletId": platform.funded,
            "BankAccountId": account(platform),
        },
        {"Status": "CREATED", "PaymentType": "BANK_WIRE"},
        seen=("payouts/{Id}", "payouts/bankwire/{Id}"),
        listed=("users/{user}/transactions", "bankaccounts/{BankAccountId}/transactions"),
    ),
    Row(
        "preauthorizations",
        "payins/preauthorized/direct",
        lambda platform: {
            **into_wallet(platform),
            "PreauthorizationId": platform.create("preauthorizations/card/direct", by_card(platform))["Id"],
        },
        {"Status": "SUCCEEDED", "PaymentType": "PREAUTHORIZED", "ExecutionType": "DIRECT"},
        seen=("payins/{Id}",),
        listed=("preauthorizations/{PreauthorizationId}/transactions", "wallets/{wallet}/transactions"),
    ),
    Row(
        "preauthorizations",
        "preauthorizations/card/direct",
        by_card,
        {"Status": "SUCCEEDED", "PaymentStatus": "WAITING", "RemainingFunds": EUR, "PayInId": None},
        seen=("preauthorizations/{Id}",),
        listed=("users/{user}/preauthorizations", "cards/{CardId}/preauthorizations"),
    ),
    Row(
        "recipients",
        "users/{user}/recipients",
        lambda _: RECIPIENT,
        {"Status": "PENDING", "RecipientScope": "PAYOUT"},
        seen=("recipients/{Id}",),
        listed=("users/{user}/recipients",),
    ),
    Row(
        "recurring_payins",
        "payins/payment-methods/paypal/recurring",
        lambda platform: {
            "RecurringPayinRegistrationId": recurring(platform, PaymentType="PAYPAL"),
            "ReturnURL": "http://x",
        },
        {"Status": "CREATED", "PaymentType": "PAYPAL", "ExecutionType": "WEB", "DebitedFunds": EUR},
        seen=("payins/{Id}",),
        listed=("wallets/{wallet}/transactions", "users/{user}/transactions"),
    ),
    Row(
        "recurring_payins",
        "payins/recurring/card/direct",
        lambda platform: {"RecurringPayinRegistrationId": recurring(platform, CardId=platform.new_card)},
        {"Status": "SUCCEEDED", "PaymentType": "CARD", "ExecutionType": "DIRECT", "DebitedFunds": EUR},
        seen=("payins/{Id}",),
        listed=("wallets/{wallet}/transactions", "cards/{CardId}/transactions"),
    ),
    Row(
        "recurring_payins",
        "recurringpayinregistrations",
        lambda platform: {**to_be_repeated(platform), "CardId": platform.new_card},
        {"Status": "CREATED", "PaymentType": "CARD_DIRECT", "FreeCycles": 0},
        seen=("recurringpayinregistrations/{Id}",),
    ),
    Row(
        "refunds",
        "payins/{paid_in}/refunds",
        lambda platform: {"AuthorId": platform.user},
        {"Status": "SUCCEEDED", "Nature": "REFUND", "InitialTransactionType": "PAYIN"},
        seen=("refunds/{Id}",),
        listed=("payins/{InitialTransactionId}/refunds", "users/{user}/transactions"),
    ),
    Row(
        "reports",
        "reporting/reports",
        lambda _: {"ReportType": "COLLECTED_FEES", "AfterDate": 1, "BeforeDate": 2, "Filters": {"Currency": "EUR"}},
        {"Status": "PENDING", "DownloadFormat": "CSV"},
        listed=("reporting/reports",),
    ),
    *(
        Row(
            "reports",
            f"reports/{subject}",
            lambda _: {"Columns": ["Id", "CreationDate"], "CallbackURL": "http://x", "Sort": "CreationDate:DESC"},
            {"Status": "PENDING", "ReportType": subject.upper()},
            listed=("reports",),
        )
        for subject in ("transactions", "wallets")
    ),
    Row(
        "sca_users",
        "sca/users/legal",
        lambda _: SCA_LEGAL | {"LegalRepresentative": dict.fromkeys(REPRESENTATIVE, "x")},
        {"UserStatus": "ACTIVE", "PersonType": "LEGAL", "PendingUserAction": None},
        seen=("sca/users/{Id}", "sca/users/legal/{Id}", "users/{Id}", "users/legal/{Id}"),
        listed=("users",),
    ),
    Row(
        "sca_users",
        "sca/users/natural",
        lambda _: SCA_NATURAL,
        {"UserStatus": "ACTIVE", "PersonType": "NATURAL", "PendingUserAction": None},
        seen=("sca/users/{Id}", "sca/users/natural/{Id}", "users/{Id}", "users/natural/{Id}"),
        listed=("users",),
    ),
    Row(
        "settlements",
        "/V3.0/acme/payins/intents/settlements",
        lambda _: {"FileName": "settlement.csv"},
        {"Status": "PENDING_UPLOAD"},
        seen=("/V3.0/acme/payins/intents/settlements/{Id}",),
        listed=("/V3.0/acme/payins/intents/settlements",),
    ),
    Row(
        "transfers",
        "transfers",
        lambda platform: {
            **amounts(platform),
            "DebitedWalletId": platform.funded,
            "CreditedWalletId": platform.other_wallet,
        },
        {"Status": "SUCCEEDED", "Type": "TRANSFER"},
        seen=("transfers/{Id}",),
        listed=("wallets/{wallet}/transactions", "wallets/{other_wallet}/transactions", "users/{user}/transactions"),
    ),
    Row(
        "ubo_declarations",
        "users/{other}/kyc/ubodeclarations",
        lambda _: {},
        {"Status": "CREATED", "Ubos": []},
        seen=("users/{other}/kyc/ubodeclarations/{Id}", "kyc/ubodeclarations/{Id}"),
        listed=("users/{other}/kyc/ubodeclarations",),
    ),
    Row(
        "ubo_declarations",
        "users/{other}/kyc/ubodeclarations/{declaration}/ubos",
        lambda _: UBO,
        {"IsActive": True},
    ),
    Row(
        "users",
        "users/legal",
        lambda _: LEGAL_USER,
        {"PersonType": "LEGAL", "UserStatus": "ACTIVE", "KYCLevel": "LIGHT"},
        seen=("users/{Id}", "users/legal/{Id}"),
        listed=("users",),
    ),
    Row(
        "users",
        "users/natural",
        lambda _: NATURAL_USER,
        {"PersonType": "NATURAL", "UserStatus": "ACTIVE", "KYCLevel": "LIGHT"},
        seen=("users/{Id}", "users/natural/{Id}"),
        listed=("users",),
    ),
    Row(
        "virtual_accounts",
        "wallets/{wallet}/bankingaliases/iban",
        lambda _: {"OwnerName": "V", "Country": "LU"},
        {"Type": "IBAN", "Active": True},
        seen=("bankingaliases/{Id}",),
        listed=("wallets/{wallet}/bankingaliases",),
    ),
    Row(
        "virtual_accounts",
        "wallets/{wallet}/virtual-accounts",
        lambda _: {"Country": "FR", "VirtualAccountPurpose": "Collection"},
        {"Status": "ACTIVE", "Active": True, "ResultCode": "000000"},
        seen=("wallets/{wallet}/virtual-accounts/{Id}",),
        listed=("wallets/{wallet}/virtual-accounts",),
    ),
    Row(
        "wallets",
        "wallets",
        lambda platform: {"Owners": [platform.user], "Description": "w", "Currency": "EUR"},
        {"Balance": {"Currency": "EUR", "Amount": 0}, "FundsType": "DEFAULT"},
        seen=("wallets/{Id}",),
        listed=("users/{user}/wallets",),
    ),
)


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def where(path: str, platform: Platform, resource: Mapping[str, Any] | None = None) -> str:
    """Return ``path`` with its names replaced: by fields, or else by attributes of the platform."""
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        value = resource[name] if resource is not None and name in resource else getattr(platform, name)
        path = path.replace(f"{{{name}}}", value)
    return path


def as_given(shown: Any, given: Any) -> Any:
    """Return what is shown of what was given: more parts may be shown."""
    if isinstance(given, dict) and isinstance(shown, dict):
        return {part: as_given(shown.get(part), value) for part, value in given.items()}
    if isinstance(given, list) and isinstance(shown, list) and len(given) == len(shown):
        return [as_given(*pair) for pair in zip(shown, given, strict=True)]
    return shown


def post(platform: Platform, row: Row, body: Mapping[str, Any]) -> EmulatedResponse:
    return platform.call("POST", where(row.path, platform), body)


each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)


@each_row
def test_it_is_made_as_it_was_asked_for(platform: Platform, row: Row) -> None:
    path, body = where(row.path, platform), row.body(platform)
    executions = platform.state.ledger.executions
    response = platform.call("POST", path, body)
    made = read(response)
    given = {name: value for name, value in body.items() if name.lower() in row.kind.settable}
    assert response.status == 200, made
    assert made["Id"].startswith(row.kind.prefix)
    assert made["CreationDate"] == platform.state.clock.wall()
    for name, value in {**row.shows, **given}.items():
        assert name == "ReturnURL" or as_given(made[name], value) == value, name
    assert platform.state.ledger.executions == executions + 1


@each_row
def test_it_is_seen_where_it_should_be(platform: Platform, row: Row) -> None:
    made = read(post(platform, row, row.body(platform)))
    for path in row.seen:
        assert read(platform.call("GET", where(path, platform, made))) == made, path
    for path in row.listed:
        assert made["Id"] in platform.list(where(path, platform, made) + "?per_page=100"), path
    for path in row.seen:
        unknown = platform.call("GET", where(path, platform, {**made, "Id": "nope"}))
        assert (unknown.status, read(unknown)["Type"]) == (404, "ressource_not_found"), path


@each_row
def test_it_needs_every_required_field(platform: Platform, row: Row) -> None:
    body = row.body(platform)
    for field in row.kind.required:
        response = post(platform, row, {**body, field: None})
        assert (response.status, field in read(response)["errors"]) == (400, True), field
    for broken in (b"{", b"[]", b"5"):
        assert platform.call("POST", where(row.path, platform), broken).status == 400


@each_row
def test_what_is_set_by_mangopay_cannot_be_given(platform: Platform, row: Row) -> None:
    """SDKs send whole objects back, with read-only fields and nulls: neither may get in the way."""
    body = row.body(platform)
    forged = {"Id": "mine", "CreationDate": 0, **dict.fromkeys(row.kind.read_only, "forged"), "Nonsense": 1}
    response = post(platform, row, {**dict.fromkeys(row.kind.settable.values()), **forged, **body})
    made = read(response)
    assert response.status == 200, made
    assert made["Id"] != "mine"
    assert "Nonsense" not in made
    assert [name for name, value in made.items() if value == "forged"] == []


@each_row
def test_field_names_are_taken_in_any_case(platform: Platform, row: Row) -> None:
    body = {name.lower(): value for name, value in row.body(platform).items()}
    assert post(platform, row, body).status == 200


@each_row
def test_a_key_without_the_permission_is_refused(platform: Platform, row: Row) -> None:
    path, body = where(row.path, platform), row.body(platform)
    scope = row.route.scope
    token = platform.token
    everything_else = frozenset(f"{name}:{access}" for name in SCOPES for access in ("READ", "WRITE"))
    for permissions, status in ((everything_else - {f"{scope}:WRITE"}, 403), (frozenset({f"{scope}:WRITE"}), 200)):
        platform.token = issue_token(platform.emulator, permissions=permissions)
        assert platform.call("POST", path, body).status == status
    platform.token = token


# --- the tables themselves -------------------------------------------------------------------------------------------


def kinds() -> list[Kind]:
    return list({id(route.kind): route.kind for route in catalogue().routes if route.kind is not None}.values())


def described(route: Route) -> str:
    return f"{route.method} {route.version} {route.pattern}"


def test_every_file_that_makes_something_has_a_row() -> None:
    making = {name for name, file in files().items() for route in file.routes if route.kind and route.method == "POST"}
    assert {row.file for row in ROWS} == making


def test_rows_stand_in_the_order_of_files() -> None:
    assert [(row.file, row.path) for row in ROWS] == sorted((row.file, row.path) for row in ROWS)


def test_every_path_is_there_once() -> None:
    shapes = [
        (route.method, route.version, route.client, tuple("{}" if "{" in part else part for part in parts))
        for route in catalogue().routes
        for parts in [route.pattern.split("/")]
    ]
    assert len(set(shapes)) == len(shapes)
    assert [route.pattern for route in catalogue().routes if route.pattern.startswith(("{", "/"))] == []


def test_every_path_has_a_scope_that_mangopay_knows() -> None:
    unknown = [
        described(route)
        for route in catalogue().routes
        if route.scope not in SCOPES and route.client and route.version != PAGES
    ]
    assert unknown == []


def test_every_parameter_that_names_another_resource_is_looked_up() -> None:
    collections = {kind.collection for kind in kinds()}
    assert set(catalogue().parents.values()) <= collections
    free = {
        part[1:-1]
        for route in catalogue().routes
        for part in route.pattern.split("/")
        if part.startswith("{") and part[1:-1] not in catalogue().parents
    }
    of_pages = {"File", "Mandate", "Page", "Registration", "Resource", "Settlement", "Ticket"}
    periods_and_currencies = {"Year", "Month", "FundsType", "Currency", "DebitedCurrency", "CreditedCurrency"}
    assert free - {"Id"} == {"Code", "Fingerprint", "Key", "Type", *periods_and_currencies, *of_pages}


def test_what_rows_refer_to_is_there() -> None:
    for route in catalogue().routes:
        assert route.kind is not None or "{Id}" not in route.pattern or route.version == PAGES, described(route)
        for value in route.fixed.values():
            assert not value.startswith("{") or value in route.pattern, described(route)
        if route.transition is not None:
            assert route.kind is not None
            assert route.kind.transition(route.transition) is not None, described(route)
        if route.settable is not None and route.kind is not None:
            assert route.settable <= {*route.kind.template, *route.kind.optional} - {"Id"}, described(route)


def test_what_kinds_refer_to_is_there() -> None:
    collections = {kind.collection for kind in kinds()}
    for kind in kinds():
        settable = set(kind.settable.values())
        assert set(kind.required) <= settable, kind.name
        assert set(kind.money) <= settable, kind.name
        assert set(kind.links.values()) <= collections, kind.name
        assert kind.sought <= kind.links.keys(), kind.name
        assert not kind.optional & kind.template.keys(), kind.name
        assert len({each.name for each in kind.transitions}) == len(kind.transitions), kind.name
        for each in kind.transitions:
            assert {each.field, *each.sets} <= kind.template.keys() | kind.optional, (kind.name, each.name)
            assert each.source, (kind.name, each.name)
            assert each.target not in each.source, (kind.name, each.name)
