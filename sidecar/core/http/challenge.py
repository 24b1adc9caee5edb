"""What a 401's challenge says: renew the token, or let the user authenticate.

Mangopay answers 401 for two unrelated reasons. An expired or revoked token is
ours to replace. Strong customer authentication (SCA) is the user's: the token is
fine, and the response carries ``WWW-Authenticate: PendingUserAction
RedirectUrl=…`` (Mangopay guide "SCA").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders


def is_sca_challenge(raw_headers: RawHeaders) -> bool:
    """Whether a ``WWW-Authenticate`` line asks for the user's own authentication."""
    return any(
        len(name) == 16 and name.lower() == b"www-authenticate" and b"pendinguseraction" in value.lower()
        for name, value in raw_headers
    )
