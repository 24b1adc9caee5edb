"""What creating or changing a resource brings about: derived fields, balances, further resources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sidecar.emulator.kinds import BLANK_ADDRESS, CARD, Kind
from sidecar.emulator.state import ClientState, Resource

#: Completes a resource in place; the last argument is the time in Unix seconds.
Effect = Callable[[ClientState, Resource, int], None]

#: What the result of a transaction that went through reads.
_SUCCESS: Final = ("000000", "Success")
_PAYMENT_PAGE: Final = "https://homologation-secure-p.payline.com/webpayment/?reqCode=prepareStep2&token="


def build(kind: Kind, client: ClientState, at: int) -> Resource:
    """Return a new resource of ``kind``, not yet listed anywhere."""
    resource = dict(kind.template)
    resource["Id"] = client.new_id(kind.prefix)
    resource["CreationDate"] = at
    return resource


def complete_user(client: ClientState, resource: Resource, at: int) -> None:
    """Make the acceptance of terms a boolean with a date, and addresses whole."""
    del client
    accepted = bool(resource["TermsAndConditionsAccepted"])
    resource["TermsAndConditionsAccepted"] = accepted
    if accepted and resource["TermsAndConditionsAcceptedDate"] is None:
        resource["TermsAndConditionsAcceptedDate"] = at
    for field in ("Address", "HeadquartersAddress", "LegalRepresentativeAddress"):
        if field in resource and resource[field] is None:
            resource[field] = dict(BLANK_ADDRESS)


def complete_wallet(client: ClientState, resource: Resource, at: int) -> None:
    """Start with an empty balance."""
    del client, at
    if resource["Balance"] is None:
        resource["Balance"] = {"Currency": resource["Currency"], "Amount": 0}


def complete_web_pay_in(client: ClientState, resource: Resource, at: int) -> None:
    """Wait for the payer, who never comes: the pay-in stays CREATED."""
    del at
    _derive_amounts(client, resource)
    resource["RedirectURL"] = _PAYMENT_PAGE + resource["Id"]


def complete_direct_pay_in(client: ClientState, resource: Resource, at: int) -> None:
    """Succeed at once, and fill the wallet."""
    _derive_amounts(client, resource)
    _succeed(client, resource, at)


def complete_transfer(client: ClientState, resource: Resource, at: int) -> None:
    """Succeed at once, whatever the balance: the emulator refuses nobody for lack of funds."""
    _derive_amounts(client, resource)
    _succeed(client, resource, at)


def complete_pay_out(client: ClientState, resource: Resource, at: int) -> None:
    """Take the money from the wallet; the bank has not moved yet, so the payout stays CREATED."""
    del at
    _derive_amounts(client, resource)
    _move(client, resource["DebitedWalletId"], resource["DebitedFunds"], -1)


def complete_refund(client: ClientState, resource: Resource, at: int) -> None:
    """Send back what the first transaction moved, or as much of it as was asked for."""
    first = client.find(_COLLECTION_OF[resource["InitialTransactionType"]], resource["InitialTransactionId"])
    if first is None:  # the route has checked it
        return
    for field in ("DebitedFunds", "Fees"):
        resource[field] = resource[field] or first[field]
    resource["Type"] = "PAYOUT" if first["Type"] == "PAYIN" else "TRANSFER"
    resource["DebitedWalletId"], resource["CreditedWalletId"] = first["CreditedWalletId"], first["DebitedWalletId"]
    resource["RefundReason"] = {"RefundReasonType": "INITIALIZED_BY_CLIENT", "RefundReasonMessage": None}
    _derive_amounts(client, resource)
    _succeed(client, resource, at)


_COLLECTION_OF: Final = {"PAYIN": "PayIn", "TRANSFER": "Transfer"}


def complete_card_registration(client: ClientState, resource: Resource, at: int) -> None:
    """Give out what a browser would take to the card tokenization server."""
    del client, at
    resource["AccessKey"] = "1X0m87dmM2LiwFgxPLBJ"
    resource["PreregistrationData"] = f"preregistration-{resource['Id']}"
    resource["CardRegistrationURL"] = "https://homologation-webpayment.payline.com/webpayment/getToken"


def validate_card_registration(client: ClientState, resource: Resource, at: int) -> None:
    """Make a card of ``RegistrationData`` that starts with ``data=``; anything else is an error."""
    data = resource["RegistrationData"]
    if not isinstance(data, str) or resource["CardId"] is not None:
        return
    if not data.startswith("data="):
        resource.update(Status="ERROR", ResultCode="105299", ResultMessage="Token processing error")
        return
    card = build(CARD, client, at)
    for field in ("UserId", "Currency", "CardType", "CardHolderName"):
        card[field] = resource[field]
    client.collection(CARD.collection).add(card)
    code, message = _SUCCESS
    resource.update(Status="VALIDATED", CardId=card["Id"], ResultCode=code, ResultMessage=message)


def complete_bank_account(client: ClientState, resource: Resource, at: int) -> None:
    """Write the type as Mangopay does; the SDKs put it into the path in any case."""
    del client, at
    resource["Type"] = str(resource["Type"]).upper()


def complete_mandate(client: ClientState, resource: Resource, at: int) -> None:
    """Belong to the bank account's owner, and wait for a signature."""
    del at
    account = client.find("BankAccount", resource["BankAccountId"])
    resource["UserId"] = None if account is None else account["UserId"]
    resource["RedirectURL"] = f"https://api.sandbox.mangopay.com/sandbox/mandate/confirm/{resource['Id']}"
    resource["DocumentURL"] = f"https://mangopay-sandbox.s3.amazonaws.com/mandate_preview/{resource['Id']}.pdf"


def cancel_mandate(client: ClientState, resource: Resource, at: int) -> None:
    """End the mandate."""
    del client, at
    code, _ = _SUCCESS
    resource.update(Status="FAILED", ResultCode=code, ResultMessage="Cancelled by the platform")


def complete_kyc_document(client: ClientState, resource: Resource, at: int) -> None:
    """Start as CREATED, whatever the caller said."""
    del client, at
    resource["Status"] = "CREATED"


def complete_settlement(client: ClientState, resource: Resource, at: int) -> None:
    """Repeat the Id under the name that settlements have for it."""
    del client
    resource["SettlementId"] = resource["Id"]
    resource["SettlementDate"] = at
    resource["UploadUrl"] = f"https://s3.eu-west-1.amazonaws.com/settlements/{resource['Id']}.csv"


def _derive_amounts(client: ClientState, resource: Resource) -> None:
    """Set what the credited side gets, and whose wallet that is."""
    debited, fees = resource["DebitedFunds"], resource["Fees"]
    resource["CreditedFunds"] = {"Currency": debited["Currency"], "Amount": debited["Amount"] - fees["Amount"]}
    if resource["CreditedUserId"] is None and (wallet := client.find("Wallet", resource["CreditedWalletId"] or "")):
        resource["CreditedUserId"] = wallet["Owners"][0]


def _succeed(client: ClientState, resource: Resource, at: int) -> None:
    code, message = _SUCCESS
    resource.update(Status="SUCCEEDED", ResultCode=code, ResultMessage=message, ExecutionDate=at)
    _move(client, resource["DebitedWalletId"], resource["DebitedFunds"], -1)
    _move(client, resource["CreditedWalletId"], resource["CreditedFunds"], +1)


def _move(client: ClientState, wallet_id: str | None, funds: dict[str, Any], sign: int) -> None:
    wallet = None if wallet_id is None else client.find("Wallet", wallet_id)
    if wallet is not None:
        wallet["Balance"]["Amount"] += sign * funds["Amount"]
