"""What the emulator creates, read by the models of the official Python SDK."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import LEGAL_USER, NATURAL_USER, Platform, read

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


@pytest.fixture(scope="module")
def sdk() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mangopay import resources
    module: ModuleType = resources
    return module


@pytest.mark.parametrize(
    ("model", "resource"),
    [
        ("NaturalUser", lambda platform: platform.create("users/natural", NATURAL_USER)),
        ("LegalUser", lambda platform: platform.create("users/legal", LEGAL_USER)),
        ("Wallet", lambda platform: read(platform.call("GET", f"wallets/{platform.wallet}"))),
        ("CardWebPayIn", lambda platform: platform.pay_in()),
        ("DirectPayIn", lambda platform: platform.pay_in("direct")),
        ("Transfer", lambda platform: platform.transfer()),
        ("BankWirePayOut", lambda platform: platform.pay_out()),
        ("BankAccount", lambda platform: platform.bank_account()),
        ("Mandate", lambda platform: platform.mandate()),
        (
            "Refund",
            lambda platform: platform.create(
                f"transfers/{platform.transfer()['Id']}/refunds", {"AuthorId": platform.user}
            ),
        ),
        ("Client", lambda platform: read(platform.call("GET", "clients"))),
    ],
)
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
def test_the_python_sdk_can_read_what_is_created(
    platform: Platform, sdk: ModuleType, model: str, resource: Any
) -> None:
    from mangopay.query import SelectQuery

    made = resource(platform)
    fields = SelectQuery(getattr(sdk, model)).parse_result(made)
    identifier = "client_id" if model == "Client" else "id"
    assert fields[identifier] == made.get("Id", "acme")
