"""Which callers may use the sidecar, if it asks for a caller key (contract section 4.8).

With a caller key, an SDK proves it in the way it proves its API key to
Mangopay: HTTP Basic at the token path (RFC 6749 section 2.3.1). What it gets
there is a Bearer (RFC 6750) that is good for an hour and that any process with
the same key can verify, so nothing is stored and restarts go unnoticed::

    sidecar_<expiry>.<nonce>.<HMAC-SHA256 of all before the last dot>
"""

from __future__ import annotations

import binascii
import hmac
import math
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final, NoReturn

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http.header_index import RawHeaders, index_of, select

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.secret import Secret

#: Seconds that a Bearer of ours is good for; every official SDK copes with this number.
LIFETIME: Final = 3600

_PREFIX: Final = b"sidecar_"
# One key for each purpose, so that what proves one thing cannot prove another (RFC 5869: info).
_BEARER_PURPOSE: Final = b"mangopay-sidecar: sign caller bearers, 1"
_COMPARE_PURPOSE: Final = b"mangopay-sidecar: compare caller keys, 1"

_NONCE_CHARACTERS: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_")
_BEARERS_KEPT: Final = 256

_AUTHORIZATION: Final = select(lambda name: name.lower() == b"authorization")


class Callers:
    """Issues the Bearers of the local token path and checks what callers present.

    Without a key every caller is welcome and Bearers are mere placeholders.
    """

    __slots__ = ("_bearer_key", "_compare_key", "_expected", "_verified")

    def __init__(self, key: Secret | None) -> None:
        self._bearer_key: bytes | None = None
        self._compare_key = self._expected = b""
        #: Bearers that have passed, with their expiry: most calls repeat one.
        self._verified: dict[bytes, int] = {}
        if key is not None:
            caller_key = key.reveal().encode()
            if not caller_key:
                raise ValueError("an empty caller key would let everybody in")
            self._bearer_key = hmac.digest(caller_key, _BEARER_PURPOSE, "sha256")
            self._compare_key = hmac.digest(caller_key, _COMPARE_PURPOSE, "sha256")
            self._expected = hmac.digest(self._compare_key, caller_key, "sha256")

    @property
    def needs_key(self) -> bool:
        """Whether callers must prove that they have the key."""
        return self._bearer_key is not None

    def issue(self, now_wall: float, nonce: str) -> str:
        """Return an access token for a caller of the local token path.

        ``now_wall`` is in Unix seconds. ``nonce`` makes the token unlike any other: letters, digits, ``-`` and ``_``.

        Raises ValueError: the nonce has other characters.
        """
        if not nonce or not _NONCE_CHARACTERS.issuperset(nonce):
            raise ValueError("a nonce has letters, digits, '-' and '_' only")
        if self._bearer_key is None:
            return (_PREFIX + nonce.encode()).decode()
        payload = b"%b%d.%b" % (_PREFIX, math.ceil(now_wall) + LIFETIME, nonce.encode())
        return (payload + b"." + _signature(self._bearer_key, payload)).decode()

    def check_token_call(self, raw: RawHeaders) -> None:
        """Let a call of the local token path pass: with a key, only Basic credentials whose password it is.

        A Bearer is no proof here: it cannot get another Bearer.

        Raises SidecarError: ``CALLER_NOT_ALLOWED``.
        """
        if self._bearer_key is None:
            return
        scheme, credentials = _credentials(raw)
        if scheme != b"basic" or not self._knows_password(credentials):
            _turn_away()

    def check_call(self, raw: RawHeaders, wall: Callable[[], float]) -> None:
        """Let any other call pass: with a key, only a Bearer of ours or Basic with the key.

        ``wall`` is asked for the time (Unix seconds) where a Bearer has to be valid now.

        Raises SidecarError: ``CALLER_NOT_ALLOWED``.
        """
        if self._bearer_key is None:
            return
        scheme, credentials = _credentials(raw)
        if scheme == b"bearer":
            if self._is_valid_bearer(self._bearer_key, credentials, wall()):
                return
        elif scheme == b"basic" and self._knows_password(credentials):
            return
        _turn_away()

    def _knows_password(self, credentials: bytes) -> bool:
        """Check Basic credentials (RFC 7617): any user name, and the key as all that follows the first colon."""
        try:
            decoded = binascii.a2b_base64(credentials, strict_mode=True)
        except binascii.Error:
            return False
        password = decoded.partition(b":")[2]
        # Digests are compared, so that not even the key's length shows in the time this takes.
        digest = hmac.digest(self._compare_key, password, "sha256")
        return hmac.compare_digest(digest, self._expected)

    def _is_valid_bearer(self, key: bytes, bearer: bytes, now_wall: float) -> bool:
        expiry = self._verified.get(bearer)
        if expiry is None:
            payload, _, signature = bearer.rpartition(b".")
            if not hmac.compare_digest(_signature(key, payload), signature):
                return False
            # Nobody else can sign, so what follows the prefix is the number that issue() wrote.
            expiry = int(payload.removeprefix(_PREFIX).partition(b".")[0])
            if now_wall < expiry:
                self._remember(bearer, expiry)
        return now_wall < expiry

    def _remember(self, bearer: bytes, expiry: int) -> None:
        if len(self._verified) >= _BEARERS_KEPT:
            self._verified.clear()
        self._verified[bearer] = expiry


def _signature(key: bytes, payload: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(key, payload, "sha256")).rstrip(b"=")


def _credentials(raw: RawHeaders) -> tuple[bytes, bytes]:
    """Return scheme (in lower case) and credentials of the one Authorization header, or turn the caller away."""
    values = [raw[index][1] for _, index in index_of(raw)[_AUTHORIZATION]]
    if len(values) != 1:
        _turn_away()
    scheme, _, credentials = values[0].partition(b" ")
    return scheme.lower(), credentials.strip(b" ")


def _turn_away() -> NoReturn:
    # One message for every cause: whoever tries keys learns nothing from it.
    raise SidecarError(
        ErrorCode.CALLER_NOT_ALLOWED,
        "Caller not allowed: give the SDK the sidecar's caller key (SIDECAR_LISTEN_CALLER_KEY) as its API key, with "
        "any client id; a token from here lasts an hour",
    )
