"""The tests that the Node SDK's package brings along pass through the sidecar, while its tokens are revoked."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.testing import MangopayEmulator
from tests.e2e.sdk.mangopay import Mangopay
from tests.support import node
from tests.support.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sdk

PROJECT: Final = Path(__file__).parent / "node_suite"
#: Written down in the suite.
CLIENT_ID: Final = "sdk-unit-tests"
#: Titles of what is not run, by why not.
LEFT_OUT: Final = {
    "the emulator does not do that yet": (
        "PayIns PayIn Intent Reverse split",
        "PayIns PayIn Intent Create intent full refund",
        "PayIns PayIn Intent Create intent partial refund",
        "PayIns PayIn Intent Fully reverse intent refund",
        "PayIns PayIn Intent Partially reverse intent refund",
        "PayIns PayIn Intent Create full intent dispute",
        "PayIns PayIn Intent Update intent dispute outcome",
        "PayIns PayIn Intent Create partial intent dispute",
        "PayOuts Create should be created",
        "PayOuts Create with RecipientId",
        "Settlements Get Validations",
        "Settlements Cancel settlement",
    ),
    "it needs what others have left at Mangopay's sandbox, or another day": (
        "Events Get Events List Payin Normal Succeeded",
        "Hooks Get All",
        "Mandates Get all mandates",
        "Users Create KYC Document Should be created",
        "Users Get Sca Status",
    ),
    "it calls done() twice, or a function that the SDK has not": (
        "Hooks Create User Kyc Regular",
        "Disputes Create Dispute Document Page From File",
    ),
    "its credentials are wrong, and the sidecar takes any": ("When trying to authenticate with wrong credentials",),
}
#: After so many calls, of some 700, the token is refused, as if it had been revoked: by number, so that a resend never
#: meets the next revocation by chance.
REFUSED: Final = range(5, 500, 25)
#: Of the 270 that pass; fewer would be a suite that was not found.
AT_LEAST: Final = 260


@pytest.fixture(scope="module")
def installed() -> None:
    try:
        node.install(PROJECT)
    except node.RegistryOutOfReachError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"the Node SDK's own tests are not run: {error}")


@pytest.fixture(scope="module")
def mangopay() -> Iterator[Mangopay]:
    """What the suite finds at Mangopay's sandbox: disputes, and resources whose Ids it has written down."""
    server = Mangopay(CLIENT_ID, sca_context="USER_NOT_PRESENT")
    try:
        emulator = MangopayEmulator(server.url, client_id=CLIENT_ID)
        emulator.make_disputes(rounds=20)  # the suite reads the second hundred
        for collection, identifier, fields in WRITTEN_DOWN:
            emulator.place(collection, identifier, **fields)
        emulator.authenticate(SCA_USER)
        yield server
    finally:
        server.close()


SCA_USER: Final = "user_m_01JRFJJN9BR864A4KG7MH1WCZG"
WRITTEN_DOWN: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (
        "PayIn",
        "payin_m_01JFA5CSPT3QBECGYDX6AKQ3QD",
        {
            "PaymentType": "BANK_WIRE",
            "ExecutionType": "EXTERNAL_INSTRUCTION",
            "DebitedBankAccount": {"Type": "IBAN", "IBAN": "FR7630004000031234567890143", "AccountNumber": None},
        },
    ),
    ("User", SCA_USER, {"PersonType": "NATURAL", "UserCategory": "OWNER", "UserStatus": "ACTIVE"}),
    ("Repudiation", "41631014", {}),
)


@pytest.mark.timeout(300)  # npm may have to bring some hundred packages first
@pytest.mark.usefixtures("installed")
def test_the_suite_passes_while_tokens_are_revoked(mangopay: Mangopay) -> None:
    for calls in REFUSED:
        mangopay.fault(f"unauthorized api times=1 skip={calls}")
    with Sidecar(mangopay.url, client_id=CLIENT_ID) as sidecar:
        results = run_suite(sidecar.url)
    failed = [f"{title}: {why}" for result, title, why in results if result == "failed"]
    assert not failed, "\n".join(failed)
    assert len([result for result, *_ in results if result == "passed"]) >= AT_LEAST
    assert mangopay.token_requests > len(REFUSED) // 2


def run_suite(base_url: str) -> list[tuple[str, str, str]]:
    """Return what became of each test: the result, the title, and why it failed."""
    titles = (re.escape(title) for group in LEFT_OUT.values() for title in group)
    environ = {"MANGOPAY_BASE_URL": base_url, "LEFT_OUT": f"^(?:{'|'.join(titles)})"}
    done = subprocess.run(
        [node.NODE, PROJECT / "suite.cjs"], env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]
