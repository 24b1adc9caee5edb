"""How the sidecars of one account share one token: who asks for the next one, and what the others do meanwhile.

Each function takes a :class:`~sidecar.core.tokens.shared_document.SharedDocument` and returns
the one to replace it; the same object means that there is nothing to write. The
shell writes it only if nobody else has written since it was read, and asks again
otherwise::

    claim ──► Take     a token that is newer than the one I know
          ──► Paused   nobody may ask now: lockout, refused credentials, back-off
          ──► Await    somebody else asks: look again soon
          ──► Grant    I ask, and hold the lease ──► renew … ──► conclude ──► Take, Paused
                                                             └─► give_back      └─► None: too late

A lease is short, so that a holder that was killed is soon replaced. One that only
stalled is replaced too, and finds at the end that its lease is another's: then its
token is thrown away and the newer one taken. So two tokens never fight.

A process asks for one token at a time, so a new lease ends whatever lease it still
holds: one whose grant it never heard of, or of the key that it used before.

A lockout concerns every part of the document: once its pause is over, one lease is
given for all of them, the probe (contract section 5.6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.core.secret import Secret
from sidecar.core.tokens import state as states
from sidecar.core.tokens.oauth import ELSEWHERE, FetchResult, LockedOut, Pause, Refusal, Refused, Transient
from sidecar.core.tokens.shared_document import CredentialEntry, Lease, SharedDocument, StoredToken, TokenVersion
from sidecar.core.tokens.state import (
    LATCH_RETRY_AFTER_LIMIT,
    LOCKOUT,
    TRANSIENT_RETRY_AFTER_LIMIT,
    Fetch,
    Latch,
    State,
)

#: Seconds without a sign of life after which the one who fetches counts as gone.
LEASE: Final = 5.0
#: Seconds after which nothing in a document matters any more: no token and no latch lasts for longer than a day.
KEPT: Final = 2 * 86_400.0

#: Seconds for which a lease is believed, whatever it says of itself: else what somebody wrote could last for ever.
LONGEST_LEASE: Final = 120.0
#: Seconds by which the store's clock may go back without ending a lease: NTP does that in small steps.
_STEP: Final = 1.0
#: Latches of one part, of client certificates that are in use at the same time.
_MOST_REFUSALS: Final = 8

#: From a token's value, generation and two moments to what the store may see of it.
Seal = Callable[[Secret, int, float, float], Secret]


class ClaimRequest(msgspec.Struct, frozen=True):
    """What one process asks for."""

    #: The part of the document: credential and key.
    part: str
    #: What it would show besides the key, as a fingerprint; empty: nothing.
    certificate_fingerprint: str
    #: Its random name.
    holder: str
    #: The newest token of this part that it knows; it wants another.
    known: TokenVersion | None = None


class Take(msgspec.Struct, frozen=True):
    """Use this token."""

    token: StoredToken
    known: TokenVersion


class Paused(msgspec.Struct, frozen=True):
    """No token request before ``until`` (the store's clock), by anybody."""

    #: :data:`~sidecar.core.tokens.state.LOCKOUT`, a word of ``oauth.Refusal``, or None after a transient failure.
    cause: str | None
    since: float
    until: float
    count: int


class Await(msgspec.Struct, frozen=True):
    """Somebody else asks for a token now."""


class Grant(msgspec.Struct, frozen=True):
    """Ask for a token now, and tell what came of it by :func:`conclude`."""

    request: ClaimRequest
    fence: int


Claim = Take | Paused | Await | Grant


def claim(
    document: SharedDocument, request: ClaimRequest, now: float, lease: float, epoch: str
) -> tuple[SharedDocument, Claim]:
    """Say what ``request`` gets at ``now``.

    A lease lasts ``lease`` seconds; ``epoch`` is a random name for a new part.
    """
    part = document.parts.get(request.part) or CredentialEntry(epoch, touched_at=now)
    known = request.known
    if known is not None and _lags(part, known):
        part = _raised(part, known)
    token = part.token
    is_news = known is None or not _knows(known, part)
    if token is not None and is_news and token.sent_at <= now < token.expires_at:
        return document, Take(token, TokenVersion(part.epoch, part.generation))
    if (pause := _pause(document, part, request.certificate_fingerprint, now)) is not None:
        return document, pause
    if _others_ask(document, request, now):
        return document, Await()
    fence = document.fence + 1
    part = msgspec.structs.replace(
        part,
        touched_at=now,
        token=None if token is not None and now >= token.expires_at else part.token,
        lease=Lease(request.holder, fence, now, now, now + lease, probe=document.lockout is not None),
    )
    parts = {
        name: _released(other, request.holder)
        for name, other in document.parts.items()
        if other.touched_at > now - KEPT
    }
    return SharedDocument(fence, document.lockout, {**parts, request.part: part}), Grant(request, fence)


def renew(document: SharedDocument, grant: Grant, now: float, lease: float) -> tuple[SharedDocument, bool]:
    """Keep the lease for ``lease`` seconds from ``now``; False: it is lost."""
    part = _held(document, grant, now)
    if part is None or part.lease is None:
        return document, False
    renewed = msgspec.structs.replace(part.lease, renewed_at=now, until=now + lease)
    return _with(document, grant, msgspec.structs.replace(part, lease=renewed)), True


def give_back(document: SharedDocument, grant: Grant, now: float) -> tuple[SharedDocument, None]:
    """End the lease without a result: others need not wait until it is over."""
    part = _held(document, grant, now)
    if part is None:
        return document, None
    return _with(document, grant, msgspec.structs.replace(part, lease=None)), None


def conclude(
    document: SharedDocument, grant: Grant, result: FetchResult, now: float, roll: float, seal: Seal
) -> tuple[SharedDocument, Take | Paused | None]:
    """Note what came of the token request; None: the lease is another's, and the result must not be used.

    The moments of ``result`` are the store's; ``roll`` is random, 0 to 1.
    """
    part = _held(document, grant, now)
    if part is None or part.lease is None:
        return document, None
    certificate_fingerprint = grant.request.certificate_fingerprint
    before = State(
        generation=part.generation,
        fetch=Fetch(part.lease.begun_at, key=0, probe=part.lease.probe),
        failures=part.failures,
        lockout=document.lockout,
        refusal=part.refusals.get(certificate_fingerprint),
    )
    after = states.fetch_ended(before, result, now, roll)
    fetched = after.token
    token = part.token
    if fetched is not None:
        sealed = seal(fetched.value, fetched.generation, fetched.sent_at, fetched.expires_at)
        token = StoredToken(sealed, fetched.sent_at, fetched.expires_at)
    part = msgspec.structs.replace(
        part,
        generation=after.generation,
        token=token,
        failures=after.failures,
        retry_at=after.retry_at if after.retry_at > now else None,
        refusals=_refusals(part, certificate_fingerprint, after.refusal),
        lease=None,
    )
    document = msgspec.structs.replace(_with(document, grant, part), lockout=after.lockout)
    if fetched is not None and token is not None:
        return document, Take(token, TokenVersion(part.epoch, part.generation))
    return document, _pause(document, part, certificate_fingerprint, now)


def as_fetch_result(paused: Paused, pause: Pause) -> FetchResult:
    """Return another sidecar's failed fetch as one of our own."""
    if paused.cause is None:
        return Transient("another sidecar got no token (token store)", failure=ELSEWHERE, pause=pause)
    detail = "another sidecar was told so (token store)"
    if paused.cause == LOCKOUT:
        return LockedOut(detail, pause=pause)
    refusal = next((each for each in Refusal if each.value == paused.cause), Refusal.REQUEST)
    return Refused(refusal, detail, pause=pause)


def burn(document: SharedDocument, name: str, known: TokenVersion) -> SharedDocument:
    """See that nobody is given the token ``known`` of the part ``name`` from now on."""
    part = document.parts.get(name)
    if part is None or not (_lags(part, known) or (_knows(known, part) and part.token is not None)):
        return document
    return msgspec.structs.replace(document, parts={**document.parts, name: _raised(part, known)})


def _raised(part: CredentialEntry, known: TokenVersion) -> CredentialEntry:
    """Return the part without its token, as far on as ``known``, which is not behind it."""
    return msgspec.structs.replace(part, generation=known.generation, token=None)


def _knows(known: TokenVersion, part: CredentialEntry) -> bool:
    """Whether the part's newest token is known already."""
    return known.epoch == part.epoch and known.generation >= part.generation


def _lags(part: CredentialEntry, known: TokenVersion) -> bool:
    """Whether the document is older than what is known: its store came back with the state of an earlier day."""
    return known.epoch == part.epoch and known.generation > part.generation


def _pause(document: SharedDocument, part: CredentialEntry, certificate_fingerprint: str, now: float) -> Paused | None:
    for latch in (document.lockout, part.refusals.get(certificate_fingerprint)):
        if latch is not None and _is_ahead(latch.until, now, LATCH_RETRY_AFTER_LIMIT):
            return Paused(latch.cause, latch.since, latch.until, latch.count)
    if part.retry_at is not None and _is_ahead(part.retry_at, now, TRANSIENT_RETRY_AFTER_LIMIT):
        return Paused(None, now, part.retry_at, part.failures)
    return None


def _is_ahead(moment: float, now: float, limit: float) -> bool:
    """Whether ``moment`` is to come; no pause is longer than ``limit``, unless the clock was set back meanwhile."""
    return now < moment <= now + limit


def _others_ask(document: SharedDocument, request: ClaimRequest, now: float) -> bool:
    """Whether a lease keeps ``request`` from getting one: that of its part, or after a lockout that of any."""
    names = document.parts if document.lockout is not None else (request.part,)
    leases = (document.parts[name].lease for name in names if name in document.parts)
    return any(lease is not None and lease.holder != request.holder and _is_live(lease, now) for lease in leases)


def _released(part: CredentialEntry, holder: str) -> CredentialEntry:
    """Return the part without a lease of ``holder``'s, which nobody renews or concludes any more."""
    lease = part.lease
    return part if lease is None or lease.holder != holder else msgspec.structs.replace(part, lease=None)


def _is_live(lease: Lease, now: float) -> bool:
    return lease.renewed_at - _STEP <= now < lease.until <= lease.renewed_at + LONGEST_LEASE


def _held(document: SharedDocument, grant: Grant, now: float) -> CredentialEntry | None:
    """Return the part whose lease ``grant`` is; None if it was over and somebody else has got one since."""
    part = document.parts.get(grant.request.part)
    lease = None if part is None else part.lease
    if lease is None or (lease.holder, lease.fence) != (grant.request.holder, grant.fence):
        return None
    # A probe may have been followed by one for another part, which left this one's lease alone.
    return part if _is_live(lease, now) or not _others_ask(document, grant.request, now) else None


def _with(document: SharedDocument, grant: Grant, part: CredentialEntry) -> SharedDocument:
    return msgspec.structs.replace(document, parts={**document.parts, grant.request.part: part})


def _refusals(part: CredentialEntry, certificate_fingerprint: str, refusal: Latch | None) -> dict[str, Latch]:
    others = [(name, latch) for name, latch in part.refusals.items() if name != certificate_fingerprint]
    if refusal is None:
        return dict(others)
    others.sort(key=lambda each: each[1].until, reverse=True)
    return {**dict(others[: _MOST_REFUSALS - 1]), certificate_fingerprint: refusal}
