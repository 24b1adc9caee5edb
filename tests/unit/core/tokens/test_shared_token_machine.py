"""Every history of some sidecars that share a document, are killed, stall, and change their keys: what must hold."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import Fetched, FetchResult, LockedOut, Refusal, Refused, Transient
from sidecar.core.tokens.shared_document import (
    CredentialEntry,
    Lease,
    SharedDocument,
    StoreTime,
    TokenVersion,
    read_document,
    write_document,
)
from sidecar.core.tokens.shared_token import (
    LEASE,
    Await,
    ClaimRequest,
    Grant,
    Paused,
    Take,
    burn,
    claim,
    conclude,
    give_back,
    renew,
)

processes = st.integers(0, 3)
rolls = st.floats(0, 1)
lives = st.sampled_from([2.0, 60.0, 1200.0])
retry_afters = st.none() | st.sampled_from([1.0, 45.0, 2000.0])
failures: st.SearchStrategy[FetchResult] = st.one_of(
    retry_afters.map(lambda seconds: LockedOut("x", seconds)),
    st.tuples(st.sampled_from(Refusal), retry_afters).map(lambda told: Refused(told[0], "x", told[1])),
    retry_afters.map(lambda seconds: Transient("x", seconds)),
)
pauses = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.7, 4.9, 5.0, 24.0, 40.0, 1000.0])
keys = st.sampled_from(["old", "new"])
certificates = st.sampled_from(["", "first", "second"])


@dataclass
class Process:
    """A sidecar's source of one credential's tokens."""

    credential: str
    holder: str
    #: By how much its own clock differs from the store's.
    skew: float
    key: str = "old"
    shown: str = ""
    known: dict[str, TokenVersion] = field(default_factory=dict)
    #: The token that it uses: its part and number.
    using: tuple[str, TokenVersion] | None = None
    grant: Grant | None = None
    #: When its token request was sent, by its own clock.
    sent_at: float = 0.0

    @property
    def part(self) -> str:
        return f"{self.credential}:{self.key}"

    @property
    def request(self) -> ClaimRequest:
        return ClaimRequest(self.part, self.shown, self.holder, self.known.get(self.part))


class Fleet(RuleBasedStateMachine):
    """Two processes for each of two credentials, on one document."""

    def __init__(self) -> None:
        super().__init__()
        self.document = SharedDocument()
        self.now = 1000.0
        self.names = itertools.count()
        self.processes = [
            Process(credential, f"holder-{next(self.names)}", skew)
            for credential, skew in (("api", 0.0), ("api", -700.0), ("embedded", 3e6), ("embedded", 0.3))
        ]
        self.fences: set[int] = set()
        self.burnt: set[tuple[str, TokenVersion]] = set()
        #: What is really known of the account and of each part: no request before these moments.
        self.locked_until = 0.0
        self.quiet_until: dict[tuple[str, str], float] = {}
        #: Values handed out, by part and number.
        self.values: dict[tuple[str, TokenVersion], str] = {}
        self.expires_at: dict[tuple[str, TokenVersion], float] = {}

    # Time, and how a process tells it.

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def read(self, process: Process, delay: float = 0.01) -> StoreTime:
        return StoreTime(self.now, self.now + process.skew - delay, self.now + process.skew + delay)

    # Asking.

    @rule(number=processes)
    def ask(self, number: int) -> None:
        process = self.processes[number]
        if process.grant is not None:
            return
        before = self.document
        self.document, claimed = claim(before, process.request, self.now, LEASE, f"epoch-{next(self.names)}")
        part = self.document.parts.get(process.part)
        match claimed:
            case Take(token, known):
                assert self.document is before, "taking writes nothing"
                assert (process.part, known) not in self.burnt
                assert self.now < self.expires_at[process.part, known]
                assert known != process.known.get(process.part)
                assert token.value.reveal() == self.values[process.part, known]
                time = self.read(process)
                assert time.earliest(token.expires_at) <= self.expires_at[process.part, known] + process.skew
                self.hand_out(process, known)
            case Grant(_, fence):
                assert part is not None
                assert part.lease is not None
                self.may_ask(process, part.lease, before)
                assert fence not in self.fences, "a fence given twice"
                self.fences.add(fence)
                process.grant, process.sent_at = claimed, self.now + process.skew
            case Await():
                assert self.document is before
                assert self.living(process.holder), "somebody waits for nobody"
            case Paused(_, _, until, count):
                assert self.document is before
                assert until > self.now
                assert count > 0

    def may_ask(self, process: Process, lease: Lease, before: SharedDocument) -> None:
        """Check that a lease may be given at this moment."""
        assert self.now >= self.locked_until
        assert self.now >= self.quiet_until.get((process.part, process.shown), 0.0)
        assert self.now >= self.quiet_until.get((process.part, "any"), 0.0)
        assert lease.probe is (before.lockout is not None)
        assert (lease.holder, lease.until) == (process.holder, self.now + LEASE)
        for name, part in before.parts.items():
            other = part.lease
            if other is not None and other.holder != process.holder and (name == process.part or lease.probe):
                assert self.now >= other.until, "two may ask at once"

    def living(self, but: str) -> list[Lease]:
        leases = [part.lease for part in self.document.parts.values()]
        return [lease for lease in leases if lease is not None and self.now < lease.until and lease.holder != but]

    def hand_out(self, process: Process, known: TokenVersion) -> None:
        process.known[process.part] = known
        process.using = (process.part, known)

    @rule(number=processes)
    def ask_and_never_hear_the_answer(self, number: int) -> None:
        """The document was swapped, and the reply lost: the process goes on alone, its lease stays behind."""
        process = self.processes[number]
        if process.grant is None:
            self.document, claimed = claim(self.document, process.request, self.now, LEASE, f"epoch-{next(self.names)}")
            if isinstance(claimed, Grant):
                assert claimed.fence not in self.fences
                self.fences.add(claimed.fence)

    # The one who asks Mangopay.

    def asking(self, number: int) -> tuple[Process, Grant, bool] | None:
        """Return a process that asks, its grant, and whether nobody else has got the lease since."""
        process = self.processes[number]
        if process.grant is None:
            return None
        part = self.document.parts.get(process.grant.request.part)
        lease = None if part is None else part.lease
        if lease is None or (lease.holder, lease.fence) != (process.holder, process.grant.fence):
            return process, process.grant, False
        followed = self.document.lockout is not None and self.living(process.holder)
        return process, process.grant, self.now < lease.until or not followed

    @rule(number=processes)
    def renew(self, number: int) -> None:
        if (asking := self.asking(number)) is None:
            return
        _, grant, held = asking
        before = self.document
        self.document, kept = renew(before, grant, self.now, LEASE)
        assert kept is held
        assert kept or self.document is before, "a stale fence wrote"

    @rule(number=processes, life=lives, roll=rolls)
    def fetch(self, number: int, life: float, roll: float) -> None:
        if (asking := self.asking(number)) is not None:
            process = asking[0]
            self.end(process, Fetched(Secret(f"value-{next(self.names)}"), life, process.sent_at), roll)

    @rule(number=processes, result=failures, roll=rolls)
    def fail(self, number: int, result: FetchResult, roll: float) -> None:
        if (asking := self.asking(number)) is not None:
            self.end(asking[0], result, roll)

    @rule(number=processes, life=lives)
    def ask_and_fetch(self, number: int, life: float) -> None:
        """Both at once: single steps rarely come in this order."""
        self.ask(number)
        self.fetch(number, life, 0.5)

    @rule(number=processes, result=failures, first=processes, second=processes)
    def fail_and_ask_when_the_pause_is_over(self, number: int, result: FetchResult, first: int, second: int) -> None:
        self.ask(number)
        self.fail(number, result, 0.5)
        _, claimed = claim(self.document, self.processes[number].request, self.now, LEASE, "x")
        if isinstance(claimed, Paused):
            self.now = claimed.until
            self.ask(first)
            self.ask(second)

    def end(self, process: Process, result: FetchResult, roll: float) -> None:
        grant, time = process.grant, self.read(process)
        assert grant is not None
        _, _, held = self.asking(self.processes.index(process)) or (None, None, False)
        before = self.document
        probe = held and self.part_of(grant).lease.probe  # type: ignore[union-attr]
        if isinstance(result, Fetched):
            result = Fetched(result.value, result.expires_in, time.stored(result.sent_at))
        self.document, said = conclude(before, grant, result, self.now, roll, lambda value, *_: value)
        process.grant = None
        if not held:
            assert said is None
            assert self.document is before, "a stale fence wrote"
            return
        name, after = grant.request.part, self.part_of(grant)
        assert after.lease is None
        if isinstance(said, Take):
            assert isinstance(result, Fetched)
            assert said.known.generation == self.generation(before, name) + 1
            self.values[name, said.known] = result.value.reveal()
            self.expires_at[name, said.known] = result.sent_at + result.expires_in
            self.quiet_until.pop((name, "any"), None)
            self.quiet_until.pop((name, grant.request.certificate_fingerprint), None)
            process.known[name], process.using = said.known, (name, said.known)
        else:
            assert isinstance(said, Paused)
            self.note_failure(before, grant, result, said)
        if probe and not isinstance(result, Transient | LockedOut) and isinstance(said, Take):
            assert self.document.lockout is None, "an answered probe ends the lockout"
            self.locked_until = 0.0

    def note_failure(self, before: SharedDocument, grant: Grant, result: FetchResult, said: Paused) -> None:
        name = grant.request.part
        least = self.now + (getattr(result, "retry_after", None) or 0.0)
        if isinstance(result, LockedOut):
            assert said.cause == "lockout"
            if before.lockout is None or self.part_of(grant, before).lease.probe:  # type: ignore[union-attr]
                self.locked_until = max(least, self.now + 24.0)
        elif isinstance(result, Refused):
            self.quiet_until[name, grant.request.certificate_fingerprint] = max(least, self.now + 24.0)
            if self.document.lockout is None:
                self.locked_until = 0.0
        else:
            self.quiet_until[name, "any"] = max(least, self.now + 0.4) if isinstance(result, Transient) else self.now

    def part_of(self, grant: Grant, document: SharedDocument | None = None) -> CredentialEntry:
        return (document or self.document).parts[grant.request.part]

    @staticmethod
    def generation(document: SharedDocument, name: str) -> int:
        part = document.parts.get(name)
        return 0 if part is None else part.generation

    @rule(number=processes)
    def give_back(self, number: int) -> None:
        if (asking := self.asking(number)) is None:
            return
        process, grant, held = asking
        before = self.document
        self.document, _ = give_back(before, grant, self.now)
        assert held or self.document is before, "a stale fence wrote"
        process.grant = None

    # What happens to processes.

    @rule(number=processes)
    def kill(self, number: int) -> None:
        """Kill it at this point; another one takes its place and knows nothing."""
        killed = self.processes[number]
        self.processes[number] = Process(
            killed.credential, f"holder-{next(self.names)}", killed.skew, killed.key, killed.shown
        )

    @rule(number=processes, key=keys)
    def change_key(self, number: int, key: str) -> None:
        self.processes[number].key = key

    @rule(number=processes, certificate=certificates)
    def change_certificate(self, number: int, certificate: str) -> None:
        self.processes[number].shown = certificate

    @rule(number=processes)
    def unauthorized(self, number: int) -> None:
        """A 401 burns the token that the process uses."""
        process = self.processes[number]
        if process.using is None:
            return
        name, known = process.using
        process.using = None
        self.document = burn(self.document, name, known)
        self.burnt.add((name, known))

    @precondition(lambda self: len(self.document.parts) > 1)
    @rule()
    def the_store_is_emptied(self) -> None:
        self.document = SharedDocument()
        self.fences.clear()
        self.quiet_until.clear()
        self.locked_until = 0.0

    # Always.

    @invariant()
    def it_can_be_written_and_read(self) -> None:
        assert read_document(write_document(self.document)) == self.document

    @invariant()
    def no_burnt_token_is_kept(self) -> None:
        for name, part in self.document.parts.items():
            assert part.token is None or (name, TokenVersion(part.epoch, part.generation)) not in self.burnt

    @invariant()
    def one_probe_for_all(self) -> None:
        probes = [lease for lease in self.living("") if lease.probe]
        assert len(probes) <= 1
        if probes:
            assert self.now >= self.locked_until

    @invariant()
    def whoever_is_gone_is_missed_for_no_longer_than_a_lease(self) -> None:
        later = self.now + LEASE
        for process in self.processes:
            document, claimed = claim(self.document, process.request, later, LEASE, "x")
            assert not isinstance(claimed, Await)
            assert not isinstance(claimed, Grant) or document.parts[process.part].lease is not None


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
