"""Idempotency keys: good once, also after a failure, and their stored responses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import NATURAL_USER, Direct, issue_token, read

KEY = "0123456789abcdef"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mangopay(clock: FakeClock) -> Direct:
    return Direct(clock)


@pytest.mark.parametrize("key", ["short", "x" * 37, "0123456789abcde_", "0123456789abcdé!"])
def test_a_malformed_key_is_refused_and_nothing_is_executed(mangopay: Direct, key: str) -> None:
    assert mangopay.call("POST", "users/natural", NATURAL_USER, key=key).status == 400
    assert mangopay.state.ledger.executions == 0


@pytest.mark.parametrize("body", [NATURAL_USER, {}])
def test_a_key_works_once_also_when_the_first_call_failed(mangopay: Direct, body: dict[str, Any]) -> None:
    mangopay.call("POST", "users/natural", body, key=KEY)
    response = mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY)
    assert (response.status, read(response)["Type"]) == (409, "idempotent_creation_conflict")
    assert mangopay.state.ledger.executions == (1 if body else 0)


async def test_a_key_is_free_again_after_24_hours(clock: FakeClock) -> None:
    mangopay = Direct(clock, expires_in=200_000)
    mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY)
    await clock.advance(24 * 3600)
    assert mangopay.call("GET", f"responses/{KEY}").status == 400
    assert mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY).status == 200


def test_keys_of_another_client_do_not_matter(mangopay: Direct) -> None:
    mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY)
    mangopay.client_id, mangopay.token = "other", issue_token(mangopay.emulator, "other")
    assert mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY).status == 200


def test_the_stored_response_can_be_read_back(mangopay: Direct) -> None:
    first = mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY)
    stored = read(mangopay.call("GET", f"responses//{KEY}/"))
    assert stored == {
        "StatusCode": "200",
        "ContentLength": str(len(first.body)),
        "ContentType": "application/json; charset=utf-8",
        "Date": "Tue, 14 Nov 2023 22:13:20 GMT",
        "RequestURL": "https://api.mangopay.com/V2.01/acme/users/natural",
        "Resource": read(first),
    }


def test_a_stored_failure_can_be_read_back_too(mangopay: Direct) -> None:
    mangopay.call("POST", "users/natural", {}, key=KEY)
    stored = read(mangopay.call("GET", f"responses/{KEY}"))
    assert (stored["StatusCode"], stored["Resource"]["Type"]) == ("400", "param_error")


def test_an_unknown_key_has_no_stored_response(mangopay: Direct) -> None:
    response = mangopay.call("GET", f"responses/{KEY}")
    assert (response.status, read(response)["Type"]) == (400, "correlationid_not_found")


async def test_a_stored_response_can_stay_hidden_for_a_while(clock: FakeClock, mangopay: Direct) -> None:
    mangopay.state.configure(stored_answer_delay=0.5)
    mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY)
    statuses = [mangopay.call("GET", f"responses/{KEY}").status]
    await clock.advance(0.5)
    statuses.append(mangopay.call("GET", f"responses/{KEY}").status)
    assert statuses == [400, 200]


def test_a_stored_response_can_be_made_yesterdays(mangopay: Direct) -> None:
    mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY)
    assert mangopay.state.age_stored_responses(3600, client_id="acme", key=KEY) == 1
    assert read(mangopay.call("GET", f"responses/{KEY}"))["Date"] == "Tue, 14 Nov 2023 21:13:20 GMT"


@pytest.mark.parametrize(("burn", "status"), [(False, 200), (True, 409)])
def test_a_401_uses_a_key_up_only_by_switch(mangopay: Direct, burn: bool, status: int) -> None:
    mangopay.state.configure(burn_keys_on_401=burn)
    good = mangopay.token
    mangopay.state.tokens.revoke()
    assert mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY).status == 401
    mangopay.token = issue_token(mangopay.emulator)
    assert good != mangopay.token
    assert mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY).status == status
    if burn:
        assert read(mangopay.call("GET", f"responses/{KEY}"))["StatusCode"] == "401"


def test_a_key_on_anything_but_a_post_means_nothing(mangopay: Direct) -> None:
    assert [mangopay.call("GET", "users", key=KEY).status for _ in range(2)] == [200, 200]
