"""Disputes: how they are made, contested, lost and settled."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.emulator.engine.transitions import move
from sidecar.emulator.placing import place
from sidecar.emulator.resources import catalogue
from tests.support.clock import FakeClock
from tests.support.emulator import EUR, NO_FEES, Platform, read


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def view(platform: Platform, path: str) -> Any:
    response = platform.call("GET", path)
    assert response.status == 200, response.body
    return read(response)


def test_the_control_route_makes_each_type_in_each_status(platform: Platform) -> None:
    made = read(platform.control("POST", "disputes", {"client_id": "acme", "rounds": 2}))["ids"]
    assert platform.list("disputes?per_page=100") == made
    seen = {(each["DisputeType"], each["Status"]) for each in view(platform, "disputes?per_page=100")}
    contestable = {status for kind, status in seen if kind == "CONTESTABLE"}
    assert contestable == {
        *("CREATED", "PENDING_CLIENT_ACTION", "SUBMITTED", "PENDING_BANK_ACTION"),
        *("REOPENED_PENDING_CLIENT_ACTION", "CLOSED"),
    }
    assert {("NOT_CONTESTABLE", "CLOSED"), ("RETRIEVAL", "PENDING_CLIENT_ACTION")} < seen
    assert len(made) == 2 * len(seen)
    for rounds in (0, 101, "1"):
        assert platform.control("POST", "disputes", {"client_id": "acme", "rounds": rounds}).status == 400


def test_a_dispute_is_contested_reopened_and_won(platform: Platform) -> None:
    dispute = platform.dispute
    submitted = read(platform.call("PUT", f"disputes/{dispute}/submit", {"ContestedFunds": EUR}))
    assert (submitted["Status"], submitted["ContestedFunds"]) == ("SUBMITTED", EUR)
    assert platform.call("PUT", f"disputes/{dispute}/submit").status == 400
    platform.settle(dispute, "forward")
    platform.settle(dispute, "reopen")
    assert read(platform.call("PUT", f"disputes/{dispute}/submit"))["Status"] == "SUBMITTED"
    won = platform.settle(dispute, "win")
    assert (won["Status"], won["ResultCode"], won["RepudiationId"]) == ("CLOSED", "WON", None)


def test_a_lost_dispute_takes_the_money_back_until_it_is_settled(platform: Platform) -> None:
    closed = read(platform.call("PUT", f"disputes/{platform.dispute}/close"))
    repudiation = view(platform, f"repudiations/{closed['RepudiationId']}")
    pay_in = view(platform, f"payins/{closed['InitialTransactionId']}")
    assert (repudiation["Nature"], repudiation["InitialTransactionId"]) == ("REPUDIATION", pay_in["Id"])
    assert repudiation["DebitedFunds"] == EUR
    before = platform.state.client("acme").collections["Wallet"][pay_in["CreditedWalletId"]]["Balance"]["Amount"]
    path = f"disputes/{closed['Id']}/transactions"
    assert platform.list(path) == [repudiation["Id"]]
    assert closed["Id"] in platform.list("disputes/pendingsettlement?per_page=100")
    amounts = {"DebitedFunds": {"Currency": "EUR", "Amount": "1000"}, "Fees": NO_FEES}
    body = {"AuthorId": pay_in["AuthorId"], **amounts}
    transfer = platform.create(f"repudiations/{repudiation['Id']}/settlementtransfer", body)
    assert transfer["DebitedFunds"] == EUR
    assert platform.list(path) == [repudiation["Id"], transfer["Id"]]
    assert closed["Id"] not in platform.list("disputes/pendingsettlement?per_page=100")
    wallet = platform.state.client("acme").collections["Wallet"][pay_in["CreditedWalletId"]]
    assert wallet["Balance"]["Amount"] == before + 1000
    assert platform.list(f"repudiations/{repudiation['Id']}/refunds") == []


def test_the_disputes_of_a_pay_in_its_author_and_its_wallet_are_listed(platform: Platform) -> None:
    dispute = view(platform, f"disputes/{platform.dispute}")
    pay_in = view(platform, f"payins/{dispute['InitialTransactionId']}")
    assert platform.list(f"payins/{pay_in['Id']}/disputes") == [dispute["Id"]]
    assert dispute["Id"] in platform.list(f"users/{pay_in['AuthorId']}/disputes")
    assert dispute["Id"] in platform.list(f"wallets/{pay_in['CreditedWalletId']}/disputes")
    assert platform.list(f"users/{platform.user}/disputes") == []


def test_a_document_is_filled_consulted_submitted_and_judged(platform: Platform) -> None:
    dispute = platform.dispute
    document = platform.create(f"disputes/{dispute}/documents", {"Type": "INVOICE", "Status": "VALIDATION_ASKED"})
    path = f"disputes/{dispute}/documents/{document['Id']}"
    assert platform.call("POST", f"{path}/pages", {"File": "aGVsbG8="}).status == 204
    (page,) = read(platform.call("POST", f"dispute-documents/{document['Id']}/consult"))
    assert platform.visit(page["Url"]).status == 200
    assert platform.visit(page["Url"] + "0").status == 404
    assert read(platform.call("PUT", path, {"Status": "VALIDATION_ASKED"}))["Status"] == "VALIDATION_ASKED"
    assert platform.call("POST", f"{path}/pages", {"File": "aGVsbG8="}).status == 400
    assert platform.settle(document["Id"], "refuse")["RefusedReasonType"] == "DOCUMENT_UNREADABLE"


def test_a_resource_is_placed_under_an_id_that_is_known(platform: Platform) -> None:
    told = {"client_id": "acme", "collection": "PayOut", "id": "38233499", "fields": {"Status": "SUCCEEDED"}}
    assert platform.control("POST", "place", told).status == 200
    assert view(platform, "payouts/38233499")["Status"] == "SUCCEEDED"
    for wrong in (told, {**told, "id": "1", "collection": "Nothing"}, {**told, "id": 1}):
        assert platform.control("POST", "place", wrong).status == 400


def test_what_was_placed_without_amounts_can_be_settled(platform: Platform) -> None:
    """A test that needs an Id alone gives no more."""
    client = platform.state.client("acme")
    kinds = {id(route.kind): route.kind for route in catalogue().routes if route.kind is not None}.values()
    moves = [(kind, transition) for kind in kinds for transition in kind.transitions]
    for number, (kind, transition) in enumerate(moves):
        fields = {**kind.template, transition.field: min(transition.source)}
        placed = place(client, kind.collection, f"placed_{number}", fields, 0)
        move(client, placed, transition.name, 0)
        assert placed[transition.field] == transition.target


def test_the_kind_that_fits_the_fields_best_is_placed(platform: Platform) -> None:
    fields = {"PaymentType": "BANK_WIRE", "ExecutionType": "DIRECT"}
    told = {"client_id": "acme", "collection": "PayIn", "id": "payin_m_1", "fields": fields}
    placed = read(platform.control("POST", "place", told))
    assert "WireReference" in placed
    assert "RedirectURL" not in placed
