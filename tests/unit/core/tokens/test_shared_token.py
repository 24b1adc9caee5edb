"""Who asks for the next token, and what the others do meanwhile: the rules that a history alone does not show."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import Fetched, LockedOut, Pause, Refusal, Refused, Transient
from sidecar.core.tokens.shared_document import CredentialEntry, SharedDocument, StoredToken, TokenVersion
from sidecar.core.tokens.shared_token import (
    KEPT,
    LEASE,
    LONGEST_LEASE,
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
from sidecar.core.tokens.state import LOCKOUT, Latch

if TYPE_CHECKING:
    from sidecar.core.tokens.oauth import FetchResult

NOW = 1000.0
API, EMBEDDED = "api:1", "embedded:1"
LOCKED = LockedOut("locked")
REFUSED = Refused(Refusal.CREDENTIALS, "refused")
FAILED = Transient("failed")


def request(holder: str = "me", part: str = API, shown: str = "", known: TokenVersion | None = None) -> ClaimRequest:
    return ClaimRequest(part, shown, holder, known)


def ask(document: SharedDocument, asked: ClaimRequest | None = None, now: float = NOW) -> tuple[SharedDocument, Claim]:
    return claim(document, asked or request(), now, LEASE, "epoch")


def granted(
    document: SharedDocument, asked: ClaimRequest | None = None, now: float = NOW
) -> tuple[SharedDocument, Grant]:
    document, claimed = ask(document, asked, now)
    assert isinstance(claimed, Grant)
    return document, claimed


def plain(value: Secret, *_: float) -> Secret:
    return value


def fetched(life: float = 1200.0, sent_at: float = NOW) -> Fetched:
    return Fetched(Secret("value"), life, sent_at)


def after(
    *results: FetchResult, document: SharedDocument | None = None, now: float = NOW, asked: ClaimRequest | None = None
) -> SharedDocument:
    """Fetch once for each result, each at the first moment that allows it."""
    document = document or SharedDocument()
    for result in results:
        document, claimed = ask(document, asked, now)
        if isinstance(claimed, Paused):
            now = claimed.until
            document, claimed = ask(document, asked, now)
        assert isinstance(claimed, Grant)
        document, _ = conclude(document, claimed, result, now, 0.5, plain)
    return document


def test_nobody_waits_for_a_token_that_nobody_asks_for() -> None:
    document, claimed = ask(SharedDocument())
    assert claimed == Grant(request(), 1)
    lease = document.parts[API].lease
    assert lease is not None
    assert (lease.holder, lease.until, lease.probe) == ("me", NOW + LEASE, False)


def test_who_comes_second_waits_until_the_lease_is_over() -> None:
    document, _ = granted(SharedDocument())
    assert ask(document, request("you"), NOW + LEASE - 0.01)[1] == Await()
    _, claimed = ask(document, request("you"), NOW + LEASE)
    assert claimed == Grant(request("you"), 2)


def test_who_asks_again_has_lost_the_response_and_need_not_wait_for_itself() -> None:
    document, _ = granted(SharedDocument())
    assert ask(document)[1] == Grant(request(), 2)


def test_who_asks_for_another_part_s_token_holds_no_lease_but_that_one() -> None:
    """A process asks one thing at a time: a grant that it never heard of, and then a changed key."""
    document, _ = granted(SharedDocument())
    other = "api:2"
    document, grant = granted(document, request(part=other), NOW + 1)
    assert document.parts[API].lease is None
    assert document.parts[other].lease is not None
    granted(document, request("somebody"), NOW + 1)
    assert renew(document, grant, NOW + 2, LEASE)[1]


def test_one_process_never_holds_two_probe_leases() -> None:
    """A lockout, its pause, a probe whose grant was never heard of, a changed key, and another probe."""
    document = after(LOCKED)
    assert document.lockout is not None
    later = document.lockout.until
    document, _ = granted(document, now=later)
    document, _ = granted(document, request(part="api:2"), later)
    probing = [name for name, part in document.parts.items() if part.lease is not None and part.lease.probe]
    assert probing == ["api:2"]
    assert isinstance(ask(document, request("somebody", EMBEDDED), later)[1], Await)


def test_a_lease_is_kept_by_renewing_it() -> None:
    document, grant = granted(SharedDocument())
    document, held = renew(document, grant, NOW + 4, LEASE)
    assert held
    assert ask(document, request("you"), NOW + 8.9)[1] == Await()
    document, held = renew(document, grant, NOW + 20, LEASE)
    assert held, "it was over, and nobody wanted it"


def test_a_lease_that_is_renewed_in_time_may_last_for_longer_than_any_alone() -> None:
    document, grant = granted(SharedDocument())
    for moment in range(1, int(LONGEST_LEASE) * 2):
        document, held = renew(document, grant, NOW + moment, LEASE)
        assert held
        assert ask(document, request("you"), NOW + moment)[1] == Await()


def test_a_lease_is_believed_for_as_long_as_the_longest() -> None:
    document, _ = claim(SharedDocument(), request(), NOW, LONGEST_LEASE, "epoch")
    assert ask(document, request("you"))[1] == Await()


def test_a_lease_that_claims_to_last_for_ever_keeps_nobody_waiting() -> None:
    """Nobody who follows the rules writes one."""
    document, _ = granted(SharedDocument())
    part = document.parts[API]
    assert part.lease is not None
    for until in (1e308, NOW + LONGEST_LEASE + 1):
        lease = msgspec.structs.replace(part.lease, until=until)
        forged = SharedDocument(1, None, {API: msgspec.structs.replace(part, lease=lease)})
        assert isinstance(ask(forged, request("you"))[1], Grant)


@pytest.mark.parametrize(("back", "live"), [(0.0, True), (1.0, True), (1.1, False), (600.0, False)])
def test_a_lease_of_the_future_ends_unless_the_clock_went_back_by_a_small_step(back: float, live: bool) -> None:
    """A store whose clock was set back would else keep everybody waiting for as long."""
    document, _ = granted(SharedDocument())
    claimed = ask(document, request("you"), NOW - back)[1]
    assert isinstance(claimed, Await if live else Grant)


def test_a_lease_that_another_got_meanwhile_cannot_be_renewed_given_back_or_used() -> None:
    document, grant = granted(SharedDocument())
    document, other = granted(document, request("you"), NOW + 10)
    assert renew(document, grant, NOW + 11, LEASE) == (document, False)
    assert give_back(document, grant, NOW + 11) == (document, None)
    assert conclude(document, grant, fetched(), NOW + 11, 0.5, plain) == (document, None)
    assert isinstance(conclude(document, other, fetched(), NOW + 11, 0.5, plain)[1], Take)


def test_a_lease_that_is_given_back_is_free() -> None:
    document, grant = granted(SharedDocument())
    document, _ = give_back(document, grant, NOW)
    assert isinstance(ask(document, request("you"))[1], Grant)


def test_a_clock_that_is_set_back_a_little_ends_no_lease_and_one_set_back_far_ends_all() -> None:
    document, _ = granted(SharedDocument())
    assert ask(document, request("you"), NOW - 0.9)[1] == Await()
    assert isinstance(ask(document, request("you"), NOW - 3600)[1], Grant)


def test_a_token_is_taken_by_all_but_those_who_know_it() -> None:
    document = after(fetched())
    token = StoredToken(Secret("value"), NOW, NOW + 1200)
    assert ask(document)[1] == Take(token, TokenVersion("epoch", 1))
    assert isinstance(ask(document, request(known=TokenVersion("epoch", 1)))[1], Grant)
    assert ask(document, request(known=TokenVersion("another", 1)))[1] == Take(token, TokenVersion("epoch", 1))


@pytest.mark.parametrize("now", [NOW - 0.001, NOW + 1200])
def test_a_token_that_has_expired_or_whose_age_nobody_knows_is_not_taken(now: float) -> None:
    assert isinstance(ask(after(fetched()), now=now)[1], Grant)


def test_an_expired_token_is_not_kept_while_the_next_is_fetched() -> None:
    document, _ = granted(after(fetched(life=10)), now=NOW + 10)
    assert document.parts[API].token is None


def test_generations_grow_even_if_the_store_forgot_some() -> None:
    document = after(fetched())
    document, grant = granted(document, request(known=TokenVersion("epoch", 7)))
    document, said = conclude(document, grant, fetched(), NOW, 0.5, plain)
    assert isinstance(said, Take)
    assert said.known == TokenVersion("epoch", 8)


def test_a_token_older_than_one_that_is_known_is_given_to_nobody() -> None:
    document = burn(after(fetched()), API, TokenVersion("epoch", 7))
    assert isinstance(ask(document)[1], Grant)


def test_burning_writes_once_and_only_what_it_is_about() -> None:
    document = after(fetched())
    burnt = burn(document, API, TokenVersion("epoch", 1))
    assert burnt.parts[API].token is None
    assert burn(burnt, API, TokenVersion("epoch", 1)) is burnt
    assert burn(document, API, TokenVersion("epoch", 0)) is document
    assert burn(document, API, TokenVersion("another", 1)) is document
    assert burn(document, EMBEDDED, TokenVersion("epoch", 1)) is document


def test_what_is_sealed_is_told_which_token_it_is() -> None:
    told: list[tuple[object, ...]] = []

    def seal(*token: object) -> Secret:
        told.append(token)
        return Secret("sealed")

    document, grant = granted(SharedDocument())
    document, said = conclude(document, grant, fetched(sent_at=NOW - 1), NOW, 0.5, seal)
    assert told == [(Secret("value"), 1, NOW - 1, NOW + 1199)]
    assert said == Take(StoredToken(Secret("sealed"), NOW - 1, NOW + 1199), TokenVersion("epoch", 1))


def test_a_token_that_expired_on_its_way_is_a_failure() -> None:
    document, grant = granted(SharedDocument())
    document, said = conclude(document, grant, fetched(life=1, sent_at=NOW - 2), NOW, 0.5, plain)
    assert said == Paused(None, NOW, NOW + 0.5, 1)
    assert document.parts[API].generation == 0


@pytest.mark.parametrize(("result", "cause"), [(LOCKED, LOCKOUT), (REFUSED, "credentials"), (FAILED, None)])
def test_pauses_double_for_all(result: FetchResult, cause: str | None) -> None:
    untils = []
    document, now = SharedDocument(), NOW
    for holder in ("a", "b", "c", "d"):
        document, grant = granted(document, request(holder), now)
        document, said = conclude(document, grant, result, now, 0.5, plain)
        assert isinstance(said, Paused)
        assert (said.cause, said.since) == (cause, now if cause is None else NOW)
        assert ask(document, request("me"), now)[1] == said
        untils.append(now)
        now = said.until
    pauses = [later - earlier for earlier, later in pairwise(untils)]
    assert pauses == [pytest.approx(pauses[0] * 2**step) for step in range(3)]


def test_a_success_ends_every_pause() -> None:
    document = after(REFUSED, FAILED, LOCKED, fetched())
    part = document.parts[API]
    assert (document.lockout, part.refusals, part.failures, part.retry_at) == (None, {}, 0, None)


def test_a_token_that_is_still_good_is_taken_in_spite_of_a_lockout() -> None:
    document = after(fetched())
    document = after(LOCKED, document=document, asked=request(known=TokenVersion("epoch", 1)))
    assert document.lockout is not None
    assert isinstance(ask(document)[1], Take)


def test_after_a_lockout_one_lease_is_given_for_all_parts() -> None:
    document = after(LOCKED)
    document, claimed = ask(document, request("me", EMBEDDED))
    assert isinstance(claimed, Paused)
    document, _ = granted(document, request("me", EMBEDDED), claimed.until)
    assert ask(document, request("you"), claimed.until)[1] == Await()
    assert ask(document, request("you", "api:2"), claimed.until)[1] == Await()


def test_a_lockout_told_to_a_request_sent_before_it_was_known_is_not_counted_twice() -> None:
    document, first = granted(SharedDocument())
    document, second = granted(document, request("you", EMBEDDED))
    document, _ = conclude(document, first, LOCKED, NOW, 0.5, plain)
    document, _ = conclude(document, second, LockedOut("locked", 500.0), NOW + 1, 0.5, plain)
    assert document.lockout == Latch(NOW, NOW + 501, 1, LOCKOUT)


def test_the_result_of_a_probe_that_another_part_s_has_followed_is_too_late() -> None:
    document = after(LOCKED)
    document, first = granted(document, request("me"), NOW + 100)
    document, second = granted(document, request("you", EMBEDDED), NOW + 200)
    assert conclude(document, first, LOCKED, NOW + 201, 0.5, plain) == (document, None)
    assert renew(document, first, NOW + 201, LEASE) == (document, False)
    document, said = conclude(document, second, LOCKED, NOW + 201, 0.5, plain)
    assert isinstance(said, Paused)
    assert said.count == 2


def test_a_refusal_holds_those_who_show_the_same_certificate() -> None:
    document = after(REFUSED, asked=request(shown="old"))
    assert isinstance(ask(document, request(shown="old"))[1], Paused)
    assert isinstance(ask(document, request(shown="new"))[1], Grant)


def test_refusals_of_two_certificates_do_not_drive_each_other_out() -> None:
    document = after(REFUSED, asked=request(shown="old"))
    document = after(REFUSED, document=document, asked=request(shown="new"))
    for shown in ("old", "new"):
        assert isinstance(ask(document, request(shown=shown))[1], Paused)


def test_only_so_many_refusals_are_remembered_and_the_last_always_is() -> None:
    document, now = SharedDocument(), NOW
    for number in range(20):
        document = after(REFUSED, document=document, asked=request(shown=str(number)), now=now + number)
    assert set(document.parts[API].refusals) == {str(number) for number in range(12, 20)}, "those that end last"
    assert isinstance(ask(document, request(shown="19"), now + 19)[1], Paused)


@pytest.mark.parametrize(("beyond", "expected"), [(0.0, Paused), (1.0, Grant)])
def test_no_pause_lasts_longer_than_the_longest_whatever_the_store_says(beyond: float, expected: type) -> None:
    locked = Latch(NOW, NOW + 86_400.0 + beyond, 1, LOCKOUT)
    assert isinstance(ask(SharedDocument(lockout=locked))[1], expected)
    failed = CredentialEntry("e", NOW, retry_at=NOW + 3_600.0 + beyond)
    assert isinstance(ask(SharedDocument(parts={API: failed}))[1], expected)


def test_a_part_that_nobody_has_touched_for_days_is_forgotten() -> None:
    document = after(fetched(), asked=request(part="api:old"))
    document = after(fetched(), document=document)
    assert set(document.parts) == {API, "api:old"}
    assert set(granted(document, request(known=TokenVersion("epoch", 1)), NOW + KEPT)[0].parts) == {API}


def test_a_part_that_is_asked_for_again_is_remembered_from_then_on() -> None:
    document = after(fetched())
    document, _ = granted(document, request(known=TokenVersion("epoch", 1)), NOW + KEPT - 1)
    document, _ = granted(document, request("you", EMBEDDED), NOW + KEPT + 1)
    assert set(document.parts) == {API, EMBEDDED}


def test_the_rest_of_a_document_is_left_alone() -> None:
    document = after(fetched(), asked=request(part=EMBEDDED))
    changed = after(FAILED, document=document)
    assert changed.parts[EMBEDDED] == document.parts[EMBEDDED]
    assert msgspec.structs.asdict(changed)["fence"] == 2


# --- what another sidecar was told -----------------------------------------------------------------------------------

_PAUSE = Pause(NOW, NOW + 30, 2)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (None, Transient("another sidecar got no token (token store)", failure="elsewhere", pause=_PAUSE)),
        (LOCKOUT, LockedOut("another sidecar was told so (token store)", pause=_PAUSE)),
        *(
            (refusal.value, Refused(refusal, "another sidecar was told so (token store)", pause=_PAUSE))
            for refusal in Refusal
        ),
        # A word that a later version has: it is a refusal, whatever it says.
        ("unheard-of", Refused(Refusal.REQUEST, "another sidecar was told so (token store)", pause=_PAUSE)),
    ],
)
def test_what_another_sidecar_was_told_counts_as_told_to_us(cause: str | None, expected: FetchResult) -> None:
    assert as_fetch_result(Paused(cause, NOW, NOW + 30, 2), _PAUSE) == expected
