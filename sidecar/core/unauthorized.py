"""What a token 401 does: which generation it burns, whether it starts a refresh, and when refreshes are futile.

A 401 can mean that the token was revoked, and then one refresh mends every
call. It can also be the answer of one resource, whatever the token; then each
refresh is wasted, and too many of them get the account blocked. Nothing in the
answer tells which, so the sidecar learns it from what happens next:

*   A 401 on the current generation **burns** it: that token is never used again,
    and a refresh is asked for.
*   The 401s that had arrived when the token request was *sent* are the
    refresh's **judges**. It was useful if the resend of any judge is answered with
    anything but a token 401. Later 401s on the old generation are resent too, but
    judge nothing: at a server that ends old tokens whenever it gives out a new
    one, the refresh itself would have caused them, and would always look useful.
*   The **penalty** begins with the refresh's success, and the first useful judge
    lifts it. So a judge that went away, or could not be resent, counts as no
    judge. During the penalty a 401 on the current generation burns nothing.
*   **Escape:** a generation that was accepted before, and then gets three 401s
    running on two or more paths, has been revoked for real; it is burnt in spite of
    the penalty, once in ten seconds.

Contract sections 5.4 and 5.5. A 401 that asks for the user's own authentication
(SCA) is none of these: :mod:`sidecar.core.challenge` tells it apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from sidecar.core.backoff import Backoff

#: How long 401s start no refresh after the first, second, … futile one running (contract section 5.5).
PENALTY: Final = Backoff(first=10.0, limit=60.0)
#: Token 401s running that make an escape, on at least two paths.
ESCAPE_RUN: Final = 3
#: Seconds between two escapes at least.
ESCAPE_PAUSE: Final = 10.0

_NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Burn:
    """Leave to resend a call once, with a token newer than ``generation``."""

    generation: int
    path: str
    #: Whether the resend's answer tells if the refresh was useful.
    judge: bool


class Ruling(Enum):
    """What becomes of a call that was answered with a token 401."""

    PASS = "pass"  # noqa: S105 - the caller gets the 401
    RESEND = "resend"  # a newer token is there, or on its way anyway
    BURN = "burn"  # as RESEND, and the current generation is never used again


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the token when a 401 arrives."""

    #: The newest generation that was ever fetched.
    generation: int
    #: It has been burnt.
    burnt: bool
    #: Its life is over: a new one is needed whatever the 401 means.
    expired: bool
    #: A token request is on its way.
    fetching: bool


@dataclass(frozen=True, slots=True)
class Run:
    """The 401s that one generation got since it was last accepted."""

    generation: int = 0
    accepted: bool = False
    length: int = 0
    path: str = ""
    several_paths: bool = False


@dataclass(frozen=True, slots=True)
class Burns:
    """What 401s have done so far."""

    #: The generation whose 401 caused the latest refresh of that kind.
    trial: int = 0
    #: 401s on that generation still become judges: its refresh has not been sent.
    open: bool = False
    #: The refresh has not succeeded yet.
    pending: bool = False
    #: Refreshes running that no judge has called useful.
    futile: int = 0
    penalty_until: float = _NEVER
    escaped_at: float = _NEVER
    run: Run = Run()


def rule(burns: Burns, standing: Standing, generation: int, path: str, now: float) -> tuple[Burns, Ruling]:
    """Rule on a token 401, not on a resend, that a call with ``generation`` to ``path`` got."""
    if generation != standing.generation:
        return burns, Ruling.RESEND if generation < standing.generation else Ruling.PASS
    burns = replace(burns, run=_refused(burns.run, generation, path))
    if standing.burnt or standing.expired:
        return burns, Ruling.RESEND
    if now < burns.penalty_until:
        if standing.fetching:
            return burns, Ruling.RESEND
        if not _escapes(burns, now):
            return burns, Ruling.PASS
        burns = replace(burns, escaped_at=now)
    if standing.fetching:
        # That request was not caused by a 401, so nobody judges it: it may itself have ended the token.
        return burns, Ruling.BURN
    return replace(burns, trial=generation, open=True, pending=True), Ruling.BURN


def judges(burns: Burns, generation: int) -> bool:
    """Whether a 401 on ``generation`` that has just been ruled on judges the refresh to come."""
    return burns.open and generation == burns.trial


def token_requested(burns: Burns) -> Burns:
    """Note that a token request is being sent: later 401s judge nothing."""
    return replace(burns, open=False) if burns.open else burns


def token_renewed(burns: Burns, now: float) -> Burns:
    """Note that a token arrived. If a 401 had asked for it, the penalty begins, until a judge lifts it."""
    if not burns.pending:
        return burns
    futile = burns.futile + 1
    return replace(burns, pending=False, futile=futile, penalty_until=now + PENALTY.delay(futile, 0.5))


def is_news(burns: Burns, generation: int) -> bool:
    """Whether an answer other than a token 401 to a call with ``generation`` says anything that is not known."""
    run = burns.run
    return generation > run.generation or (generation == run.generation and (run.length > 0 or not run.accepted))


def accepted(burns: Burns, generation: int) -> Burns:
    """Note an answer other than a token 401 to a call with ``generation``."""
    return replace(burns, run=Run(generation, accepted=True)) if is_news(burns, generation) else burns


def resent(burns: Burns, burn: Burn, generation: int, *, unauthorized: bool) -> Burns:
    """Note the answer to a resend, which carried ``generation``: a token 401, or anything else."""
    if unauthorized:
        return replace(burns, run=_refused(burns.run, generation, burn.path))
    burns = accepted(burns, generation)
    if burn.judge and burn.generation == burns.trial and not burns.pending:
        burns = replace(burns, futile=0, penalty_until=_NEVER)
    return burns


def _refused(run: Run, generation: int, path: str) -> Run:
    if generation < run.generation:
        return run
    if generation > run.generation:
        return Run(generation, length=1, path=path)
    if not run.length:
        return replace(run, length=1, path=path)
    return replace(run, length=run.length + 1, several_paths=run.several_paths or path != run.path)


def _escapes(burns: Burns, now: float) -> bool:
    run = burns.run
    return run.accepted and run.length >= ESCAPE_RUN and run.several_paths and now >= burns.escaped_at + ESCAPE_PAUSE
