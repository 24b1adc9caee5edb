"""What the sidecars of one account tell each other through a store: one small document.

::

    Document ─┬─ lockout                the account's (contract section 5.6)
              ├─ fence                  counts the leases ever given
              └─ parts, one for each credential and key
                   ├─ generation        of the newest token ever fetched; it only grows
                   ├─ token             never a burnt one
                   ├─ failures, retry_at, refusals     back-off and latches
                   └─ lease             who fetches now

A key that rotates through a fleet gets a part of its own, so that old and new
sidecars never fight over one token. Moments are seconds of the *store's* clock:
the only one that all of them see. What may be done with a document is decided in
:mod:`sidecar.core.tokens.shared_token`.
"""

import hmac
from typing import Annotated, Final, NamedTuple

import msgspec

from sidecar.core.secret import Secret
from sidecar.core.tokens.state import Latch

#: Part of each document's name, so that sidecars whose documents differ in form use different ones.
VERSION: Final = 1
#: Bytes. A token has at most 64 KiB, sealed a third more, and two keys of two credentials may be in use.
LONGEST: Final = 512 * 1024

_Count = Annotated[int, msgspec.Meta(ge=0)]


class StoredToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An access token as the store holds it: sealed, or plain where only its owner can read the store."""

    value: Secret
    sent_at: float
    expires_at: float


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A permit to send a token request, for a few seconds; renewed while the request is on its way."""

    #: A random name of the one who fetches.
    holder: str
    #: Of all leases of this document the only one with this number: what a holder concludes later is refused.
    fence: _Count
    begun_at: float
    renewed_at: float
    until: float
    #: It tries whether the lockout is over.
    probe: bool = False


class CredentialEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One credential with one key: what the functions here and the stored JSON call a *part*."""

    #: A random name: of another part, or of one that was lost with its store, generations mean nothing.
    epoch: str
    #: Of the last lease.
    touched_at: float
    generation: _Count = 0
    #: Of ``generation``; None once that is burnt.
    token: StoredToken | None = None
    failures: _Count = 0
    retry_at: float | None = None
    #: Latches of refused credentials, by what was shown besides the key (a client certificate).
    refusals: dict[str, Latch] = {}
    lease: Lease | None = None


class SharedDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of one account."""

    fence: _Count = 0
    lockout: Latch | None = None
    parts: dict[str, CredentialEntry] = {}


class TokenVersion(NamedTuple):
    """A token of a part, by its number."""

    epoch: str
    generation: int


class StoreTime(msgspec.Struct, frozen=True):
    """The store's clock, read between two moments of this process's: how one is told in the other.

    Which moment between the two it was is not known. So there are two ways to translate, and each
    caller takes the one that errs on its safe side.
    """

    #: What the store said.
    now: float
    #: ``Clock.now`` when it was asked, and when its reply was there.
    before: float
    after: float

    def earliest(self, moment: float) -> float:
        """Return the first moment of ``Clock.now`` that ``moment`` of the store may be."""
        return self.before + (moment - self.now)

    def latest(self, moment: float) -> float:
        """Return the last moment of ``Clock.now`` that ``moment`` of the store may be."""
        return self.after + (moment - self.now)

    def stored(self, moment: float) -> float:
        """Return the first moment of the store's clock that ``moment`` of ``Clock.now`` may be."""
        return self.now + (moment - self.after)


def document_name(client_id: str, base_url: str) -> str:
    """Return the name that the document of an account has in every store."""
    return f"mangopay-sidecar:{VERSION}:{client_id}:{base_url}"


def entry_name(document: str, credential: str, key: Secret) -> str:
    """Return the name of the part of ``credential`` (``api``, ``embedded``) with an API key."""
    return f"{credential}:{fingerprint(document, key.reveal().encode())}"


def certificate_name(document: str, certificate: bytes) -> str:
    """Return the name of what is shown besides the key: a client certificate, or a hash of it; empty: none."""
    return fingerprint(document, certificate) if certificate else ""


def fingerprint(document: str, secret: bytes) -> str:
    """Return a word that tells values apart and does not reveal them (HMAC-SHA-256, 64 bits of it).

    A value has another fingerprint in each document.
    """
    return hmac.digest(secret, b"mangopay-sidecar fingerprint\0" + document.encode(), "sha256")[:8].hex()


def _to_json(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError


def _from_json(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError


_encode: Final = msgspec.json.Encoder(enc_hook=_to_json).encode
_decode: Final = msgspec.json.Decoder(SharedDocument, dec_hook=_from_json).decode


def write_document(document: SharedDocument) -> bytes:
    """Return ``document`` as JSON."""
    return _encode(document)


def read_document(content: bytes | None) -> SharedDocument:
    """Return what :func:`write_document` wrote; an empty document for None.

    Raises ValueError, with words that repeat nothing of it, for anything else.
    """
    if content is None:
        return SharedDocument()
    if len(content) > LONGEST:
        raise ValueError("it is longer than any that a sidecar writes")
    try:
        return _decode(content)
    except (msgspec.MsgspecError, NotImplementedError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is none that a sidecar wrote") from None
