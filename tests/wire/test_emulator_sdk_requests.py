"""Every request that eight builds of the official SDKs really sent gets the response that Mangopay would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.emulator.settings import Credentials
from tests.support.emulator import connect, header, read, running_emulator
from tests.support.sdk_requests import API_KEY, CLIENT_ID, SDKS, RecordedRequest, recorded

if TYPE_CHECKING:
    from sidecar.emulator.server import Emulator
    from tests.support.raw_client import RawClient, ReceivedResponse


async def send(client: RawClient, request: RecordedRequest, token: str) -> ReceivedResponse:
    """Send a request with a token of now, waiting for the 100 if the SDK does."""
    basic = (request.header("Authorization") or "").startswith("Basic ")
    await client.send(request.head() if basic else request.head(authorization=f"Bearer {token}"))
    if request.header("Expect") is not None:
        assert (await client.response()).status == 100
    await client.send(request.body)
    return await client.response()


def expected_status(request: RecordedRequest, keys: set[str]) -> int:
    """Return what Mangopay answers; ``keys`` are the idempotency keys used so far."""
    if request.target.endswith("/pages"):
        return 204
    if request.target.endswith("nope"):
        return 404
    if b'"Email": ""' in request.body or b'"Email":""' in request.body:
        return 400
    for tag, status in (("SCA", 401), ("E429", 429), ("E500", 500)):
        if f'"{tag}"'.encode() in request.body:
            return status
    key = request.header("Idempotency-Key")
    if key is not None and key in keys:
        return 409
    keys |= {key} if key is not None else set()
    return 200


def test_there_are_eight_builds() -> None:
    assert SDKS == ("java", "node2", "node4", "php2", "php4", "python3", "python4", "ruby")


async def replay(sdk: str, emulator: Emulator) -> list[tuple[RecordedRequest, ReceivedResponse]]:
    token = ""
    responses = []
    with await connect(emulator) as client:
        for request in recorded(sdk):
            response = await send(client, request, token)
            responses.append((request, response))
            if "oauth" in request.target.lower():
                token = read(response)["access_token"]
    return responses


@pytest.mark.parametrize("sdk", SDKS)
async def test_every_recorded_request_is_understood(sdk: str) -> None:
    credentials = Credentials({CLIENT_ID: [API_KEY]}, any_client=False)
    # The recorded user was an owner who need not authenticate.
    async with running_emulator(credentials=credentials, sca_for_owners=False) as emulator:
        responses = await replay(sdk, emulator)
    keys: set[str] = set()
    for request, response in responses:
        line = f"{request.method} {request.target}"
        assert (line, response.status) == (line, expected_status(request, keys))
    assert len(responses) > 20


@pytest.mark.parametrize("sdk", SDKS)
async def test_the_responses_are_about_what_was_asked(sdk: str) -> None:
    async with running_emulator() as emulator:
        responses = await replay(sdk, emulator)
        executions = emulator.ledger.executions
        pages = [kept for kept in emulator.received if kept.target.endswith("/pages")]
    created = [read(response) for request, response in responses if request.method == "POST" and response.status == 200]
    prefixes = ["user_m_", "wlt_m_", "payin_m_", "kyc_doc_m_", "hook_m_", "user_m_", "settlement_m_"]
    assert [item["Id"][: len(prefix)] for item, prefix in zip(created[1:], prefixes, strict=True)] == prefixes
    stored = next(read(response) for request, response in responses if "/responses/" in request.target)
    assert (stored["StatusCode"], stored["Resource"]["Id"]) == ("200", created[6]["Id"])
    assert executions == len(prefixes) + 2  # and a page, and an update
    assert [len(page.body) > 1_000_000 for page in pages] == [True]
    lists = [response for request, response in responses if "page=" in request.target]
    assert all(header(response, "X-Number-Of-Items") for response in lists)
