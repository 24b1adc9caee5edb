"""Intents of V3.0 and settlements: what is captured, split, and paid to sellers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import Platform, read

if TYPE_CHECKING:
    from sidecar.emulator.messages import EmulatedResponse

PATH = "/V3.0/acme/payins/intents"


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def split(platform: Platform, intent: dict[str, Any], amount: object) -> EmulatedResponse:
    splits = [{"LineItemId": intent["LineItems"][0]["Id"], "SplitAmount": amount}]
    return platform.call("POST", f"{PATH}/{intent['Id']}/splits", {"Splits": splits})


def test_an_intent_is_captured_in_parts(platform: Platform) -> None:
    intent = platform.create(PATH, platform.intent())
    (item,) = intent["LineItems"]
    assert (item["Amount"], item["CapturedAmount"]) == (1000, 0)
    part = {"Amount": 400, "LineItems": [{"Id": item["Id"], "Amount": 400}]}
    captured = platform.create(f"{PATH}/{intent['Id']}/captures", part)
    assert (captured["Status"], captured["AvailableAmountToSplit"]) == ("CAPTURED", 400)
    rest = platform.create(f"{PATH}/{intent['Id']}/captures", {})
    assert [each["Amount"] for each in rest["Captures"]] == [400, 600]
    assert rest["LineItems"][0]["CapturedAmount"] == 1000
    for amount in (1, None, -1, "1"):
        assert platform.call("POST", f"{PATH}/{intent['Id']}/captures", {"Amount": amount}).status == 400


@pytest.mark.parametrize("items", ["x", {}, ["x"], [{}], [{"Id": ["x"], "Amount": 1}], [{"Id": "x", "Amount": "1"}]])
def test_a_capture_of_line_items_that_are_none_is_refused(platform: Platform, items: object) -> None:
    intent = platform.create(PATH, platform.intent())
    response = platform.call("POST", f"{PATH}/{intent['Id']}/captures", {"Amount": 1, "LineItems": items})
    assert (response.status, list(read(response)["errors"])) == (400, ["LineItems"])
    assert read(platform.call("GET", f"{PATH}/{intent['Id']}")) == intent


def test_an_intent_is_cancelled_unless_it_was_captured(platform: Platform) -> None:
    intent = platform.create(PATH, platform.intent())
    cancelled = platform.create(f"{PATH}/{intent['Id']}/cancel", {})
    assert (cancelled["Status"], cancelled["LineItems"][0]["CanceledAmount"]) == ("CANCELLED", 1000)
    assert platform.call("POST", f"{PATH}/{intent['Id']}/captures", {}).status == 400
    assert platform.call("POST", f"{PATH}/{platform.captured['Id']}/cancel", {}).status == 400


@pytest.mark.parametrize(
    "items",
    [
        *("x", [], [1], [{"UnitAmount": "1", "Quantity": 1}], [{"UnitAmount": 1}]),
        [{"UnitAmount": 1, "Quantity": 1, "Seller": "x"}],
        [{"UnitAmount": 1, "Quantity": 1, "Seller": [1]}],
        [{"UnitAmount": 1, "Quantity": 1, "Seller": {"WalletId": ["x"]}}],
    ],
)
def test_line_items_that_cannot_be_added_up_are_refused(platform: Platform, items: object) -> None:
    response = platform.call("POST", PATH, {**platform.intent(), "LineItems": items})
    assert (response.status, list(read(response)["errors"])) == (400, ["LineItems"])


def test_a_split_pays_the_seller_when_the_money_is_there(platform: Platform) -> None:
    intent = platform.captured
    (made,) = read(split(platform, intent, 300))["Splits"]
    assert (made["Status"], made["WalletId"]) == ("CREATED", platform.wallet)
    path = f"{PATH}/{intent['Id']}/splits/{made['Id']}"
    changed = read(platform.call("PUT", path, {"Description": "d", "FeesAmount": 50, "LineItemId": "other"}))
    assert (changed["Description"], changed["LineItemId"]) == ("d", made["LineItemId"])
    refused = read(platform.call("POST", f"{path}/execute"))
    assert refused["Errors"] == {"Split": "Execute split requires a status in [AVAILABLE, REJECTED]"}
    assert platform.call("POST", f"{path}/reverse").status == 400
    platform.settle(made["Id"], "release")
    assert platform.call("PUT", path, {"SplitAmount": 1}).status == 400
    assert read(platform.call("POST", f"{path}/execute"))["Status"] == "COMPLETED"
    assert platform.balance(platform.wallet) == 250
    assert read(platform.call("GET", path))["Status"] == "COMPLETED"
    assert read(platform.call("GET", f"{PATH}/{intent['Id']}"))["AvailableAmountToSplit"] == 700


@pytest.mark.parametrize(
    ("change", "field"),
    [({"FeesAmount": "x"}, "FeesAmount"), ({"SplitAmount": "x"}, "SplitAmount"), ({"LineItemId": ["x"]}, "LineItemId")],
)
def test_a_split_with_a_wrong_type_is_refused_with_its_field(
    platform: Platform, change: dict[str, object], field: str
) -> None:
    intent = platform.captured
    splits = [{"LineItemId": intent["LineItems"][0]["Id"], "SplitAmount": 300, **change}]
    response = platform.call("POST", f"{PATH}/{intent['Id']}/splits", {"Splits": splits})
    assert (response.status, list(read(response)["errors"])) == (400, [field])
    assert read(platform.call("GET", f"{PATH}/{intent['Id']}")) == intent


def test_a_split_may_be_of_nothing(platform: Platform) -> None:
    (made,) = read(split(platform, platform.captured, 0))["Splits"]
    assert made["SplitAmount"] == 0


def test_a_split_is_reversed(platform: Platform) -> None:
    intent = platform.captured
    (made,) = read(split(platform, intent, 300))["Splits"]
    platform.settle(made["Id"], "release")
    response = platform.call("POST", f"{PATH}/{intent['Id']}/splits/{made['Id']}/reverse")
    assert read(response)["Status"] == "REVERSED"
    assert platform.balance(platform.wallet) == 0


def test_no_more_is_split_than_was_captured(platform: Platform) -> None:
    intent = platform.captured
    assert split(platform, intent, 700).status == 200
    for amount in (301, -1, "1", None):
        assert split(platform, intent, amount).status == 400
    for splits in (None, [], [1], [{"LineItemId": "x", "SplitAmount": 1}]):
        assert platform.call("POST", f"{PATH}/{intent['Id']}/splits", {"Splits": splits}).status == 400
    assert split(platform, platform.create(PATH, platform.intent()), 1).status == 400


def test_a_settlement_takes_another_file(platform: Platform) -> None:
    settlement = platform.create(f"{PATH}/settlements", {"FileName": "a.csv"})
    path = f"{PATH}/settlements/{settlement['Id']}"
    form = ((b"Content-Type", b"multipart/form-data; boundary=x"),)
    assert read(platform.call("PUT", path, b'name="file"', headers=form))["Status"] == "UPLOADED"
    assert platform.call("PUT", path, b"nothing", headers=form).status == 400
    replaced = read(platform.call("PUT", path, {"FileName": "b.csv"}))
    assert (replaced["Status"], replaced["FileName"]) == ("PENDING_UPLOAD", "b.csv")
