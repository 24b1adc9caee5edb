"""A 401 that asks for the user's authentication is told apart from one about the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.core.http.challenge import is_sca_challenge

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders


@pytest.mark.parametrize(
    "headers",
    [
        ((b"WWW-Authenticate", b"PendingUserAction RedirectUrl=https://sca.example/?x=1"),),
        ((b"www-authenticate", b"pendinguseraction redirecturl=https://sca.example"),),
        ((b"WWW-Authenticate", b"Bearer"), (b"WWW-Authenticate", b"PendingUserAction RedirectUrl=https://a")),
        ((b"WWW-Authenticate", b'Bearer realm="x", PendingUserAction RedirectUrl=https://a'),),
    ],
)
def test_pending_user_action_is_an_sca_challenge(headers: RawHeaders) -> None:
    assert is_sca_challenge(headers)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"WWW-Authenticate", b"Bearer"),),
        ((b"X-Authenticate-Wwww", b"PendingUserAction"),),
        ((b"X-WWW-Authenticat", b"PendingUserAction"),),
        ((b"Content-Type", b"application/json"), (b"WWW-Authenticate", b'Bearer error="invalid_token"')),
    ],
)
def test_anything_else_is_about_the_token(headers: RawHeaders) -> None:
    assert not is_sca_challenge(headers)
