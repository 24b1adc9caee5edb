"""Which calls are told to be deprecated."""

from __future__ import annotations

import pytest

from sidecar.core.deprecation import DEPRECATED, DEPRECATIONS, deprecation_of_route
from sidecar.core.redact import mask_path


def what(method: str, path: str) -> str | None:
    """Return the metric's word for a call; None if it is not deprecated."""
    row = DEPRECATED[method, mask_path(path)]
    return None if row is None else row.what


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v2.01/acme/users/natural", "legacy_users"),
        ("POST", "/V2_01/acme/users/legal/", "legacy_users"),
        ("PUT", "/v2.01/acme/Users/Natural/user_m_01HQK25M6KVHKDV0S36JY9NRKR", "legacy_users"),
        ("PUT", "/v2.01/acme/users/legal/12345", "legacy_users"),
        ("GET", "/v2.01/acme/users/12345", "legacy_users"),
        ("HEAD", "/v2.01/acme/users/12345", "legacy_users"),
        ("POST", "/v2.01/acme/wallets/12/bankingaliases/iban", "banking_aliases"),
        ("GET", "/v2.01/acme/wallets/12/bankingaliases", "banking_aliases"),
        ("PUT", "/v2.01/acme/bankingaliases/12", "banking_aliases"),
        ("POST", "/v2.01/acme/payins/directdebit/web", "web_direct_debit"),
        ("POST", "/v2.01/acme/payins/payment-methods/giropay", "giropay"),
        ("POST", "/v2.01/acme/sca/users/natural", None),
        ("GET", "/v2.01/acme/users", None),
        ("GET", "/v2.01/acme/users/natural", None),
        ("GET", "/v2.01/acme/users/12345/wallets", None),
        ("DELETE", "/v2.01/acme/users/12345", None),
        ("POST", "/v2.01/acme/payins/payment-methods/ideal", None),
        ("POST", "/acme/users/natural", None),
        ("POST", "/users/natural", None),
        ("POST", "/v2.01/users/natural", None),
        ("GET", "/", None),
        ("GET", "", None),
        ("POST", "-", None),
    ],
)
def test_a_path_is_known_however_it_is_written(method: str, path: str, expected: str | None) -> None:
    assert what(method, path) == expected


@pytest.mark.parametrize("row", DEPRECATIONS, ids=lambda row: row.endpoint)
def test_each_row_is_found_by_its_own_path_and_names_a_successor_that_is_no_row(row: object) -> None:
    from sidecar.core.deprecation import Deprecation

    assert isinstance(row, Deprecation)
    assert deprecation_of_route(row.method, row.path) is row
    assert what(row.method, "/v2.01/acme/" + row.path.replace("{", "").replace("}", "1")) == row.what
    if row.successor:
        assert deprecation_of_route(*row.successor.split(" ")) is None
    assert row.what.replace("_", "").isalpha()
    assert row.announced.startswith(("stops ", "is "))
    assert str(row.since) in row.source


def test_the_documentation_has_each_row() -> None:
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs" / "rate-limits.md").read_text(encoding="utf-8")
    for row in DEPRECATIONS:
        instead = f"`{row.successor}`" if row.successor else "nothing"
        line = f"| `{row.what}` | `{row.endpoint}` | {row.since} | it {row.announced} | {instead} | {row.source} |"
        assert line in text


def test_what_is_kept_is_bounded() -> None:
    DEPRECATED.clear()
    for number in range(1024):
        assert DEPRECATED["GET", f"/v2.01/acme/{number}"] is None
    assert len(DEPRECATED) == 1024
    assert what("GET", "/v2.01/acme/users/12345") == "legacy_users"
    assert len(DEPRECATED) == 1
