"""What is true of every target, whatever is sent."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.admission.target import Target, has_dot_segment, parse_target
from sidecar.core.admission.target_verdict import Route
from sidecar.core.client_id import ClientIdRules, is_version
from sidecar.core.errors import ErrorCode, SidecarError

RULES = ClientIdRules("acme", ("{ClientId}", "_"))


def parse(raw: str, method: str = "GET", rules: ClientIdRules = RULES) -> Target:
    return parse_target(method, raw, rules)


def refusal(raw: str, method: str = "GET") -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        parse(raw, method)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "/",
                "/",
                "/",
                ".",
                "..",
                "%2e",
                "%2E",
                "%2f",
                "%5c",
                "%25",
                "%c0%ae",
                "%00",
                "%",
                "%74",
                ";",
                "?",
                "=",
                "&",
            ),
            *(
                "oauth",
                "token",
                "OAuth",
                "embedded",
                "recipient",
                "v2.01",
                "V2_01",
                "_",
                "{ClientId}",
                "%7BClientId%7D",
            ),
            *("a", "@", "\\", "#", " ", "é", "\x00", "\udc80"),
        ]
    ),
    max_size=12,
)
TARGETS = PIECES.map(lambda pieces: "/" + "".join(pieces)) | st.text(max_size=30).map(lambda text: "/" + text)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"])


def attempt(method: str, raw: str) -> Target | None:
    try:
        return parse(raw, method)
    except SidecarError:
        return None


@given(METHODS, TARGETS)
def test_whatever_is_sent_is_forwarded_or_a_bad_request(method: str, raw: str) -> None:
    if attempt(method, raw) is None:
        refusal(raw, method)


@given(METHODS, TARGETS)
@example("GET", "/v2.01/_/a//b%2fc?x=1")
def test_an_accepted_target_differs_in_the_swapped_segment_only(method: str, raw: str) -> None:
    target = attempt(method, raw)
    if target is None or target.raw == raw.encode():
        return
    before, after = raw.split("/", 3), target.raw.decode().split("/", 3)
    assert is_version(unquote_to_bytes(before[1]).decode())
    sent, mark, query = before[2].partition("?")
    assert unquote_to_bytes(sent) in {b"_", b"{ClientId}"}
    assert after == [*before[:2], "acme" + mark + query, *before[3:]]


@given(METHODS, TARGETS)
def test_an_accepted_target_has_no_dot_segment_and_no_forbidden_byte(method: str, raw: str) -> None:
    target = attempt(method, raw)
    if target is None:
        return
    path = target.raw.partition(b"?")[0]
    for decoded in (path, unquote_to_bytes(path)):
        assert not {b".", b".."} & set(decoded.replace(b"\\", b"/").split(b"/"))
    assert all(0x20 < byte < 0x7F for byte in target.raw)
    assert not set(b"\\#") & set(target.raw)
    assert target.raw.startswith(b"/")
    assert not target.raw.startswith(b"//")


@given(METHODS, TARGETS)
def test_nothing_forwarded_with_the_main_token_decodes_to_the_token_path(method: str, raw: str) -> None:
    target = attempt(method, raw)
    if target is None or target.route is not Route.API:
        return
    path = target.path.encode()
    for _ in range(5):
        segments = [segment for segment in path.lower().split(b"/") if segment]
        assert segments[1:3] != [b"oauth", b"token"]
        path = unquote_to_bytes(path)


@given(st.text(alphabet="./%2eE5c;a", max_size=12))
def test_the_quick_look_for_dot_segments_misses_none(tail: str) -> None:
    path = "/" + tail
    naive = {b".", b".."} & set(unquote_to_bytes(path).replace(b"\\", b"/").split(b"/"))
    assert has_dot_segment(path) or not naive
