"""What the app on the Python SDK does with cards, mandates and the rest: as ``driver.py``, which runs it."""

from __future__ import annotations

from typing import Any

from mangopay.utils import BrowserInfo, BusinessRecipient, PayInIntentExternalData

# The models too: they are to be imported once the SDK has its settings.
from tests.e2e.sdk.python.driver import ADDRESS, changed, euros, mp, saved, thing_to_do  # type: ignore[attr-defined]

RETURN = "https://shop.example.org/back"
BROWSER = BrowserInfo(
    accept_header="text/html",
    color_depth=24,
    java_enabled=False,
    javascript_enabled=True,
    language="EN",
    screen_height=800,
    screen_width=600,
    timezone_offset="0",
    user_agent="a browser",
)


@thing_to_do
def register_card(user: str) -> Any:
    return saved(mp.CardRegistration(user_id=user, currency="EUR", card_type="CB_VISA_MASTERCARD"))


@thing_to_do
def finish_card(registration: str, data: str) -> Any:
    return changed(mp.CardRegistration, registration, registration_data=data)


@thing_to_do
def read_card(card: str) -> Any:
    return mp.Card.get(card)


@thing_to_do
def charge_card(user: str, wallet: str, card: str, amount: int, secure_mode: str) -> Any:
    model = mp.DirectPayIn(
        author_id=user,
        credited_wallet_id=wallet,
        card_id=card,
        debited_funds=euros(amount),
        fees=euros(0),
        secure_mode=secure_mode,
        secure_mode_return_url=RETURN,
    )
    return saved(model)


@thing_to_do
def preauthorize_card(user: str, card: str, amount: int) -> Any:
    model = mp.PreAuthorization(
        author_id=user, card_id=card, debited_funds=euros(amount), secure_mode="FORCE", secure_mode_return_url=RETURN
    )
    return saved(model)


@thing_to_do
def read_preauthorization(preauthorization: str) -> Any:
    return mp.PreAuthorization.get(preauthorization)


@thing_to_do
def capture(user: str, wallet: str, preauthorization: str, amount: int) -> Any:
    model = mp.PreAuthorizedPayIn(
        author_id=user,
        credited_wallet_id=wallet,
        preauthorization_id=preauthorization,
        debited_funds=euros(amount),
        fees=euros(0),
    )
    return saved(model)


@thing_to_do
def create_mandate(bank_account: str) -> Any:
    return saved(mp.Mandate(bank_account_id=bank_account, culture="EN", return_url=RETURN))


@thing_to_do
def read_mandate(mandate: str) -> Any:
    return mp.Mandate.get(mandate)


@thing_to_do
def debit_directly(user: str, wallet: str, mandate: str, amount: int) -> Any:
    model = mp.DirectDebitDirectPayIn(
        author_id=user,
        credited_user_id=user,
        credited_wallet_id=wallet,
        mandate_id=mandate,
        debited_funds=euros(amount),
        fees=euros(0),
    )
    return saved(model)


@thing_to_do
def pay_in_by_wire(user: str, wallet: str, amount: int) -> Any:
    model = mp.BankWirePayIn(
        author_id=user, credited_wallet_id=wallet, declared_debited_funds=euros(amount), declared_fees=euros(0)
    )
    return saved(model)


@thing_to_do
def declare_owners(user: str) -> Any:
    return mp.UboDeclaration(**mp.UboDeclaration().create(user_id=user))


@thing_to_do
def read_dispute(dispute: str) -> Any:
    return mp.Dispute.get(dispute)


@thing_to_do
def create_report() -> Any:
    return saved(mp.Report(report_type="transactions"))


@thing_to_do
def read_report(report: str) -> Any:
    return mp.Report.get(report)


@thing_to_do
def read_rate(debited: str, credited: str) -> Any:
    return mp.ConversionRate(debited_currency=debited, credited_currency=credited).get_conversion_rate().data[0]


@thing_to_do
def read_client_wallet(funds: str, currency: str) -> Any:
    return mp.ClientWallet.get(funds, currency)


@thing_to_do
def reserve_deposit(user: str, card: str, amount: int) -> Any:
    model = mp.Deposit(
        author_id=user,
        card_id=card,
        debited_funds=euros(amount),
        secure_mode_return_url=RETURN,
        ip_address="2001:db8::1",
    )
    return saved(model)


@thing_to_do
def verify_identity(user: str) -> Any:
    return mp.IdentityVerification(**mp.IdentityVerification(return_url=RETURN).create(user))


@thing_to_do
def open_virtual_account(wallet: str) -> Any:
    return saved(mp.VirtualAccount(wallet_id=wallet, virtual_account_purpose="COLLECTION", country="FR"))


@thing_to_do
def pay_in_by_ideal(user: str, wallet: str, amount: int) -> Any:
    model = mp.IdealPayIn(
        author_id=user, credited_wallet_id=wallet, debited_funds=euros(amount), fees=euros(0), return_url=RETURN
    )
    return saved(model)


@thing_to_do
def create_owner(email: str) -> Any:
    model = mp.NaturalUserSca(
        first_name="Zoë",
        last_name="Müller",
        email=email,
        address=ADDRESS,
        birthday=300681000,
        nationality="FR",
        country_of_residence="FR",
        terms_and_conditions_accepted=True,
        user_category="OWNER",
    )
    return saved(model)


@thing_to_do
def read_owner(user: str) -> Any:
    return mp.NaturalUserSca.get(user)


@thing_to_do
def validate_card(user: str, card: str) -> Any:
    model = mp.CardValidation(
        author_id=user,
        secure_mode="FORCE",
        secure_mode_return_url=RETURN,
        ip_address="2001:db8::1",
        browser_info=BROWSER,
    )
    return mp.CardValidation(**model.validate(card))


@thing_to_do
def register_recurring(user: str, wallet: str, card: str, amount: int) -> Any:
    model = mp.RecurringPayInRegistration(
        author_id=user,
        card_id=card,
        user_id=user,
        credited_wallet_id=wallet,
        first_transaction_debited_funds=euros(amount),
        first_transaction_fees=euros(0),
    )
    return saved(model)


@thing_to_do
def charge_recurring(registration: str, amount: int) -> Any:
    model = mp.RecurringPayInCIT(
        recurring_payin_registration_id=registration,
        secure_mode_return_url=RETURN,
        ip_address="2001:db8::1",
        browser_info=BROWSER,
        debited_funds=euros(amount),
        fees=euros(0),
    )
    return saved(model)


@thing_to_do
def add_recipient(user: str) -> Any:
    model = mp.Recipient(
        display_name="My account",
        payout_method_type="InternationalBankTransfer",
        recipient_type="Business",
        currency="EUR",
        country="FR",
        business_recipient=BusinessRecipient(business_name="Fleurs", address=ADDRESS),
        international_bank_transfer={"AccountNumber": "FR7630004000031234567890143", "BIC": "BNPAFRPP"},
    )
    return mp.Recipient(**model.create(user))


@thing_to_do
def read_recipient(recipient: str) -> Any:
    return mp.Recipient.get(recipient)


@thing_to_do
def authorize_intent(user: str, wallet: str, amount: int) -> Any:
    item = {"Seller": {"AuthorId": user, "WalletId": wallet}, "Sku": "1", "Quantity": 1, "UnitAmount": amount}
    model = mp.PayInIntent(amount=amount, currency="EUR", line_items=[item])
    model.external_data = PayInIntentExternalData(
        external_processing_date="01-10-2029", external_provider_reference="ref", external_provider_name="Stripe"
    )
    return mp.PayInIntent(**model.create_authorization())


@thing_to_do
def read_intent(intent: str) -> Any:
    return mp.PayInIntent.get(intent)


@thing_to_do
def read_platform() -> Any:
    return mp.Client.get()


@thing_to_do
def read_country(country: str) -> Any:
    return mp.CountryAuthorization.get_country_authorizations(country)


@thing_to_do
def list_banks() -> Any:
    return mp.PayByBankSupportedBank.get()


@thing_to_do
def tell_paypal(details: dict[str, Any]) -> Any:
    return mp.PayPalDataCollection.create(**details)


@thing_to_do
def read_block_status(user: str) -> Any:
    return mp.User(id=user).get_block_status()
