"""A token source that asks a store first, and Mangopay only if nobody else has or does.

What may be done is decided in :mod:`sidecar.core.tokens.shared_token`, as functions from one document to the next;
here is what takes time. The manager knows nothing of it: to it this is a fetcher. Its generations are its own, and
this source remembers which token of the store it handed out last, and asks for a newer one.

**One fetch**, which the manager never begins twice at once::

    claim ──► Take    the store has a newer token: open it, hand it out
          ──► Paused  somebody was refused or failed: so are we, until then
          ──► Await   somebody else asks Mangopay: look again soon, more and more seldom
          ──► Grant   we ask, and hold the lease:

    lease kept by a task ──► Mangopay's response ──► conclude ──► the store has it: hand it out
                                                          └────► the lease is another's: claim once more

**A result that came too late** (its lease had ended, because this process was stopped or the request took long) is not
handed out while there may be a newer token: the next claim says so. If that claim is granted again, nobody has asked
since: a refusal stands, and is concluded with the new lease; a second lost lease means that the store forgets, so the
token is used alone. So is what came, token or refusal, if the store is gone by then: Mangopay has been asked.

**Without the store.** A call never waits for it: it uses the token in the manager's memory. A refresh does, for a
random part of the time that the token in use still has (:meth:`SharedSource._patience`), so that a fleet whose store is
gone for some seconds does not ask Mangopay all at once. Then, or at once if there is no token in use, it asks Mangopay
alone: such a token is not in the store, so ``_current`` is None. If the store was told of it all the same, and only its
reply was lost, the next claim finds it there: then it is no newer one, and burnt if it was burnt meanwhile (``_own``).

**Burnt tokens.** A token that met a 401 is remembered in ``_burnt`` until the store was told. Each claim tells it, and
if none comes a task does after ``_TELLING`` seconds, or once the store is back. Until then others may get the token
from the store, and learn from a 401 of their own.

**Keys and certificates change** while a fetch is under way. Each claim reads them anew; a key has a part of the
document of its own, and a result is concluded for the key that it was asked with.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec
import structlog
from msgspec.structs import replace

from sidecar.core.tokens.oauth import ELSEWHERE, LONGEST_LIFE, Fetched, FetchResult, Pause, Transient, is_access_token
from sidecar.core.tokens.shared_document import SharedDocument, StoreTime, TokenVersion, certificate_name, entry_name
from sidecar.core.tokens.shared_token import (
    LEASE,
    Await,
    Claim,
    ClaimRequest,
    Grant,
    Paused,
    Take,
    as_fetch_result,
    burn,
    claim,
    conclude,
    give_back,
    renew,
)
from sidecar.core.tokens.state import hard_window
from sidecar.tokens.notifier import Notifier
from sidecar.tokens.stores.sealing import token_context
from sidecar.tokens.stores.store import StoreDownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.clock import Clock
    from sidecar.core.secret import Secret
    from sidecar.tokens.stores.sealing import Sealing
    from sidecar.tokens.stores.store import Store

#: Seconds between two looks while somebody else asks for a token: the first, the longest, and how they grow.
_FIRST_LOOK: Final = 0.2
_LAST_LOOK: Final = 1.0
_GROWTH: Final = 1.5
#: A pause that others may be waiting for as well is up to this share longer, and up to so many seconds, so that they
#: do not come all at once. Whoever comes later takes what the first one got.
_SPREAD: Final = 0.1
_SPREAD_LIMIT: Final = 5.0
#: Seconds until a burnt token is told to the store, if no fetch has told it until then.
_TELLING: Final = 0.05

#: Tokens of one's own that are remembered while the store is down: what it may have been told of.
_MOST_OWN: Final = 4

_log = structlog.get_logger()


class TokenFetcher(Protocol):
    """Who asks Mangopay: a fetcher."""

    #: May be replaced at any time.
    api_key: Secret
    #: The client certificate that is shown, or a hash of it; empty: none.
    certificate: bytes

    async def fetch_with(self, api_key: Secret) -> FetchResult:
        """Send one token request with ``api_key``. Failures are results."""
        ...


class _TokenInUse(NamedTuple):
    """A token of the store that was handed out."""

    part: str
    known: TokenVersion
    #: ``Clock.now``; from then on a call waits for the next token.
    hard_at: float


class _Late(msgspec.Struct):
    """What came too late for its lease, and the key and certificate that it was asked with; None: nothing has."""

    result: FetchResult | None = None
    shown: tuple[str, str] | None = None


class SharedSource:
    """What a manager gets tokens from when there is a store."""

    def __init__(
        self,
        credential: str,
        fetcher: TokenFetcher,
        store: Store,
        sealing: Sealing,
        clock: Clock,
        random: Callable[[], float],
        *,
        lease: float = LEASE,
    ) -> None:
        """``credential`` is ``api`` or ``embedded``; ``random`` gives numbers from 0 to 1; ``lease`` in seconds."""
        self._credential: Final = credential
        self._fetcher: Final = fetcher
        self._store: Final = store
        self._sealing: Final = sealing
        self._clock: Final = clock
        self._random: Final = random
        self._lease: Final = lease
        self._holder: Final = _random_name()
        #: Handed out last, of each part: a key that comes back finds its own again.
        self._held: dict[str, TokenVersion] = {}
        #: The token in use; None: it is not of the store, or burnt.
        self._current: _TokenInUse | None = None
        #: Tokens that were handed out and are not of the store, as far as is known here, the newest last; and whether
        #: each is burnt.
        self._own: dict[Secret, bool] = {}
        #: Burnt tokens that the store has not been told of.
        self._burnt: set[tuple[str, TokenVersion]] = set()
        #: Notified when the store is back, or when it is too late to wait for it.
        self._hurry: Final = Notifier(clock, store.tasks, name=f"store.{credential}.patience")
        store.recovered.append(self._store_is_back)

    async def fetch(self) -> FetchResult:
        """Get a token that was not handed out before: the store's, or a new one."""
        patient_until: float | None = None
        late = _Late()
        key, certificate = self._fetcher.api_key, self._fetcher.certificate
        async with self._store.in_use():
            while True:
                try:
                    return await self._fetch_shared(late)
                except StoreDownError:
                    if late.result is not None:
                        return self._alone(late.result)  # it is known here, if nowhere else: no reason to ask again
                    if patient_until is None:
                        patient_until = self._patience()
                if self._current is None or self._clock.now() >= patient_until:
                    break
                await self._hurry.wait(patient_until)
        if self._fetcher.api_key is not key or self._fetcher.certificate != certificate:
            # The manager counts this fetch to the old ones, and would forget that the new ones were refused.
            changed = "the API key or the certificate changed while the token store was waited for"
            return self._alone(Transient(changed, failure=ELSEWHERE))
        return self._alone(await self._fetcher.fetch_with(key))

    def burnt(self) -> None:
        """Note that the token handed out last must not be used again, by anybody."""
        if self._current is not None:
            self._burnt.add((self._current.part, self._current.known))
            self._current = None
            self._tell_later()
        elif self._own:
            self._own[next(reversed(self._own))] = True
        self._hurry.notify_all()

    # --- with the store ----------------------------------------------------------------------------------------------

    async def _fetch_shared(self, late: _Late) -> FetchResult:
        """Raises StoreDownError; ``late`` then has what came too late."""
        look = _FIRST_LOOK
        while True:
            key, request = self._claim_request()
            claimed, time = await self._claim(request)
            match claimed:
                case Take():
                    if (taken := self._taken(claimed, request, key, time)) is not None:
                        return taken
                case Paused():
                    return self._while_paused(claimed, late.result, time)
                case Grant() if late.result is not None and not isinstance(late.result, Fetched):
                    # Nobody has asked since, and to ask again at once would make a refusal worse.
                    return await self._tell_late(claimed, key, late.result, late.shown)
                case Grant():
                    result, told_in_time = await self._ask(claimed, key)
                    if told_in_time:
                        return result
                    if late.result is not None:
                        # The lease was lost twice: the store forgets what it is told.
                        return self._alone(result)
                    late.result, late.shown = result, _shown(request)
                case Await():
                    pause = look * (0.5 + self._random())
                    look = min(look * _GROWTH, _LAST_LOOK)
                    await self._clock.sleep_until(self._clock.now() + pause)

    def _while_paused(self, paused: Paused, late: FetchResult | None, time: StoreTime) -> FetchResult:
        """Return the token that came too ``late``, if one did; else why for now nobody asks."""
        if isinstance(late, Fetched):
            return self._alone(late)  # nobody has got a newer one
        return as_fetch_result(paused, self._pause(paused, time, spread=True))

    def _claim_request(self) -> tuple[Secret, ClaimRequest]:
        """Say what to ask for, and with which key: it may have changed since the last time."""
        key, certificate, name = self._fetcher.api_key, self._fetcher.certificate, self._store.name
        part = entry_name(name, self._credential, key)
        return key, ClaimRequest(part, certificate_name(name, certificate), self._holder, self._held.get(part))

    async def _claim(self, request: ClaimRequest) -> tuple[Claim, StoreTime]:
        epoch, burnt = _random_name(), frozenset(self._burnt)

        def decide(document: SharedDocument, time: StoreTime) -> tuple[SharedDocument, Claim]:
            return claim(_burn_all(document, burnt), request, time.now, self._lease, epoch)

        said = await self._store.change(decide)
        self._burnt -= burnt
        return said

    def _taken(self, take: Take, request: ClaimRequest, key: Secret, time: StoreTime) -> Fetched | None:
        """Return the token of the store; None if it is not to be used."""
        token = take.token
        context = self._context(take.known.generation, token.sent_at, token.expires_at)
        value = self._sealing.open(key, context, token.value)
        if value is None or not is_access_token(value.reveal()):
            _log.warning(
                "store.token_unreadable",
                credential=self._credential,
                message="a token in the store was not put there as it is now: it is thrown away, and a new one fetched",
            )
            self._held[request.part] = take.known
            self._burnt.add((request.part, take.known))
            return None
        life = min(token.expires_at - token.sent_at, LONGEST_LIFE)
        fetched = Fetched(value, life, time.earliest(token.sent_at), shared=True)
        is_burnt = self._own.get(value)
        self._hold(request, take.known, fetched)
        if is_burnt is not None:  # handed out before: the claim after this one asks for a newer one
            if is_burnt:
                self.burnt()
            return None
        return fetched if fetched.sent_at + life > self._clock.now() else None

    def _hold(self, request: ClaimRequest, known: TokenVersion, fetched: Fetched) -> None:
        self._held[request.part] = known
        self._own.clear()
        hard_at = fetched.sent_at + fetched.expires_in - hard_window(fetched.expires_in)
        self._current = _TokenInUse(request.part, known, hard_at)

    def _context(self, generation: int, sent_at: float, expires_at: float) -> bytes:
        return token_context(self._store.name, self._credential, generation, sent_at, expires_at)

    # --- our own request ---------------------------------------------------------------------------------------------

    async def _ask(self, grant: Grant, key: Secret) -> tuple[FetchResult, bool]:
        """Ask Mangopay for a token and tell the store; return what came, and False if that was too late."""
        renewal = self._store.tasks.spawn(self._keep(grant), name=f"store.{self._credential}.lease")
        try:
            result = await self._fetcher.fetch_with(key)
            renewal.cancel()
            try:
                concluded = await self._conclude(grant, key, result)
            except StoreDownError:
                return self._alone(result), True
        except BaseException:
            # Closing, or a bug: either way nobody has to wait until the lease is over.
            renewal.cancel()
            await self._give_back(grant)
            raise
        return (result, False) if concluded is None else (concluded, True)

    async def _tell_late(
        self, grant: Grant, key: Secret, result: FetchResult, shown: tuple[str, str] | None
    ) -> FetchResult:
        """Tell the store of a refusal whose lease was lost, with the lease that ``grant`` is for the next request."""
        if _shown(grant.request) != shown:
            await self._give_back(grant)  # it is for a new key or certificate, of which nothing is known
            return self._alone(result)
        try:
            concluded = await self._conclude(grant, key, result)
        except StoreDownError:
            concluded = None
        return self._alone(result) if concluded is None else concluded

    def _alone(self, result: FetchResult) -> FetchResult:
        """Return ``result``, which the store does not know: if it is burnt, no other sidecar is told.

        The token in use goes on in use if no other came.
        """
        if isinstance(result, Fetched):
            self._current = None
            self._own.pop(result.value, None)
            if len(self._own) == _MOST_OWN:
                del self._own[next(iter(self._own))]
            self._own[result.value] = False
        return result

    async def _conclude(self, grant: Grant, key: Secret, result: FetchResult) -> FetchResult | None:
        roll = self._random()

        def seal(value: Secret, generation: int, sent_at: float, expires_at: float) -> Secret:
            return self._sealing.seal(key, self._context(generation, sent_at, expires_at), value)

        def decide(document: SharedDocument, time: StoreTime) -> tuple[SharedDocument, Take | Paused | None]:
            stored = replace(result, sent_at=time.stored(result.sent_at)) if isinstance(result, Fetched) else result
            return conclude(document, grant, stored, time.now, roll, seal)

        said, time = await self._store.change(decide, insist=True)
        if said is None:
            _log.warning(
                "store.lease_lost",
                credential=self._credential,
                message="the token request took too long, this process was stopped, or the store lost its data: "
                "another sidecar's token is used if there is one",
            )
            return None
        if isinstance(said, Take):
            assert isinstance(result, Fetched)  # noqa: S101 - nothing else makes a token
            self._hold(grant.request, said.known, result)
            return result
        pause = self._pause(said, time, spread=False)
        if isinstance(result, Fetched):
            return Transient("the token had expired when it arrived", failure=ELSEWHERE, pause=pause)
        return replace(result, pause=pause)

    async def _keep(self, grant: Grant) -> None:
        """Renew the lease until it is lost, or the store is."""
        held = True
        while held:
            await self._clock.sleep_until(self._clock.now() + self._lease / 3)
            try:
                held, _ = await self._store.change(
                    lambda document, time: renew(document, grant, time.now, self._lease), insist=True
                )
            except StoreDownError:
                continue  # the request goes on; perhaps the store is back before the lease is over

    async def _give_back(self, grant: Grant) -> None:
        try:
            await self._store.change(lambda document, time: give_back(document, grant, time.now))
        except StoreDownError:
            return

    # --- burnt tokens ------------------------------------------------------------------------------------------------

    def _store_is_back(self) -> None:
        self._tell_later()
        self._hurry.notify_all()

    def _tell_later(self) -> None:
        if self._burnt:
            self._store.tasks.spawn(self._tell(), name=f"store.{self._credential}.burn")

    async def _tell(self) -> None:
        await self._clock.sleep_until(self._clock.now() + _TELLING)
        if not self._burnt:
            return
        burnt = frozenset(self._burnt)
        try:
            await self._store.change(lambda document, _: (_burn_all(document, burnt), None))
        except StoreDownError:
            return  # told when it is back
        self._burnt -= burnt

    # --- pauses ------------------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Return how long to wait for a store that is down (``Clock.now``) while the token in use is still good.

        A store is often gone for some seconds only. Each sidecar of a fleet waits
        for a random part of what it can, so that they do not all ask at once.
        """
        now = self._clock.now()
        return now if self._current is None else now + self._random() * max(self._current.hard_at - now, 0.0)

    def _pause(self, paused: Paused, time: StoreTime, *, spread: bool) -> Pause:
        until = time.latest(paused.until)
        if spread:
            until += min(max(until - self._clock.now(), 0.0) * _SPREAD, _SPREAD_LIMIT) * self._random()
        return Pause(time.latest(paused.since), until, paused.count)


def _burn_all(document: SharedDocument, burnt: frozenset[tuple[str, TokenVersion]]) -> SharedDocument:
    for part, known in burnt:
        document = burn(document, part, known)
    return document


def _shown(request: ClaimRequest) -> tuple[str, str]:
    """Return what stands for the key and the certificate that a request shows."""
    return request.part, request.certificate_fingerprint


def _random_name() -> str:
    return os.urandom(8).hex()
