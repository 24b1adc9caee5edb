"""What a token 401 does: which generation it burns, whether it starts a refresh, and whose fault a futile one is.

A 401 can mean that the token was revoked, and then one refresh lets every call
succeed. It can also be the response of one resource, whatever the token; then
each refresh is wasted, and too many of them get the account blocked. Nothing in
the response tells which, so the sidecar learns it from what happens next:

*   A 401 on the current generation **burns** it: that token is never used again,
    and a refresh is asked for. A 401 on an older generation burns nothing: its
    call is resent with the newer token.
*   The 401s that had arrived when the token request was *sent* are the refresh's
    **judges**. It was *useful* if the resend of any judge gets anything but a token
    401, and *futile* if the resends get 401. Later 401s on the old generation are
    resent too, but judge nothing: at a server that ends old tokens whenever it
    issues a new one, the refresh itself would have caused them, and would always
    look useful.
*   A judge that cannot be resent **withdraws**: its caller left, or there was no
    token for too long. If all have withdrawn, the first response to a newer
    generation on one of their paths decides. Until then nothing is held against
    anybody.
*   A futile refresh is the fault of the **paths** whose calls judged it, masked as
    the log masks them. Each such path **pauses**: its 401s start no refresh for
    10 s, doubling to 60 s. A useful refresh forgets all faults. Another response
    than 401 on the path ends its pause, and after the pause's time forgets the
    fault.
*   All other paths may go on, but until the pause's time is over there is a
    **brake**: one refresh in 10 s, counted from when its token request was sent. So
    a bad resource cannot hide a revocation from anybody, and starts no storm, not
    even if its masked path is one that other calls succeed on.
*   Refreshes may overlap: where the API is slow, the token may be revoked again
    before a judge of the last refresh has its response. Each refresh keeps its own
    judges, and its verdict counts whenever it comes.
*   A path that **awaits** the verdict of a refresh of its own is held back alone, for 10 s
    at most: it may be a resource that always says 401, and quick to say so to
    one call while the resend of another takes long. So such a resource costs one
    token request a verdict, however its latency jumps.
*   A path is **proven** by any other response than 401, until a refresh is futile for
    it. Its verdicts may be slow to come only because the API is slower at work than
    at saying 401. So while it awaits a verdict, a proven path may start one more
    refresh for each 0.4 s of silence, up to twelve undecided ones. That ends when a
    resend that judges nothing gets 401 meanwhile: from then on the path waits for
    the verdict, too.
*   A path that a useful refresh has helped is **trusted** for 10 s: three futile refreshes
    are not held against it, and while it awaits a verdict it may start one refresh
    at once. Where tokens are revoked again and again, that is no fault of the path.
*   A futile refresh may have met the next revocation, too. So the verdict on a proven path
    is **open** for once: any other response than 401 to a newer token shows that such
    tokens are good, and then the path is at fault. A useful refresh forgets an open
    verdict, too. Until then the path may start one more refresh, and what is futile
    for it meanwhile is its fault.
*   A token that another sidecar had asked for before the 401 came, and that a
    shared store gave out, may have been revoked with the old one: a 401 on it does not judge the refresh.

A 401 on a resend, or from a path in its pause, burns nothing. Contract sections
5.4 and 5.5. A 401 that asks for the user's own authentication (SCA) is none of
these: :mod:`sidecar.core.http.challenge` tells it apart.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec.structs import replace

from sidecar.core.backoff import Backoff
from sidecar.core.redact import mask_path

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How long a path's 401s start no refresh after the first, second, … of consecutive futile ones (contract section 5.5).
PAUSE: Final = Backoff(first=10.0, limit=60.0)
#: Seconds between two refreshes at least while the brake is on.
BRAKE: Final = 10.0
#: Seconds for which a path is trusted that a refresh has helped.
TRUST: Final = 10.0
#: Futile refreshes that are not held against a trusted path.
EXCUSES: Final = 3
#: Paths that are remembered at most, of each kind; the oldest is forgotten.
MOST_PATHS: Final = 64
#: Proven paths that are remembered at most; masked, the API has not as many.
MOST_PROVEN: Final = 256
#: Seconds between the 401s of one revocation, as the sidecars of a fleet see them: a shared token that is older than
#: this when a 401 comes was not asked for because of the same revocation.
_ONE_REVOCATION: Final = 1.0

#: Undecided refreshes of one proven path at most.
MOST_AWAITED: Final = 12
#: Seconds of silence for each of them after the first.
AWAITED_INTERVAL: Final = 0.4
#: Earlier refreshes that are remembered at most while their judges wait for a response.
MOST_EARLIER: Final = 32

_NEVER: Final = float("-inf")
_Value = TypeVar("_Value")


class Ruling(Enum):
    """What becomes of a call that was answered with a token 401."""

    PASS = "pass"  # noqa: S105 - the caller gets the 401
    RESEND = "resend"  # a newer token is there, or every call needs one
    BURN = "burn"  # as RESEND, and the current generation is never used again


class TokenFacts(msgspec.Struct, frozen=True):
    """What is known of the token when a 401 arrives."""

    #: The newest generation that was ever fetched.
    generation: int
    #: It has been burnt.
    burnt: bool
    #: Its life is over: a new one is needed whatever the 401 means.
    expired: bool
    #: A token request is on its way.
    fetching: bool


class ResendPermit(msgspec.Struct, frozen=True):
    """A permit to resend a call once, with a token newer than ``generation``.

    Whoever has it tells what became of it, by :func:`resent` or :func:`withdrawn`.
    """

    generation: int
    #: Masked.
    path: str
    #: Whether the resend's response tells if the refresh was useful.
    judge: bool


class Stage(Enum):
    """How far a refresh that a 401 caused has got."""

    ASKED = "its token request has not been sent: 401s on the old generation become judges"
    SENT = "its token has not arrived"
    TRIED = "it has, and no judge has been answered"
    FUTILE = "a judge got 401 again"
    USEFUL = "a judge got another response"


class Trial(msgspec.Struct, frozen=True):
    """A refresh that a 401 caused."""

    #: Whose 401 caused it.
    generation: int
    #: When that 401 came.
    begun_at: float
    #: The judges' paths, masked.
    paths: tuple[str, ...]
    #: Judges that have neither been answered nor withdrawn.
    judges: int = 1
    stage: Stage = Stage.ASKED
    #: The judges' paths that it was futile for, masked.
    failed: tuple[str, ...] = ()
    #: The judges' paths, masked, on which a resend that judges nothing has got 401 meanwhile.
    doubted: tuple[str, ...] = ()


class Fault(msgspec.Struct, frozen=True):
    """What is held against one path."""

    #: The trial that it failed last, by its generation.
    trial: int
    #: Consecutive futile refreshes.
    count: int
    #: Of the pause.
    since: float
    until: float
    #: The path may start refreshes again, though the brake is on until ``until``.
    ended: bool

    def pauses(self, now: float) -> bool:
        """Whether 401s from the path start no refresh."""
        return now < self.until and not self.ended


class OpenVerdict(msgspec.Struct, frozen=True):
    """A futile refresh that nothing is held for yet."""

    #: Its trial's.
    generation: int
    #: Masked.
    path: str


class Burns(msgspec.Struct, frozen=True):
    """What 401s have done so far."""

    #: The latest refresh.
    trial: Trial | None = None
    #: Those before it that judges are still waiting for, the oldest first.
    earlier: tuple[Trial, ...] = ()
    #: By masked path, the oldest first.
    faults: Mapping[str, Fault] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    #: Paths that the last useful refreshes helped, with the futile ones that are not held against them any more…
    trusted: Mapping[str, int] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    #: …until this moment.
    trusted_until: float = _NEVER
    #: Paths that have given another response than 401 since a refresh was futile for them, masked, the oldest first.
    proven: Mapping[str, None] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    #: The futile refresh whose verdict is open, with the one path, masked, that it failed.
    open_verdict: OpenVerdict | None = None
    #: When the latest refresh was started in spite of the brake: the latest of the 401 and its token requests.
    braked_at: float = _NEVER


def rule(
    burns: Burns, facts: TokenFacts, generation: int, path: str, now: float
) -> tuple[Burns, Ruling, ResendPermit | None]:
    """Rule on a token 401, not on a resend, that a call with ``generation`` to ``path`` (not masked) got.

    Returns a permit to resend the call unless the ruling is PASS.
    """
    path = mask_path(path)
    if generation > facts.generation:
        return burns, Ruling.PASS, None
    if generation < facts.generation or facts.burnt or facts.expired:
        burns, judge = _joined(burns, generation, path)
        return burns, Ruling.RESEND, ResendPermit(generation, path, judge)
    burns = _first_response(burns, generation, path, now, unauthorized=True)
    if not _may_start(burns, path, now):
        return burns, Ruling.PASS, None
    burns = _counted(burns, now)
    if facts.fetching:
        # That request was not caused by a 401, so nobody judges it: it may itself have ended the token.
        return burns, Ruling.BURN, ResendPermit(generation, path, judge=False)
    return (
        _begun(burns, Trial(generation, now, (path,))),
        Ruling.BURN,
        ResendPermit(generation, path, judge=True),
    )


def token_requested(burns: Burns, now: float, *, burnt: bool) -> Burns:
    """Note that a token request is being sent, ``burnt`` if there is no token: later 401s judge nothing."""
    burns = _counted(burns, now) if burnt else burns
    trial = burns.trial
    if trial is None or trial.stage is not Stage.ASKED:
        return burns
    return replace(burns, trial=replace(trial, stage=Stage.SENT))


def token_renewed(burns: Burns, sent_at: float, *, burnt: bool, shared: bool) -> Burns:
    """Note that a token arrived that was asked for at ``sent_at``, by another sidecar if ``shared``.

    ``burnt``: the one before was.
    """
    if burnt and not shared:
        burns = _counted(burns, sent_at)
    trial = burns.trial
    if trial is None or trial.stage is not Stage.SENT:
        return burns
    if shared and sent_at < trial.begun_at - _ONE_REVOCATION:
        return replace(burns, trial=None)
    return replace(burns, trial=replace(trial, stage=Stage.TRIED))


def is_news(burns: Burns, path: str) -> bool:
    """Whether a response other than a token 401 from ``path`` (not masked) may change anything; mostly not."""
    pending = burns.faults or burns.open_verdict or _awaits_first_response(burns.trial)
    return bool(pending) or mask_path(path) not in burns.proven


def accepted(burns: Burns, generation: int, path: str, now: float) -> Burns:
    """Note a response other than a token 401 to a call with ``generation`` to ``path`` (not masked)."""
    return _accepted(burns, generation, mask_path(path), now) if is_news(burns, path) else burns


def resent(burns: Burns, permit: ResendPermit, generation: int, now: float, *, unauthorized: bool) -> Burns:
    """Note the response to a resend, which carried ``generation``: a token 401, or anything else."""
    trial = _judged_by(burns, permit)
    if trial is None:
        if unauthorized:
            burns = _doubted(burns, permit.path)
            return _first_response(burns, generation, permit.path, now, unauthorized=True)
        return _accepted(burns, generation, permit.path, now)
    trial = replace(trial, judges=trial.judges - 1)
    if unauthorized:
        return _failed(burns, trial, permit.path, now)
    return _accepted(_helped(burns, trial, permit.path, now), generation, permit.path, now)


def withdrawn(burns: Burns, permit: ResendPermit) -> Burns:
    """Note that a call with a permit got no response to its resend, or was not resent."""
    trial = _judged_by(burns, permit)
    return burns if trial is None else _updated(burns, replace(trial, judges=trial.judges - 1))


def paused_paths(burns: Burns, now: float) -> dict[str, float]:
    """Return the masked paths whose 401s start no refresh, and until when."""
    return {path: fault.until for path, fault in burns.faults.items() if fault.pauses(now)}


def _joined(burns: Burns, generation: int, path: str) -> tuple[Burns, bool]:
    """Make a 401 on a burnt generation a judge, if the token request has not been sent; say whether it is one."""
    trial = burns.trial
    if trial is None or trial.generation != generation or trial.stage is not Stage.ASKED:
        return burns, False
    return replace(burns, trial=replace(trial, judges=trial.judges + 1, paths=_with(trial.paths, path))), True


def _judged_by(burns: Burns, permit: ResendPermit) -> Trial | None:
    """Return the trial that ``permit`` judges, if it is still remembered."""
    if not permit.judge:
        return None
    return next((trial for trial in _trials(burns) if trial.generation == permit.generation), None)


def _trials(burns: Burns) -> tuple[Trial, ...]:
    return burns.earlier if burns.trial is None else (*burns.earlier, burns.trial)


def _begun(burns: Burns, trial: Trial) -> Burns:
    """Begin a trial; the one before is kept as long as judges are waited for."""
    earlier = tuple(each for each in _trials(burns) if each.judges)
    return replace(burns, trial=trial, earlier=earlier[-MOST_EARLIER:])


def _updated(burns: Burns, trial: Trial) -> Burns:
    """Put ``trial`` in the place of what it was before."""
    if burns.trial is not None and burns.trial.generation == trial.generation:
        return replace(burns, trial=trial)
    trials = (trial if each.generation == trial.generation else each for each in burns.earlier)
    return replace(burns, earlier=tuple(each for each in trials if each.judges))


def _awaits_first_response(trial: Trial | None) -> bool:
    return trial is not None and trial.stage is Stage.TRIED and not trial.judges


def _doubted(burns: Burns, path: str) -> Burns:
    """Note that a resend that judges nothing got 401: ``path`` waits for the verdicts that it awaits."""
    for trial in _awaited(burns, path):
        burns = _updated(burns, replace(trial, doubted=_with(trial.doubted, path)))
    return burns


def _first_response(burns: Burns, generation: int, path: str, now: float, *, unauthorized: bool) -> Burns:
    """Let a response decide on the latest refresh, if all its judges have withdrawn."""
    trial = burns.trial
    if trial is None or not _awaits_first_response(trial) or generation <= trial.generation or path not in trial.paths:
        return burns
    return _failed(burns, trial, path, now) if unauthorized else _helped(burns, trial, path, now)


def _accepted(burns: Burns, generation: int, path: str, now: float) -> Burns:
    burns = _first_response(burns, generation, path, now, unauthorized=False)
    verdict = burns.open_verdict
    if verdict is not None and generation > verdict.generation:
        burns = _at_fault(burns, verdict.generation, verdict.path, now)
    if path not in burns.proven:
        proven = dict.fromkeys([*burns.proven, path][-MOST_PROVEN:])
        burns = replace(burns, proven=MappingProxyType(proven))
    fault = burns.faults.get(path)
    if fault is None:
        return burns
    faults = {other: each for other, each in burns.faults.items() if other != path}
    if now < fault.until:
        if fault.ended:
            return burns
        faults = {**burns.faults, path: replace(fault, ended=True)}
    return replace(burns, faults=MappingProxyType(faults))


def _helped(burns: Burns, trial: Trial, path: str, now: float) -> Burns:
    """Note that ``trial`` was useful; only once, all faults are forgotten."""
    trusted = {**(burns.trusted if now < burns.trusted_until else {}), path: EXCUSES}
    if trial.stage is not Stage.USEFUL:
        trial = replace(trial, stage=Stage.USEFUL)
        burns = Burns(burns.trial, burns.earlier, proven=burns.proven)
    burns = _updated(burns, trial)
    return replace(burns, trusted=MappingProxyType(_kept(trusted)), trusted_until=now + TRUST)


def _failed(burns: Burns, trial: Trial, path: str, now: float) -> Burns:
    """Note that ``trial`` did not help ``path``: its fault, unless another judge was helped."""
    if trial.stage is Stage.USEFUL or path in trial.failed:
        return _updated(burns, trial)
    burns = _updated(burns, replace(trial, stage=Stage.FUTILE, failed=_with(trial.failed, path)))
    excuses = burns.trusted[path] if _is_trusted(burns, path, now) else 0
    if excuses:
        return replace(burns, trusted=MappingProxyType({**burns.trusted, path: excuses - 1}))
    if burns.open_verdict is None and path in burns.proven:
        return replace(burns, open_verdict=OpenVerdict(trial.generation, path))
    return _at_fault(burns, trial.generation, path, now)


def _at_fault(burns: Burns, generation: int, path: str, now: float) -> Burns:
    """Hold against ``path`` that the trial of ``generation`` was futile; an open verdict on the path is closed."""
    if burns.open_verdict is not None and burns.open_verdict.path == path:
        burns = replace(burns, open_verdict=None)
    fault = burns.faults.get(path)
    count = 1 if fault is None else fault.count + 1
    since = fault.since if fault is not None and now < fault.until else now
    until = now + PAUSE.delay(count, 0.5)
    faults = {other: each for other, each in burns.faults.items() if other != path}
    faults[path] = Fault(generation, count, since, until, ended=False)
    proven = dict.fromkeys(each for each in burns.proven if each != path)
    return replace(burns, faults=MappingProxyType(_kept(faults)), proven=MappingProxyType(proven))


def _may_start(burns: Burns, path: str, now: float) -> bool:
    """Whether a 401 from ``path`` may start a refresh."""
    fault = burns.faults.get(path)
    if fault is not None and fault.pauses(now):
        return False
    if _braked(burns, now) and now < burns.braked_at + BRAKE:
        return False
    return _may_go_unjudged(burns, path, now)


def _may_go_unjudged(burns: Burns, path: str, now: float) -> bool:
    """Whether ``path`` may start a refresh although it may await the verdict of others."""
    awaited = _awaited(burns, path)
    if not awaited or now >= awaited[-1].begun_at + BRAKE:
        return True
    fault = burns.faults.get(path)
    if fault is not None:
        return fault.ended and now < fault.until
    if path not in burns.proven or len(awaited) >= MOST_AWAITED:
        return False
    if any(path in each.doubted for each in awaited):
        return False
    intervals = len(awaited) - _is_trusted(burns, path, now)
    return now >= awaited[0].begun_at + AWAITED_INTERVAL * intervals


def _awaited(burns: Burns, path: str) -> list[Trial]:
    """Return the undecided trials that judges on ``path`` may decide, the oldest first."""
    return [each for each in _trials(burns) if each.stage is Stage.TRIED and each.judges and path in each.paths]


def _is_trusted(burns: Burns, path: str, now: float) -> bool:
    return now < burns.trusted_until and path in burns.trusted


def _braked(burns: Burns, moment: float) -> bool:
    return any(fault.since <= moment < fault.until for fault in burns.faults.values())


def _counted(burns: Burns, moment: float) -> Burns:
    """Let a refresh count for the brake, which starts at ``moment``: it may have been held up since its 401."""
    return replace(burns, braked_at=max(burns.braked_at, moment)) if _braked(burns, moment) else burns


def _with(paths: tuple[str, ...], path: str) -> tuple[str, ...]:
    return paths if path in paths else (*paths, path)[-MOST_PATHS:]


def _kept(paths: dict[str, _Value]) -> dict[str, _Value]:
    return dict(list(paths.items())[-MOST_PATHS:])
