"""What a platform tells PayPal of its users before a payment: whatever PayPal has asked it for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, does
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse

DATA_COLLECTION: Final = Kind(
    name="PayPalDataCollection", collection="PayPalDataCollection", prefix="data_collection_", template=fields()
)
_PATH: Final = "payins/payment-methods/paypal/data-collection"


def collect(call: Call) -> EmulatedResponse:
    """Keep everything that the body has: the names are PayPal's, and differ by platform."""
    body = {name: value for name, value in call.body().items() if name != "Id"}
    collection = acts.build(DATA_COLLECTION, call.client, call.at)
    collection.update(body)
    acts.keep(call.client, collection)
    return json_response(200, {"dataCollectionId": collection["Id"]})


def view(call: Call) -> EmulatedResponse:
    """Show what was collected; the SDKs read the identifier in either case."""
    collection = call.found("PayPalDataCollection", call.parameters["DataCollectionId"])
    identifier = collection["Id"]
    told = {name: value for name, value in collection.items() if name not in DATA_COLLECTION.template}
    return json_response(200, {"dataCollectionId": identifier, "DataCollectionId": identifier, **told})


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"DataCollectionId": "PayPalDataCollection"},
    routes=(does("POST", _PATH, collect), does("GET", f"{_PATH}/{{DataCollectionId}}", view, kind=DATA_COLLECTION)),
)
