"""What there is by name, the nearest for a typo, and the same as OpenAPI."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from sidecar.emulator import index, openapi
from sidecar.emulator.engine.routes import PAGES
from sidecar.emulator.fault_rules import ACTIONS, parse
from sidecar.emulator.messages import split_path
from sidecar.emulator.resources import catalogue
from tests.support.clock import FakeClock
from tests.support.emulator import Platform, read


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def test_the_index_names_everything(platform: Platform) -> None:
    names = read(platform.control("GET", "index"))
    assert names == read(platform.control("GET", ""))
    assert names["faults"] == sorted(ACTIONS)
    assert "POST /__emulator__/settle" in names["control"]
    assert "POST /v2.01/{ClientId}/payins/card/web" in names["routes"]
    assert "GET /V3.0/{ClientId}/payins/intents/settlements" in names["routes"]
    assert "GET /v2.01/countries/authorizations" in names["routes"]
    assert len(names["routes"]) == len([route for route in catalogue().routes if route.version != PAGES])


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/v2.01/acme/payin/card/web", "POST /v2.01/{ClientId}/payins/card/web"),
        ("GET", "/v2.01/acme/user/user_m_1/wallets", "GET /v2.01/{ClientId}/users/{UserId}/wallets"),
        ("POST", "/V3.0/acme/payin/intents/settlements", "POST /V3.0/{ClientId}/payins/intents/settlements"),
        ("GET", "/v2.01/acme/entirely/different/things", None),
    ],
)
def test_a_path_that_is_none_is_told_the_nearest(platform: Platform, method: str, path: str, meant: str | None) -> None:
    assert index.nearest_route(catalogue(), method, split_path(path)) == meant
    response = platform.call(method, path)
    assert response.status == 501
    assert read(response)["Message"].endswith(f"did you mean {meant}?" if meant else "see docs/emulator.md")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("fautls", "did you mean POST or GET or DELETE faults?"), ("something-else", "see docs/emulator.md.")],
)
def test_a_control_route_that_is_none_is_told_the_nearest(platform: Platform, name: str, hint: str) -> None:
    response = platform.control("POST", name)
    assert response.status == 404
    assert read(response)["error"].endswith(hint)


def test_a_fault_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no such fault: 'statsu'; did you mean status\? there are"):
        parse("statsu=500")
    with pytest.raises(ValueError, match="no such fault: 'xyz'; there are"):
        parse("xyz")


# --- OpenAPI ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.build(catalogue())


def test_the_document_is_openapi(document: dict[str, Any], platform: Platform) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert read(platform.control("GET", "openapi.json")) == document


def test_every_route_is_an_operation(document: dict[str, Any]) -> None:
    operations = sum(len(path) for path in document["paths"].values())
    assert operations == 1 + len(index.list_routes(catalogue()))
    identifiers = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(set(identifiers)) == operations


def test_an_operation_tells_what_it_needs_and_shows(document: dict[str, Any]) -> None:
    made = document["paths"]["/v2.01/{ClientId}/payins/card/web"]["post"]
    body = made["requestBody"]["content"]["application/json"]["schema"]
    shown = made["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(body["required"]) == {"AuthorId", "CreditedWalletId", "DebitedFunds", "Fees"}
    assert body["properties"]["DebitedFunds"] == {"anyOf": [{"$ref": "#/components/schemas/Money"}, {"type": "null"}]}
    assert "Status" not in body["properties"]
    assert shown == {"$ref": "#/components/schemas/PayIn"}
    assert document["components"]["schemas"]["PayIn"]["properties"]["Status"] == {"type": ["string", "null"]}
    assert document["paths"]["/v2.01/{ClientId}/users/natural"]["post"]["deprecated"] is True
    listed = document["paths"]["/v2.01/{ClientId}/users/{UserId}/cards"]["get"]
    assert listed["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"
    assert [each["name"] for each in listed["parameters"]] == ["ClientId", "UserId", "page", "per_page"]
