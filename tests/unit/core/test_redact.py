"""What may be shown of paths and of foreign text."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.redact import mask_path, scrub

# --- paths

PATHS = [
    ("/", "/"),
    ("", ""),
    ("/v2.01/oauth/token", "/v2.01/oauth/token"),
    ("/V2_01/OAuth/Token/", "/V2_01/OAuth/Token/"),
    ("/v2.01/oauth/token/embedded/recipient", "/v2.01/oauth/token/embedded/recipient"),
    ("/v2.01/countries/FR/authorizations", "/v2.01/countries/FR/authorizations"),
    ("/v2.01/real-client/users", "/v2.01/{client}/users"),
    ("/v2.01/acme", "/v2.01/{client}"),
    ("/v2.01//users", "/v2.01//users"),
    ("/v2.01/acme/users/natural/user_m_00001001", "/v2.01/{client}/users/natural/{id}"),
    ("/v2.01/acme/users/user_m_nope", "/v2.01/{client}/users/{id}"),
    ("/v2.01/acme/wallets/wlt_m_01HXYZ", "/v2.01/{client}/wallets/{id}"),
    ("/v2.01/a/users/12345678/KYC/documents/kyc_doc_m_1/pages", "/v2.01/{client}/users/{id}/KYC/documents/{id}/pages"),
    ("/v2.01/acme/responses/fc986db9-7b41-4710-83d7-6e3c0a978b6c", "/v2.01/{client}/responses/{id}"),
    ("/v2.01/acme/responses//fc986db9-7b41-4710-83d7-6e3c0a978b6c", "/v2.01/{client}/responses//{id}"),
    ("/v2.01/acme/responses/order-of-alice-smith", "/v2.01/{client}/responses/{id}"),
    ("/v2.01/acme/responses//order-of-alice-smith", "/v2.01/{client}/responses//{id}"),
    ("/v2.01/acme/cards/fingerprints/abcdef/transactions", "/v2.01/{client}/cards/fingerprints/{id}/transactions"),
    ("/v2.01/acme/Responses/abcdefghijklmnop", "/v2.01/{client}/Responses/{id}"),
    ("/v2.01/acme/payins/deposit-preauthorized/direct", "/v2.01/{client}/payins/deposit-preauthorized/direct"),
    ("/v2.01/acme/clients/wallets/FEES/EUR", "/v2.01/{client}/clients/wallets/FEES/EUR"),
    ("/v2.01/acme/payins/card/web/", "/v2.01/{client}/payins/card/web/"),
    ("/v2.01/acme/users/victor@hugo.com", "/v2.01/{client}/users/{id}"),
    ("/v2.01/acme/users/%75ser", "/v2.01/{client}/users/{id}"),
    ("/v2.01/acme/users/" + "x" * 41, "/v2.01/{client}/users/{id}"),
    ("/v2.01/acme/users/" + "x" * 40, "/v2.01/{client}/users/" + "x" * 40),
    ("/v2.01/acme/bank_accounts/-/___", "/v2.01/{client}/bank_accounts/{id}/{id}"),
    ("/v2.01/acme/users/v2.01", "/v2.01/{client}/users/{id}"),
    ("/V3.0/acme/payins/intents/settlements", "/V3.0/{client}/payins/intents/settlements"),
    ("/anything/else", "/anything/else"),
    ("/12345/users", "/{id}/users"),
    ("/a\r\nb", "/{id}"),
    ("/\u00e9", "/{id}"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "masked"), PATHS)
def test_ids_are_masked_and_words_are_kept(path: str, masked: str) -> None:
    assert mask_path(path) == masked


def test_a_long_path_is_cut() -> None:
    assert len(mask_path("/a" * 4000)) < 300
    assert mask_path("/a" * 4000).endswith("/...")


@given(st.lists(st.text(max_size=12), max_size=6).map("/".join))
def test_no_digit_and_no_odd_character_gets_through_but_in_a_version(tail: str) -> None:
    assert re.fullmatch(r"(/([A-Za-z_-]*|\{id\}|\{client\}))*", mask_path("/v2.01/" + tail).removeprefix("/v2.01"))


# --- foreign text

SCRUBBED = [
    ("Cannot connect to host api.mangopay.com:443", "Cannot connect to host api.mangopay.com:443"),
    ("Really? Yes.", "Really? Yes."),
    ("GET /v2.01/users?email=a@b.c&x=1 failed", "GET /v2.01/users?*** failed"),
    ("'/users?x=1' and \"/y?z\"", "'/users?***' and \"/y?***\""),
    ("proxy http://user:canary@proxy.internal:3128/ refused", "proxy http://***@proxy.internal:3128/ refused"),
    ("http://user:can/ary@host/x", "http://***@host/x"),
    ("redis://:canary@redis:6379/0", "redis://***@redis:6379/0"),
    ("Authorization: Basic Y2FuYXJ5", "Authorization: ***"),
    ("authorization=Bearer canary, and more", "authorization=***"),
    ("('Authorization', 'Bearer canary'), ('Accept', '*/*')", "('Authorization', '***'), ('Accept', '*/*')"),
    ("(b'Authorization', b'Bearer canary'), (b'A', b'1')", "(b'Authorization', b'***'), (b'A', b'1')"),
    ('{"Proxy-Authorization": "Basic canary", "a": 1}', '{"Proxy-Authorization": "***", "a": 1}'),
    ("Cookie: a=canary; b=canary", "Cookie: ***"),
    ("Set-Cookie: s=canary", "Set-Cookie: ***"),
    ("sent Bearer canary.x-y_z to it", "sent Bearer *** to it"),
    ("sent basic Y2FuYXJ5==", "sent basic ***"),
    ("api_key=canary", "api_key=***"),
    ("apiKey: canary, host: h", "apiKey: ***, host: h"),
    ('{"access_token": "canary", "expires_in": 3600}', '{"access_token": "***", "expires_in": 3600}'),
    ("{'client_secret': 'can ary'}", "{'client_secret': '***'}"),
    ("X-Api-Key: canary", "X-Api-Key: ***"),
    ("password = canary;", "password = ***;"),
    ("SIDECAR_LISTEN_CALLER_KEY=canary", "SIDECAR_LISTEN_CALLER_KEY=***"),
    ("SIDECAR_MANGOPAY_API_KEY=canary", "SIDECAR_MANGOPAY_API_KEY=***"),
    ("got sidecar_1700003600.n.canary", "got ***"),
    ("got rec_canary123 and chk_canary123", "got *** and ***"),
    ("got eyJhbGciOi.eyJzdWIi.canary", "got ***"),
    ("card 4970100000000154 declined", "card *** declined"),
    ("card 4970 1000 0000 0154 declined", "card *** declined"),
    ("card 4970-1000-0000-0154", "card ***"),
    ('"CardNumber":"4970100000000154"', '"CardNumber":"***"'),
    ("378282246310005", "***"),
    ("4222222222222", "***"),
    ("4222222222222 5", "***"),
    ("cvx 4970100000000154 123", "cvx ***"),
    ("id 4970100000000155 is no card number", "id 4970100000000155 is no card number"),
    ("user 123456789012", "user 123456789012"),
    ("1" * 64, "1" * 64),
    ("1" * 65, "***"),
    ("--my.x-api-key.id=abc d", "--my.x-api-key.id=*** d"),
    ("x=y-token.z: abc", "x=y-token.z: ***"),
    ("at 1700000000 UTC", "at 1700000000 UTC"),
    ("a\r\nb\x1b[31mc\0d\x85e", "a  b [31mc d e"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "scrubbed"), SCRUBBED)
def test_foreign_text_is_scrubbed(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


@pytest.mark.parametrize("text", [text for text, _ in SCRUBBED])
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@pytest.mark.timeout(4)  # it takes milliseconds; what grows with the cube of a name's length took 6 s
@pytest.mark.parametrize(
    "piece",
    [
        *("a.", "token", "1 ", "1", "://", "?", "Authorization", "'\"", "cookie:'"),
        *("x-api-key-", "token.", "secret=", "passwd:b'", "eyJ-", "bearer ", "token: bearer ", "bearer token="),
    ],
)
def test_hostile_text_is_cut_and_cannot_keep_us_busy(piece: str) -> None:
    assert len(scrub(piece * 100_000)) <= 2000


SECRETS = st.text("abcdefXYZ0189+/=_-", min_size=8, max_size=40).map(lambda text: "canary" + text)
PLACES = st.sampled_from(
    [
        "Authorization: Bearer {}",
        "authorization: Basic {}",
        "http://u:{}@h/",
        "/path?k={}",
        "Bearer {}",
        'api_key = "{}"',
        "access_token={}&x=1",
        "Cookie: s={}",
        "Bearer token: {}",
        "Bearer Bearer {}",
        "api-key: Basic {}",
        "('authorization', 'Bearer {}')",
    ]
)


@given(PLACES, SECRETS, st.text(max_size=20), st.text(max_size=20))
@example("Bearer {}", "canary00000000", "BEARER", "")
@example("Bearer {}", "canary00000000", "token=", "")
@example("access_token={}", "canary00000000", "basic bearer", "")
def test_a_secret_in_a_known_place_is_never_shown(place: str, secret: str, before: str, after: str) -> None:
    assert "canary" not in scrub(f"{before} {place.format(secret)} {after}")
