"""Whose ClientId a path names: an alias's becomes ours, another's is told."""

from __future__ import annotations

from typing import Final

import pytest

from sidecar.core.admission.target import parse_target
from sidecar.core.admission.target_verdict import Route
from sidecar.core.client_id import ROOTS_WITHOUT_CLIENT_ID, ClientIdRules, is_version
from sidecar.core.errors import STATUS, ErrorCode, SidecarError
from tests.support import sdk_requests

RULES = ClientIdRules("acme", ("{ClientId}", "_"))
ANY = ClientIdRules("acme", ("*",))

FOREIGN = [
    "/v2.01/another/users",
    "/v2.01/another",
    "/v2.01/another/",
    "/V2_01/another/users",
    "/v3.0/another/payins",
    "/V3.0/another/payins",
    "/v2%2e01/another/users",
    "/v2.01/%61nother/users",
    "/v2.01/acme2/users",
    "/v2.01/%20acme/users",
    "/v2.01/acme%2fusers",
    "/v2.01/acme;x/users",
    "/v2.01/%ff/users",
    "/v2.01/*/users",
    "/v2.01/__/users",
    "/v2.01/{clientid}/users",  # an alias is compared with its case
    "/v2.01/%257BClientId%257D/users",
    "/v2.01//users",  # an app without a ClientId
    "/v2.01//acme/users",
    "/v2.01/countries2/FR",
    "/v2.01/oauth2/token",
    "/v2.01/%C5%BFklient/users",
    # the token path's root, without the token
    "/v2.01/oauth",
    "/v2.01/oauth/users",
    "/v2.01/OAuth/another/users",
    "/v2.01/oauth/revoke",
    "/v2.01/oauth/tokens",
]
#: The first segment is no version, and some server may read it as one.
DISGUISED = [
    "/v2.01%2Fanother/users",
    "/v2.01%2fanother%2fusers",
    "/v2.01%2Fanother/acme/users",
    "/v2.01%2Facme/another/users",
    "/v2.01%5Canother%5Cusers",
    "/v2.01%5canother/users",
    "/v2.01%c0%afanother/users",
    "/v2.01;x/another/users",
    "/v2.01;x%2Facme/another/users",
    "/v2.01%3Bx/another/users",
    "/v2.01%20/another/users",
    "/v2.01%00/another/users",
    "/v2.01%C2%A0/another/users",
    "/%20v2.01/another/users",
    "/%20/v2.01/another/users",
    "/;x/v2.01/another/users",
    "/%00/v2.01/another/users",
    "/%2F/v2.01/another/users",
    "/%2Fv2.01/another/users",
    "/%5Cv2.01/another/users",
    "/v2%252e01/another/users",
    "/%2576%2532/another/users",
    "/v2.01%252Fanother/acme/users",
    "/%EF%BD%962.01/another/users",
    "/v2.01;x/_/users",  # not replaced, so it would be an unknown ClientId
]
OURS = [
    "/v2.01/acme/users",
    "/v2.01/ACME/users",
    "/V3.0/Acme/users",
    "/v2.01/%61cm%65/users",
    "/v2.01/acme",
    "/v2.01/countries/FR/authorizations",
    "/v2.01/Countries/authorizations",
    "/v2.01/%63ountries/authorizations",
    "/V3.0/countries/authorizations",
    "/v2.01/countries",
    # no version, or nothing behind it
    "/",
    "/v2.01",
    "/v2.01/",
    "/another/users",
    "/users/acme",
    "/version/another/users",
    "/api/v2.01/another/users",
    # ours in any spelling of the version
    "/v2%2e01/acme/users",
    "/v2.01;x/acme/users",
    "/v2.01%20/ACME/users",
    "/v2%2e01/countries/FR",
    # marks in what is no version however it is read
    "/another%20one/users",
    "/another;x/users",
]


@pytest.mark.parametrize("path", FOREIGN + DISGUISED)
def test_another_client_id_is_told_and_left_as_it_is(path: str) -> None:
    assert RULES.place(path) == (path, True)
    target = parse_target("GET", f"{path}?a=b", RULES)
    assert (target.raw, target.foreign, target.route) == (f"{path}?a=b".encode(), True, Route.API)


@pytest.mark.parametrize("path", OURS)
def test_ours_a_root_without_client_id_and_no_place_for_one_are_left_alone(path: str) -> None:
    assert RULES.place(path) == (path, False)
    assert not parse_target("POST", path, RULES).foreign


#: What the alias for any does not stand for: servers may read it as nothing, as several segments, or as a root.
TWO_EDGED = [
    path
    for path in FOREIGN
    if any(mark in path.lower() for mark in ("2.01//", "%2f", ";", "%25", "/oauth/")) or path.endswith("/oauth")
] + ["/v2.01/acme%5Cpayins/transfers", "/v2.01/acme%3Bx/users", "/v2.01/acme%2Fpayins%2Fx/transfers"]


@pytest.mark.parametrize("path", [path for path in FOREIGN if path not in TWO_EDGED])
def test_the_alias_for_any_replaces_every_other_client_id(path: str) -> None:
    placed, foreign = ANY.place(path)
    assert not foreign
    assert placed.split("/")[2] == "acme"
    assert placed.split("/")[3:] == path.split("/")[3:]
    assert placed.split("/")[:2] == path.split("/")[:2]


@pytest.mark.parametrize("path", TWO_EDGED + DISGUISED)
def test_the_alias_for_any_stands_for_one_name_only(path: str) -> None:
    assert ANY.place(path) == (path, True)


def test_an_encoded_asterisk_is_an_alias_of_that_name() -> None:
    rules = ClientIdRules("acme", ("%2A",))
    assert rules.place("/v2.01/*/users") == ("/v2.01/acme/users", False)
    assert rules.place("/v2.01/another/users") == ("/v2.01/another/users", True)


@pytest.mark.parametrize("path", OURS)
def test_the_alias_for_any_spares_ours_and_what_has_no_client_id(path: str) -> None:
    assert ANY.place(path) == (path, False)


@pytest.mark.parametrize("path", ["/v2.01/oauth/token", "/V2_01/oauth/token/", "/v2.01/OAuth/Token/embedded/recipient"])
@pytest.mark.parametrize("rules", [RULES, ANY])
def test_the_token_paths_keep_their_route(path: str, rules: ClientIdRules) -> None:
    target = parse_target("POST", path, rules)
    assert target.route is not Route.API
    assert (target.path, target.foreign) == (path, False)


def test_a_client_id_that_has_to_be_encoded_is_ours_in_any_encoding() -> None:
    rules = ClientIdRules("Ünal & co", ())
    for path in ("/v2.01/%C3%9Cnal%20&%20co/users", "/v2.01/%c3%9cnal%20%26%20CO/users"):
        assert rules.place(path) == (path, False)


@pytest.mark.parametrize(
    ("client_id", "path"),
    [
        ("sklient", "/v2.01/%C5%BFklient/users"),
        ("sklient", "/v2.01/s%E2%84%AAlient/users"),
        ("ünal", "/v2.01/%C3%9Cnal"),
    ],
)
def test_letters_beyond_ascii_have_their_case(client_id: str, path: str) -> None:
    """Else a long s or the Kelvin sign would be an s or a k, and another ClientId ours."""
    assert ClientIdRules(client_id, ()).place(path) == (path, True)


def test_a_client_id_with_the_name_of_a_root_is_ours() -> None:
    assert ClientIdRules("oauth", ("_",)).place("/v2.01/_/users") == ("/v2.01/oauth/users", False)


def test_what_the_sdks_send_names_our_client_id_or_needs_none() -> None:
    rules = ClientIdRules(sdk_requests.CLIENT_ID, ())
    for sdk in sdk_requests.SDKS:
        for request in sdk_requests.recorded(sdk):
            assert not parse_target(request.method, request.target, rules).foreign, request.target
            placed, _ = ANY.place(request.target.partition("?")[0])
            segment = placed.split("/")[2]
            assert segment == "acme" or segment in ROOTS_WITHOUT_CLIENT_ID


# --- the refusal


def test_the_refusal_names_our_client_id_and_the_ways_out() -> None:
    with pytest.raises(SidecarError) as caught:
        RULES.refuse_foreign()
    error = caught.value
    assert (error.code, STATUS[error.code]) == (ErrorCode.CLIENT_ID_MISMATCH, 403)
    for words in (
        "this sidecar's, acme:",
        "Set the app's ClientId to acme",
        "write {ClientId} or _ in its place",
        "SIDECAR_MANGOPAY_CLIENT_ID_ALIASES to *",
        "SIDECAR_MANGOPAY_FOREIGN_CLIENT_IDS to forward",
    ):
        assert words in error.message


def test_without_aliases_none_is_recommended() -> None:
    with pytest.raises(SidecarError, match=r"to acme; or set SIDECAR_MANGOPAY_CLIENT_ID_ALIASES"):
        ClientIdRules("acme", ()).refuse_foreign()


def test_nothing_is_refused_where_such_calls_are_forwarded() -> None:
    ClientIdRules("acme", (), forward_foreign=True).refuse_foreign()


# --- versions


@pytest.mark.parametrize("segment", ["v2.01", "V2_01", "V3.0", "v3", "v2.01.7", "v10_2"])
def test_versions(segment: str) -> None:
    assert is_version(segment)


@pytest.mark.parametrize(
    "segment", ["", "v", "2.01", "v2.", "v.2", "v2..1", "vx", "v2.0a", "version", "v²", "v٣", "users"]
)
def test_other_words_are_no_versions(segment: str) -> None:
    assert not is_version(segment)


@pytest.mark.parametrize("client_id", ["X", "a.b", ".X."])
def test_a_client_id_that_is_more_than_dots_can_be_one(client_id: str) -> None:
    assert ClientIdRules(client_id, ()).segment == client_id


@pytest.mark.parametrize("client_id", ["", ".", "..", "a\n"])
def test_a_client_id_that_cannot_be_a_segment_is_refused(client_id: str) -> None:
    with pytest.raises(ValueError, match="the ClientId is empty"):
        ClientIdRules(client_id, ())


REST: Final = ("", "/", "/users", "/oauth/token", "/%2e%2e/users", "/../x", ";x/users", "%2Fusers", "//users")


@pytest.mark.parametrize("rest", REST)
@pytest.mark.parametrize("before", REST)
def test_what_was_seen_before_changes_no_answer(before: str, rest: str) -> None:
    """How paths begin is kept once an alias was replaced there."""
    begins = ("/v2.01/_", "/V2_01/{ClientId}", "/v2.01/%5F", "/v2%2e01/_", "/v2.01/acme", "/v2.01/another", "/users/_")
    for begin in begins:
        seen = ClientIdRules("acme", ("{ClientId}", "_"))
        for earlier in begins:
            seen.place(earlier + before)
        assert seen.place(begin + rest) == ClientIdRules("acme", ("{ClientId}", "_")).place(begin + rest)


def test_what_is_kept_is_asked_first() -> None:
    rules = ClientIdRules("acme", ("_",))
    rules._begun["/v2.01/_"] = "/kept"
    assert rules.place("/v2.01/_/users") == ("/kept/users", False)


def test_what_is_kept_is_bounded_and_short() -> None:
    """Callers may invent versions; what they invent is answered all the same."""
    rules = ClientIdRules("acme", ("_",))
    for number in range(100):
        assert rules.place(f"/v{number}/_/users") == (f"/v{number}/acme/users", False)
    assert len(rules._begun) == 32
    rules = ClientIdRules("acme", ("_",))
    for _ in range(2):
        assert rules.place(f"/v{'9' * 61}/_/users") == (f"/v{'9' * 61}/acme/users", False)
    assert rules._begun == {}
    assert rules.place(f"/v{'9' * 60}/_/users") == (f"/v{'9' * 60}/acme/users", False)
    assert rules._begun == {f"/v{'9' * 60}/_": f"/v{'9' * 60}/acme"}
    assert rules.place("/v2.01/%5F/users") == ("/v2.01/acme/users", False)
    assert len(rules._begun) == 1


def test_whether_any_client_id_is_replaced_is_said() -> None:
    assert ClientIdRules("acme", ("_", "*")).any is True
    assert ClientIdRules("acme", ("_",)).any is False


def test_a_version_alone_names_no_client_id_however_it_is_written() -> None:
    assert ClientIdRules("acme", ()).place("/v2%2e01") == ("/v2%2e01", False)


def test_the_token_path_behind_a_doubtful_version_is_no_client_id() -> None:
    rules = ClientIdRules("acme", ())
    assert rules.place("/v2.01;x/oauth/token") == ("/v2.01;x/oauth/token", False)
    assert rules.place("/v2.01;x/oauth/revoke") == ("/v2.01;x/oauth/revoke", True)
