"""Intents (V3.0): what the platform's other payment provider was paid, and how it is split among sellers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine import acts, transitions
from sidecar.emulator.engine.bodies import given_fields, is_amount
from sidecar.emulator.engine.calls import RefusalError
from sidecar.emulator.engine.kinds import Kind, Transition, fields, is_text
from sidecar.emulator.engine.routes import V3, Emulated, creates, does, views
from sidecar.emulator.messages import EmulatedResponse, json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

_OF_LINE_ITEMS: Final = ("CanceledAmount", "CapturedAmount", "RefundedAmount", "DisputedAmount", "SplitAmount")


def _check_amount(value: Any) -> str | None:
    return None if is_amount(value) else "The value must be an amount in minor units, of at least 0."


def _check_line_items(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return "The LineItems must be a list of objects."
    if not all(is_amount(item.get("UnitAmount")) and is_amount(item.get("Quantity")) for item in value):
        return "Each of the LineItems has a UnitAmount and a Quantity."
    if all(item.get("Seller") is None or _is_seller(item["Seller"]) for item in value):
        return None
    return "The Seller of a line item is an object with an AuthorId and a WalletId."


def _is_seller(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("WalletId"), str | None)


def _check_captured(value: Any) -> str | None:
    if isinstance(value, list) and all(_is_captured(item) for item in value):
        return None
    return "The LineItems must be a list of objects, each with the Id of a line item and an Amount."


def _is_captured(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("Id"), str) and is_amount(item.get("Amount"))


INTENT: Final = Kind(
    name="Intent",
    collection="Intent",
    prefix="int_",
    template=fields(
        *("Amount", "Currency", "Buyer", "ExternalData", "SettlementId", "ExecutionDate"),
        PlatformFeesAmount=0,
        AvailableAmountToSplit=0,
        Status="AUTHORIZED",
        NextActions="CAPTURE,CANCEL",
        LineItems=(),
        Captures=(),
        Refunds=(),
        Disputes=(),
        Splits=(),
    ),
    read_only=frozenset(
        {"Status", "NextActions", "AvailableAmountToSplit", "SettlementId", "ExecutionDate"}
        | {"Captures", "Refunds", "Disputes", "Splits"}
    ),
    required=("Amount", "Currency", "ExternalData", "LineItems"),
    checks={"Amount": _check_amount, "LineItems": _check_line_items},
    transitions=(
        Transition(
            name="cancel",
            source=frozenset({"AUTHORIZED"}),
            target="CANCELLED",
            sets={"NextActions": ""},
            event="INTENT_CANCELLED",
            refusal=("param_error", "Only an authorized intent can be cancelled"),
        ),
    ),
)


def _pay_seller(client: ClientState, resource: Resource, at: int) -> None:
    del at
    wallet = client.find("Wallet", resource["WalletId"] or "")
    if wallet is not None:
        wallet["Balance"]["Amount"] += resource["SplitAmount"] - resource["FeesAmount"]


#: Statuses in which a split's money is there and has not gone to the seller.
_AVAILABLE: Final = frozenset({"AVAILABLE", "REJECTED"})

SPLIT: Final = Kind(
    name="Split",
    collection="Split",
    prefix="split_",
    template=fields(
        *("IntentId", "LineItemId", "SellerId", "WalletId", "SplitAmount", "TransferDate", "Description"),
        FeesAmount=0,
        Status="CREATED",
    ),
    read_only=frozenset({"IntentId", "SellerId", "WalletId", "Status"}),
    required=("LineItemId", "SplitAmount"),
    checks={"LineItemId": is_text, "SplitAmount": _check_amount, "FeesAmount": _check_amount},
    transitions=(
        Transition(name="release", source=frozenset({"CREATED"}), target="AVAILABLE", event="INTENT_SPLIT_AVAILABLE"),
        Transition(
            name="execute",
            source=_AVAILABLE,
            target="COMPLETED",
            change=_pay_seller,
            event="INTENT_SPLIT_COMPLETED",
            refusal=("Split", "Execute split requires a status in [AVAILABLE, REJECTED]"),
        ),
        Transition(
            name="reverse",
            source=_AVAILABLE,
            target="REVERSED",
            event="INTENT_SPLIT_REVERSED",
            refusal=("Status", "Reverse split requires a status in [AVAILABLE, REJECTED]"),
        ),
    ),
)


def authorize(call: Call, resource: Resource) -> None:
    """Give each line item an Id and its totals."""
    items = []
    for number, item in enumerate(resource["LineItems"], start=1):
        total = item["UnitAmount"] * item["Quantity"]
        identifier = f"{resource['Id']}_{number}"
        items.append(
            {
                **item,
                "Id": identifier,
                "Amount": total,
                "TotalLineItemAmount": total,
                **dict.fromkeys(_OF_LINE_ITEMS, 0),
            }
        )
    resource["LineItems"] = items
    resource["ExecutionDate"] = call.at


def capture(call: Call) -> EmulatedResponse:
    """Capture an intent, or the part of it that the body names."""
    intent, body = _intent(call), call.body()
    left = intent["Amount"] - sum(each["Amount"] for each in intent["Captures"])
    amount = body.get("Amount") if body.get("Amount") is not None else left
    if intent["Status"] not in {"AUTHORIZED", "CAPTURED"} or not is_amount(amount) or not 0 < amount <= left:
        raise call.incorrect("Amount", "The intent has not so much left to capture.")
    parts = [] if body.get("LineItems") is None else body["LineItems"]
    if (problem := _check_captured(parts)) is not None:
        raise call.incorrect("LineItems", problem)
    given = {item["Id"]: item["Amount"] for item in parts}
    for item in intent["LineItems"]:
        item["CapturedAmount"] += given.get(item["Id"], 0) if given else item["Amount"] - item["CapturedAmount"]
    taken = {
        "Id": call.client.new_id("capture_"),
        "CreationDate": call.at,
        "ExecutionDate": call.at,
        "Amount": amount,
        "Status": "CAPTURED",
        "LineItems": [dict(item) for item in intent["LineItems"]],
    }
    intent.update(Status="CAPTURED", NextActions="SPLIT,REFUND", Captures=[*intent["Captures"], taken])
    intent["AvailableAmountToSplit"] += amount
    call.client.tell("INTENT_CAPTURED", intent["Id"], call.at)
    return json_response(200, intent)


def cancel(call: Call) -> EmulatedResponse:
    """Cancel an intent of which nothing was captured."""
    intent = _intent(call)
    call.body()
    try:
        transitions.move(call.client, intent, "cancel", call.at)
    except transitions.NotAllowedError as refused:
        raise call.incorrect("Status", refused.transition.refusal[1]) from None
    for item in intent["LineItems"]:
        item["CanceledAmount"] = item["Amount"]
    return json_response(200, intent)


def split(call: Call) -> EmulatedResponse:
    """Split what was captured among the sellers of the line items; all of the splits, or none."""
    intent, wanted = _intent(call), call.body().get("Splits")
    if not isinstance(wanted, list) or not wanted:
        raise call.incorrect("Splits", "The Splits field is required.")
    items = {item["Id"]: item for item in intent["LineItems"]}
    given = [given_fields(SPLIT, each) if isinstance(each, dict) else {} for each in wanted]
    for each in given:
        if acts.checked(call, SPLIT, each, creating=True)["LineItemId"] not in items:
            raise call.incorrect("Splits", "Each split has the LineItemId of one of the intent, and a SplitAmount.")
    if sum(each["SplitAmount"] for each in given) > intent["AvailableAmountToSplit"]:
        raise call.incorrect("SplitAmount", "The intent has not so much left to split.")
    made = [_add_split(call, intent, items[each["LineItemId"]], each) for each in given]
    intent["Splits"] = [*intent["Splits"], *made]
    return json_response(200, {"Splits": made})


def _add_split(call: Call, intent: Resource, item: dict[str, Any], given: dict[str, Any]) -> Resource:
    resource = acts.build(SPLIT, call.client, call.at)
    resource.update(given)
    seller = item.get("Seller") or {}
    resource.update(IntentId=intent["Id"], SellerId=seller.get("AuthorId"), WalletId=seller.get("WalletId"))
    acts.keep(call.client, resource)
    intent["AvailableAmountToSplit"] -= resource["SplitAmount"]
    item["SplitAmount"] += resource["SplitAmount"]
    return resource


def move_split(call: Call) -> EmulatedResponse:
    """Send a split's money to the seller, or take the split back."""
    resource = acts.find(call)
    try:
        transitions.move(call.client, resource, call.route.pattern.rpartition("/")[2], call.at)
    except transitions.NotAllowedError as refused:
        field, message = refused.transition.refusal
        raise RefusalError(call.reports.incorrect({field: message}, v3=True)) from None
    return json_response(200, resource)


def update_split(call: Call) -> EmulatedResponse:
    """Change what the body names of a split whose money has not moved."""
    resource = acts.find(call)
    changes = acts.given(call, creating=False)
    if resource["Status"] != "CREATED" and "SplitAmount" in changes:
        raise call.incorrect("SplitAmount", "The SplitAmount of a released split cannot be changed.")
    resource.update({name: value for name, value in changes.items() if name != "LineItemId"})
    return json_response(200, resource)


def _intent(call: Call) -> Resource:
    return call.found("Intent", call.parameters["IntentId"])


_PATH: Final = "payins/intents"
_SPLIT_PATH: Final = f"{_PATH}/{{IntentId}}/splits/{{Id}}"

EMULATED: Final = Emulated(
    scope="Payins",
    parents={"IntentId": "Intent"},
    routes=(
        creates(_PATH, INTENT, authorize, "INTENT_AUTHORIZED", version=V3),
        views(f"{_PATH}/{{Id}}", INTENT, version=V3),
        does("POST", f"{_PATH}/{{IntentId}}/captures", capture, version=V3),
        does("POST", f"{_PATH}/{{IntentId}}/cancel", cancel, version=V3),
        does("POST", f"{_PATH}/{{IntentId}}/splits", split, version=V3),
        views(_SPLIT_PATH, SPLIT, version=V3),
        does("PUT", _SPLIT_PATH, update_split, kind=SPLIT, version=V3),
        does("POST", f"{_SPLIT_PATH}/execute", move_split, kind=SPLIT, version=V3),
        does("POST", f"{_SPLIT_PATH}/reverse", move_split, kind=SPLIT, version=V3),
    ),
)
