"""Callers: who may use a sidecar that has a caller key."""

from __future__ import annotations

import gc
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import HttpVersion11
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.admission.caller import LIFETIME, Callers
from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.secret import Secret
from sidecar.downstream.request import CallerRequest
from sidecar.proxy.local_token import LocalTokens

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders

KEY = "a-long:caller-key é"
NOW = 1_700_000_000.0
CALLERS = Callers(Secret(KEY))
ANYBODY = Callers(None)


def basic(password: str, user: str = "any", scheme: str = "Basic") -> RawHeaders:
    credentials = b64encode(f"{user}:{password}".encode())
    return ((b"Authorization", scheme.encode() + b" " + credentials),)


def authorization(value: str) -> RawHeaders:
    return ((b"authorization", value.encode()),)


def turned_away(raw: RawHeaders, callers: Callers = CALLERS, now: float = NOW) -> str:
    with pytest.raises(SidecarError) as caught:
        callers.check_call(raw, lambda: now)
    assert caught.value.code is ErrorCode.CALLER_NOT_ALLOWED
    return caught.value.message


# --- without a key


@pytest.mark.parametrize("raw", [(), authorization("Bearer x"), basic("x"), authorization("a") * 2])
def test_without_a_key_every_caller_is_welcome(raw: RawHeaders) -> None:
    ANYBODY.check_call(raw, lambda: NOW)
    ANYBODY.check_token_call(raw)


def test_without_a_key_a_bearer_is_a_placeholder() -> None:
    assert ANYBODY.issue(NOW, "n0nce-_") == "sidecar_n0nce-_"


def test_whether_a_key_is_needed_is_said() -> None:
    assert Callers(Secret(KEY)).needs_key
    assert not Callers(None).needs_key


def test_an_empty_key_is_no_key_and_no_mistake_passes_for_one() -> None:
    with pytest.raises(ValueError, match="everybody"):
        Callers(Secret(""))


# --- the token path


@pytest.mark.parametrize("user", ["any", "", "real-client", "é"])
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_basic_with_the_key_as_password_gets_a_token(user: str, scheme: str) -> None:
    CALLERS.check_token_call(basic(KEY, user, scheme))


BAD_BASICS = [
    (),
    basic(""),
    basic("wrong"),
    basic(KEY + "x"),
    basic(KEY[:-1]),
    basic(KEY.upper()),
    basic("x:" + KEY),
    basic(KEY.partition(":")[2], user=KEY.partition(":")[0] + "x"),
    authorization("Basic " + b64encode(KEY.partition(":")[0].encode()).decode()),
    authorization("Basic"),
    authorization("Basic "),
    authorization("Basic ***"),
    authorization("Basic \t" + b64encode(f"u:{KEY}".encode()).decode()),
    authorization("Basic " + b64encode(f"u:{KEY}".encode()).decode() + "!"),
    authorization("Basic " + b64encode(f"uu:{KEY}".encode()).decode().rstrip("=") + "===="),
    authorization("Basic=" + b64encode(f"u:{KEY}".encode()).decode()),
    authorization(b64encode(f"u:{KEY}".encode()).decode()),
    authorization(KEY),
    authorization("Digest " + KEY),
    basic(KEY, scheme="Digest"),
    basic(KEY, scheme="Bearer"),
    basic(KEY, scheme="Basic,"),
    authorization("Bearer " + KEY),
    authorization(""),
    basic(KEY) + basic(KEY),
    basic(KEY) + authorization(""),
    ((b"X-Authorization", b"Basic " + b64encode(f"u:{KEY}".encode())),),
    ((b"Proxy-Authorization", b"Basic " + b64encode(f"u:{KEY}".encode())),),
]


@pytest.mark.parametrize("raw", BAD_BASICS)
def test_all_else_gets_no_token_and_no_call(raw: RawHeaders) -> None:
    with pytest.raises(SidecarError) as caught:
        CALLERS.check_token_call(raw)
    assert caught.value.code is ErrorCode.CALLER_NOT_ALLOWED
    turned_away(raw)


def test_the_whole_password_after_the_first_colon_counts() -> None:
    Callers(Secret("b:c")).check_token_call(basic("b:c", user="a"))


def test_a_key_without_a_colon_is_no_credentials() -> None:
    """Base64 of the bare key has no user name, so it is not what RFC 7617 calls credentials."""
    callers = Callers(Secret("plain"))
    assert turned_away(authorization("Basic " + b64encode(b"plain").decode()), callers)
    assert turned_away(authorization("Basic " + b64encode(b"").decode()), callers)


def test_a_bearer_buys_no_other_bearer() -> None:
    bearer = CALLERS.issue(NOW, "n")
    with pytest.raises(SidecarError):
        CALLERS.check_token_call(authorization(f"Bearer {bearer}"))


# --- other calls


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_of_ours_is_let_in(scheme: str) -> None:
    CALLERS.check_call(authorization(f"{scheme} {CALLERS.issue(NOW, 'n')}"), lambda: NOW)


def test_basic_with_the_key_is_let_in() -> None:
    CALLERS.check_call(basic(KEY), lambda: NOW)


def test_there_may_be_more_than_one_space_behind_the_scheme() -> None:
    """RFC 9110 section 11.4."""
    CALLERS.check_call(authorization(f"Basic  {b64encode(f'u:{KEY}'.encode()).decode()} "), lambda: NOW)
    CALLERS.check_call(authorization(f"Bearer   {CALLERS.issue(NOW, 'n')}"), lambda: NOW)


def test_a_bearer_says_how_long_it_is_good() -> None:
    assert re.fullmatch(r"sidecar_1700003600\.n-_1\.[\w-]{43}", CALLERS.issue(NOW, "n-_1"))
    assert LIFETIME == 3600


def test_two_nonces_give_two_bearers() -> None:
    assert CALLERS.issue(NOW, "a") != CALLERS.issue(NOW, "b")


@pytest.mark.parametrize("fresh", [True, False], ids=["not seen before", "seen before"])
def test_a_bearer_ends_with_its_hour(fresh: bool) -> None:
    callers = Callers(Secret(KEY))
    raw = authorization("Bearer " + callers.issue(NOW, "n"))
    if not fresh:
        callers.check_call(raw, lambda: NOW)
    callers.check_call(raw, lambda: NOW + 3599.9)
    turned_away(raw, Callers(Secret(KEY)) if fresh else callers, NOW + 3600)


def test_a_bearer_outlives_a_restart_and_is_good_in_every_replica() -> None:
    Callers(Secret(KEY)).check_call(authorization("Bearer " + CALLERS.issue(NOW, "n")), lambda: NOW)


def test_a_bearer_of_another_key_is_turned_away() -> None:
    turned_away(authorization("Bearer " + Callers(Secret("other")).issue(NOW, "n")))


def test_a_placeholder_is_turned_away() -> None:
    turned_away(authorization("Bearer " + ANYBODY.issue(NOW, "n")))


def test_a_changed_bearer_is_turned_away() -> None:
    bearer = CALLERS.issue(NOW, "nonce")
    CALLERS.check_call(authorization(f"Bearer {bearer}"), lambda: NOW)
    for place in range(len(bearer)):
        # The last base64 character has two bits that mean nothing: text is compared, so these count too.
        for other in ("A", "B", "."):
            changed = bearer[:place] + other + bearer[place + 1 :]
            if changed != bearer:
                turned_away(authorization(f"Bearer {changed}"))


@pytest.mark.parametrize(
    "make",
    [
        lambda bearer: bearer + "=",
        lambda bearer: bearer + "x",
        lambda bearer: bearer[:-1],
        lambda bearer: bearer + ".",
        lambda bearer: "x" + bearer,
        lambda bearer: bearer.replace("sidecar_", ""),
        lambda bearer: bearer.replace("sidecar_17", "sidecar_99"),
        lambda bearer: bearer.replace("sidecar_", "sidecar_0"),
        lambda bearer: bearer.rpartition(".")[0],
        lambda bearer: bearer.rpartition(".")[0] + ".",
        lambda bearer: "." + bearer.rpartition(".")[2],
        lambda _: "",
        lambda _: ".",
        lambda _: "..",
        lambda _: "é",
        lambda bearer: f"{bearer} {bearer}",
        lambda bearer: f"{bearer}, Bearer {bearer}",
    ],
)
def test_a_forged_bearer_is_turned_away(make: object) -> None:
    assert callable(make)
    turned_away(authorization(f"Bearer {make(CALLERS.issue(NOW, 'nonce'))}"))


def test_two_authorization_headers_are_turned_away_even_if_both_are_good() -> None:
    raw = authorization("Bearer " + CALLERS.issue(NOW, "n"))
    turned_away(raw + raw)
    turned_away(raw + basic(KEY))


def test_remembering_good_bearers_is_bounded() -> None:
    callers = Callers(Secret(KEY))
    bearers = [callers.issue(NOW, str(number)) for number in range(600)]
    for bearer in bearers:
        callers.check_call(authorization(f"Bearer {bearer}"), lambda: NOW)
        assert len(callers._verified) <= 256
    callers.check_call(authorization(f"Bearer {bearers[0]}"), lambda: NOW)


def test_bad_bearers_are_not_remembered() -> None:
    callers = Callers(Secret(KEY))
    turned_away(authorization("Bearer x"), callers)
    turned_away(authorization("Bearer " + callers.issue(NOW - 7200, "n")), callers)
    turned_away(authorization("Bearer " + callers.issue(NOW - LIFETIME, "n")), callers)
    assert not callers._verified


def test_a_bearer_that_has_passed_is_known_until_its_end() -> None:
    callers = Callers(Secret(KEY))
    bearer = callers.issue(NOW, "n")
    callers.check_call(authorization(f"Bearer {bearer}"), lambda: NOW)
    assert callers._verified == {bearer.encode(): int(NOW) + LIFETIME}
    callers._verified[b"known"] = int(NOW) + LIFETIME  # no signature is looked for in it any more
    known = authorization("Bearer known")
    callers.check_call(known, lambda: NOW + 3599)
    turned_away(known, callers, NOW + 3600)


# --- nothing is given away


def test_every_refusal_says_the_same() -> None:
    bearer = CALLERS.issue(NOW - 7200, "n")
    messages = {turned_away(raw) for raw in (*BAD_BASICS, authorization("Bearer x"), authorization(f"Bearer {bearer}"))}
    assert len(messages) == 1
    assert "SIDECAR_LISTEN_CALLER_KEY" in messages.pop()


def test_the_key_shows_nowhere() -> None:
    assert KEY not in repr(CALLERS)
    with pytest.raises(SidecarError) as caught:
        CALLERS.check_call(authorization("Basic \xff"), lambda: NOW)
    error = caught.value
    assert KEY not in str((str(error), repr(error), error.detail, error.__cause__, error.__context__))
    assert KEY.encode() not in gc.get_referents(CALLERS)


def test_neither_what_a_caller_proves_nor_what_it_gets_shows_in_a_repr() -> None:
    nothing: Any = None
    request = CallerRequest(
        "POST", "/v2.01/acme?canary", HttpVersion11, authorization("Basic canary"), content=nothing, connection=nothing
    )
    response = LocalTokens(CALLERS).response(wall=NOW, keep_alive=True)
    assert "canary" not in repr(request)
    assert "sidecar_" not in repr(response)
    assert b"sidecar_" in response.body


@pytest.mark.parametrize("nonce", ["", "a.b", "a b", "a\n", "é", "a/b", "a="])
def test_a_nonce_that_could_confuse_a_reader_is_refused(nonce: str) -> None:
    for callers in (CALLERS, ANYBODY):
        with pytest.raises(ValueError, match="nonce"):
            callers.issue(NOW, nonce)


@given(st.binary(max_size=60))
def test_nobody_guesses_a_way_in(credentials: bytes) -> None:
    for scheme in (b"Bearer ", b"Basic ", b""):
        with pytest.raises(SidecarError):
            CALLERS.check_call(((b"Authorization", scheme + credentials),), lambda: NOW)


@given(st.floats(0, 4e9), st.text("0123456789abcXYZ-_", min_size=1, max_size=30))
def test_every_issued_bearer_is_accepted_for_its_hour_and_no_longer(issued: float, nonce: str) -> None:
    raw = authorization("Bearer " + CALLERS.issue(issued, nonce))
    CALLERS.check_call(raw, lambda: issued)
    CALLERS.check_call(raw, lambda: issued + 3599.9)
    turned_away(raw, now=issued + 3601)
