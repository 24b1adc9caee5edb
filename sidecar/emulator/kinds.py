"""The types of resources: their fields, which of them a caller may set, and what must be given.

Field names and defaults are those of Mangopay's documentation and of the
official SDKs' models, which read some of them without asking whether they are there.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One type of resource.

    ``template`` has every field with its first value; ``read_only`` fields are set
    here alone. ``required`` must be given to create one, ``links`` must name existing
    resources (field to collection), ``money`` must be amounts with a currency.
    ``transaction``: also listed among the transactions of users and wallets.
    """

    name: str
    collection: str
    prefix: str
    template: Mapping[str, Any]
    read_only: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    links: Mapping[str, str] = MappingProxyType({})
    money: tuple[str, ...] = ()
    transaction: bool = False

    def settable(self, field: str) -> bool:
        """Tell whether a caller may set ``field``."""
        return field in self.template and field not in self.read_only and field not in _ALWAYS_READ_ONLY


_ALWAYS_READ_ONLY: Final = frozenset({"Id", "CreationDate"})

#: An address as the SDKs expect it: every line is there, if only as null.
BLANK_ADDRESS: Final = MappingProxyType(
    dict.fromkeys(("AddressLine1", "AddressLine2", "City", "Region", "PostalCode", "Country"))
)
ADDRESSES: Final = frozenset({"Address", "HeadquartersAddress", "LegalRepresentativeAddress", "OwnerAddress"})


def _fields(*names: str, **values: Any) -> Mapping[str, Any]:
    """Return a template: ``Id``, ``Tag`` and ``CreationDate``, ``names`` as null, and ``values``."""
    return MappingProxyType({"Id": None, "Tag": None, "CreationDate": 0, **dict.fromkeys(names), **values})


_USER_READ_ONLY: Final = frozenset(
    {"PersonType", "KYCLevel", "UserStatus", "TermsAndConditionsAcceptedDate", "ProofOfIdentity", "ProofOfAddress"}
)

NATURAL_USER: Final = Kind(
    name="NaturalUser",
    collection="User",
    prefix="user_m_",
    template=_fields(
        *("FirstName", "LastName", "Address", "Birthday", "Nationality", "CountryOfResidence", "Occupation"),
        *("IncomeRange", "ProofOfIdentity", "ProofOfAddress", "Email", "TermsAndConditionsAcceptedDate"),
        Capacity="NORMAL",
        PersonType="NATURAL",
        KYCLevel="LIGHT",
        TermsAndConditionsAccepted=False,
        UserCategory="OWNER",
        UserStatus="ACTIVE",
    ),
    read_only=_USER_READ_ONLY,
    required=("FirstName", "LastName", "Email"),
)

LEGAL_USER: Final = Kind(
    name="LegalUser",
    collection="User",
    prefix="user_m_",
    template=_fields(
        *("Name", "LegalPersonType", "HeadquartersAddress", "LegalRepresentativeFirstName"),
        *("LegalRepresentativeLastName", "LegalRepresentativeAddress", "LegalRepresentativeEmail"),
        *("LegalRepresentativeBirthday", "LegalRepresentativeNationality"),
        *("LegalRepresentativeCountryOfResidence", "LegalRepresentativeProofOfIdentity", "Statute"),
        *("ProofOfRegistration", "ShareholderDeclaration", "CompanyNumber", "Email"),
        "TermsAndConditionsAcceptedDate",
        PersonType="LEGAL",
        KYCLevel="LIGHT",
        TermsAndConditionsAccepted=False,
        UserCategory="OWNER",
        UserStatus="ACTIVE",
    ),
    read_only=_USER_READ_ONLY,
    required=("Name", "LegalPersonType", "LegalRepresentativeFirstName", "LegalRepresentativeLastName", "Email"),
)

WALLET: Final = Kind(
    name="Wallet",
    collection="Wallet",
    prefix="wlt_m_",
    template=_fields("Owners", "Description", "Currency", "Balance", FundsType="DEFAULT"),
    read_only=frozenset({"Balance", "FundsType"}),
    required=("Owners", "Description", "Currency"),
    links={"Owners": "User"},
)

_TRANSACTION: Final = {
    **dict.fromkeys(("AuthorId", "CreditedUserId", "DebitedFunds", "CreditedFunds", "Fees")),
    **dict.fromkeys(("DebitedWalletId", "CreditedWalletId", "ExecutionDate")),
    "Status": "CREATED",
    "ResultCode": None,
    "ResultMessage": None,
    "Nature": "REGULAR",
}
_TRANSACTION_READ_ONLY: Final = frozenset(
    {"CreditedFunds", "ExecutionDate", "Status", "ResultCode", "ResultMessage", "Type", "Nature"}
)

PAY_IN: Final = Kind(
    name="PayIn",
    collection="PayIn",
    prefix="payin_m_",
    template=_fields(
        *("CardType", "Culture", "ReturnURL", "RedirectURL", "TemplateURL", "TemplateURLOptions", "SecureMode"),
        *("SecureModeReturnURL", "SecureModeRedirectURL", "CardId", "StatementDescriptor", "Shipping"),
        **_TRANSACTION,
        Type="PAYIN",
        PaymentType="CARD",
        ExecutionType="WEB",
    ),
    read_only=_TRANSACTION_READ_ONLY | {"PaymentType", "ExecutionType", "RedirectURL", "SecureModeRedirectURL"},
    required=("AuthorId", "CreditedWalletId", "DebitedFunds", "Fees"),
    links={"AuthorId": "User", "CreditedWalletId": "Wallet", "CreditedUserId": "User", "CardId": "Card"},
    money=("DebitedFunds", "Fees"),
    transaction=True,
)

TRANSFER: Final = Kind(
    name="Transfer",
    collection="Transfer",
    prefix="transfer_m_",
    template=_fields(**_TRANSACTION, Type="TRANSFER"),
    read_only=_TRANSACTION_READ_ONLY,
    required=("AuthorId", "DebitedWalletId", "CreditedWalletId", "DebitedFunds", "Fees"),
    links={
        "AuthorId": "User",
        "CreditedUserId": "User",
        "DebitedWalletId": "Wallet",
        "CreditedWalletId": "Wallet",
    },
    money=("DebitedFunds", "Fees"),
    transaction=True,
)

PAY_OUT: Final = Kind(
    name="PayOut",
    collection="PayOut",
    prefix="payout_m_",
    template=_fields(
        *("BankAccountId", "BankWireRef", "PaymentRef", "ModeApplied", "FallbackReason", "RecipientId"),
        **_TRANSACTION,
        Type="PAYOUT",
        PaymentType="BANK_WIRE",
        ExecutionType="DIRECT",
        PayoutModeRequested="STANDARD",
        ModeRequested="STANDARD",
    ),
    read_only=_TRANSACTION_READ_ONLY | {"PaymentType", "ExecutionType", "ModeApplied", "FallbackReason"},
    required=("AuthorId", "DebitedWalletId", "DebitedFunds", "Fees", "BankAccountId"),
    links={"AuthorId": "User", "DebitedWalletId": "Wallet", "BankAccountId": "BankAccount"},
    money=("DebitedFunds", "Fees"),
    transaction=True,
)

REFUND: Final = Kind(
    name="Refund",
    collection="Refund",
    prefix="refund_m_",
    template=_fields(
        *("InitialTransactionId", "InitialTransactionType", "RefundReason", "Reference", "StatementDescriptor"),
        **{**_TRANSACTION, "Nature": "REFUND"},
        Type="PAYOUT",
    ),
    read_only=_TRANSACTION_READ_ONLY | {"InitialTransactionId", "InitialTransactionType", "RefundReason"},
    required=("AuthorId",),
    links={"AuthorId": "User"},
    money=("DebitedFunds", "Fees"),
    transaction=True,
)

CARD_REGISTRATION: Final = Kind(
    name="CardRegistration",
    collection="CardRegistration",
    prefix="cardreg_m_",
    template=_fields(
        *("UserId", "Currency", "AccessKey", "PreregistrationData", "RegistrationData", "CardId"),
        *("CardRegistrationURL", "ResultCode", "ResultMessage", "CardHolderName"),
        CardType="CB_VISA_MASTERCARD",
        Status="CREATED",
    ),
    read_only=frozenset(
        {"AccessKey", "PreregistrationData", "CardRegistrationURL", "CardId", "ResultCode", "ResultMessage", "Status"}
    ),
    required=("UserId", "Currency"),
    links={"UserId": "User"},
)

CARD: Final = Kind(
    name="Card",
    collection="Card",
    prefix="card_m_",
    template=_fields(
        *("UserId", "Currency", "CardHolderName"),
        ExpirationDate="1229",
        Alias="497010XXXXXX4422",
        CardProvider="VISA",
        CardType="CB_VISA_MASTERCARD",
        Country="FR",
        Product="I",
        BankCode="00152",
        Active=True,
        Validity="UNKNOWN",
        Fingerprint="50a6a8da09654c4cab901814a741f924",
    ),
)

BANK_ACCOUNT: Final = Kind(
    name="BankAccount",
    collection="BankAccount",
    prefix="bankacc_m_",
    template=_fields(
        *("UserId", "Type", "OwnerName", "OwnerAddress", "IBAN", "BIC", "AccountNumber", "SortCode", "ABA"),
        *("DepositAccountType", "BankName", "InstitutionNumber", "BranchCode", "Country"),
        Active=True,
    ),
    read_only=frozenset({"UserId", "Type"}),
    required=("OwnerName", "OwnerAddress"),
)

MANDATE: Final = Kind(
    name="Mandate",
    collection="Mandate",
    prefix="mandate_m_",
    template=_fields(
        *("UserId", "BankAccountId", "RecipientId", "ReturnURL", "RedirectURL", "DocumentURL", "Culture"),
        *("ResultCode", "ResultMessage", "BankReference"),
        Scheme="SEPA",
        Status="CREATED",
        ExecutionType="WEB",
        MandateType="DIRECT_DEBIT",
    ),
    read_only=frozenset(
        {"UserId", "RedirectURL", "DocumentURL", "Status", "ResultCode", "ResultMessage", "BankReference", "Scheme"}
        | {"ExecutionType", "MandateType"}
    ),
    required=("BankAccountId", "Culture", "ReturnURL"),
    links={"BankAccountId": "BankAccount"},
)

KYC_DOCUMENT: Final = Kind(
    name="KYCDocument",
    collection="KYCDocument",
    prefix="kyc_doc_m_",
    template=_fields(
        *("UserId", "Type", "RefusedReasonType", "RefusedReasonMessage", "ProcessedDate"), Status="CREATED", Flags=()
    ),
    read_only=frozenset({"UserId", "Flags", "ProcessedDate", "RefusedReasonType", "RefusedReasonMessage"}),
    required=("Type",),
)

HOOK: Final = Kind(
    name="Hook",
    collection="Hook",
    prefix="hook_m_",
    template=_fields("Url", "EventType", Status="ENABLED", Validity="VALID"),
    read_only=frozenset({"Validity"}),
    required=("Url", "EventType"),
)

SETTLEMENT: Final = Kind(
    name="Settlement",
    collection="Settlement",
    prefix="settlement_m_",
    template=_fields(
        *("SettlementId", "SettlementDate", "ExternalProviderName", "FileName", "UploadUrl"),
        Status="UPLOADED",
        DeclaredIntentAmount=0,
        ExternalProcessorFeesAmount=0,
        ActualSettlementAmount=0,
        FundsMissingAmount=0,
    ),
)
