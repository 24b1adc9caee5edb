"""What becomes of a call, for each thing that can happen to it: the whole proxy against the contract's prose.

A caller's bytes go in, a Mangopay that follows a script is behind, and no socket is between them. Each case is a
request and what its attempts meet; :func:`oracle` says what sections 5.4 to 6 of the contract promise for it, without
the code's own tables. What counts as delivered is what Mangopay received.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from sidecar.core.resend import FailureKind
from tests.support.in_memory import REPLAY_MAX_BODY, Fate, MemoryCaller, MemoryProxy, in_memory, respond
from tests.support.tokens import LOCKED_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "8f14e45f-ceea-467f-a0e6-0b1d2c3e4f50"
PATH: Final = "/v2.01/acme/payins/card/direct"
#: Bytes beyond which a 401's body is too large for a resend.
SMALL: Final = 64 * 1024


# --- the requests ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One kind of request: the method, and where its body is."""

    method: str
    body: bytes = b""
    chunked: bool = False

    @property
    def repeatable(self) -> bool:
        """Section 4.5: a body up to ``replay.max_body`` can be resent, a larger one never."""
        return len(self.body) <= REPLAY_MAX_BODY

    @property
    def safe(self) -> bool:
        return self.method in ("GET", "HEAD")

    def bytes(self, *headers: str) -> bytes:
        lines = [f"{self.method} {PATH} HTTP/1.1", "Host: localhost", *headers]
        if self.chunked:
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (self.body[:7], self.body[7:]) if part)
            return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode() + body + b"0\r\n\r\n"
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    def __str__(self) -> str:
        kind = f" {len(self.body)} bytes" if self.body else ""
        return f"{self.method}{kind}{' chunked' if self.chunked else ''}"


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


IN_PIECES: Final = content(100_000)
STREAMED: Final = content(REPLAY_MAX_BODY + 1)
ASKED: Final = [
    Asked("GET"),
    Asked("GET", STREAMED),
    Asked("HEAD"),
    Asked("POST"),
    Asked("POST", b'{"Amount": 1}'),
    Asked("POST", b'{"Amount": 1}', chunked=True),
    Asked("POST", IN_PIECES),
    Asked("POST", STREAMED),
    Asked("PUT", b"{}"),
    Asked("PATCH", IN_PIECES),
    Asked("DELETE"),
]


# --- what can happen to an attempt -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Met:
    """One thing that can happen to an attempt, in the words of the contract."""

    name: str
    fate: Fate | None = None
    #: Nothing of the request was written.
    before_a_byte: bool = False
    #: It broke after a byte of the request, before a byte of the response.
    broke: bool = False
    #: The connection was a reused one: it was idle before the call.
    reused: bool = False
    #: What the caller gets, if it is not resent and is the sidecar's to answer.
    error: tuple[int, str] = (502, "upstream_unreachable")
    #: What Mangopay answered.
    status: int = 0
    #: ``token`` or ``sca``, for a 401.
    unauthorized: str = ""
    #: The whole response came.
    complete: bool = True
    #: A body of more than 64 KiB.
    large: bool = False
    #: It says that the Idempotency-Key was used before.
    conflict: bool = False

    def __str__(self) -> str:
        return self.name


def answered(name: str, status: int, body: bytes = b"{}", *headers: str, **facts: bool | str) -> Met:
    """Make a response that came whole; its connection closes, so that the next attempt needs a new one."""
    return Met(name, Fate(response=respond(status, body, *headers, "Connection: close")), status=status, **facts)  # type: ignore[arg-type]


CUT = 40  # bytes that a response lacks that was cut short
CONFLICT: Final = b'{"Type": "idempotent_creation_conflict"}'
RESOLVE, CONNECT = FailureKind.RESOLVE, FailureKind.CONNECT

NO_TOKEN: Final = Met("no token", None, before_a_byte=True, error=(503, "token_locked_out"))
NO_SLOT: Final = Met("no slot", Fate(fails=FailureKind.NO_SLOT), before_a_byte=True, error=(503, "overloaded"))
UNREACHABLE: Final = [
    Met(str(kind), Fate(fails=kind), before_a_byte=True)
    for kind in (RESOLVE, CONNECT, FailureKind.EGRESS, FailureKind.TLS, FailureKind.DEAD_BEFORE_WRITE)
]
LOST: Final = [
    Met("new connection broke", Fate(breaks=True), broke=True),
    Met("reused connection broke", Fate(breaks=True), broke=True, reused=True),
    Met("new connection broke in the request", Fate(takes_all=False, breaks=True), broke=True),
    Met("reused connection broke in the request", Fate(takes_all=False, breaks=True), broke=True, reused=True),
    Met("broke in the response's head", Fate(response=b"HTTP/1.1 2", breaks=True), reused=True),
]
SILENT: Final = [
    Met("no response in time", Fate(), error=(504, "upstream_timeout")),
    Met("request not taken in time", Fate(takes_all=False), error=(504, "upstream_timeout")),
]
BROKEN: Final = [
    Met("no HTTP", Fate(response=b"ICY 200 OK\r\n\r\n")),
    Met("a body without an end", Fate(response=b"HTTP/1.1 200 OK\r\n\r\nhello")),
    Met("two lengths", Fate(response=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi")),
]
TOKEN_401: Final = [
    answered("401", 401, b'{"Message": "expired"}', unauthorized="token"),
    answered("401 without a body", 401, b"", unauthorized="token"),
    answered("401 of 64 KiB", 401, bytes(SMALL), unauthorized="token"),
    Met("401 on a connection that stays", Fate(response=respond(401, b"{}")), status=401, unauthorized="token"),
    Met(
        "401 in chunks",
        Fate(
            response=b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ),
        status=401,
        unauthorized="token",
    ),
]
OTHER_401: Final = [
    answered("401 of more than 64 KiB", 401, bytes(SMALL + 1), unauthorized="token", large=True),
    answered("401 for SCA", 401, b"{}", "WWW-Authenticate: PendingUserAction RedirectUrl=x", unauthorized="sca"),
    Met(
        "401 cut short",
        Fate(response=respond(401, b"{}", length=2 + CUT), breaks=True),
        status=401,
        unauthorized="token",
        complete=False,
    ),
]
ANSWERED: Final = [
    answered("200", 200),
    answered("204", 204, b""),
    answered("403", 403),
    answered("409 conflict", 409, CONFLICT, conflict=True),
    answered("409", 409),
    answered("429", 429, b"{}", "Retry-After: 7"),
    answered("500", 500),
    answered("503", 503, b"{}", "Retry-After: 7"),
    Met("200 cut short", Fate(response=respond(200, b"{}", length=2 + CUT), breaks=True), status=200, complete=False),
]
FIRST: Final = [NO_TOKEN, NO_SLOT, *UNREACHABLE, *LOST, *SILENT, *BROKEN, *TOKEN_401, *OTHER_401, *ANSWERED]
#: The same, less what is only a variant of another.
SECOND: Final = [
    NO_TOKEN, NO_SLOT, UNREACHABLE[0], UNREACHABLE[-1], LOST[0], SILENT[0], BROKEN[0], TOKEN_401[0], *OTHER_401,
    ANSWERED[0], *ANSWERED[2:4], ANSWERED[6], ANSWERED[8],
]  # fmt: skip
#: What an attempt meets beyond the two that a case is about.
FINE: Final = ANSWERED[0]

#: What is stored under the key: the status of the response; 0: nothing.
STORED: Final = (0, 201, 401)


@dataclass(frozen=True)
class Case:
    """A request, and what happens to its attempts."""

    asked: Asked
    met: tuple[Met, ...]
    #: It has an Idempotency-Key; POST only.
    keyed: bool = False
    stored: int = 0
    #: What is stored was made before the call: it answers an earlier one.
    older: bool = False
    #: ``replay.resolve_conflicts``.
    resolving: bool = False

    def __str__(self) -> str:
        key = f", keyed, {self.stored} stored" if self.keyed else ""
        key += ", before it" * self.older + ", resolving conflicts" * self.resolving
        return f"{self.asked}: {', then '.join(map(str, self.met))}{key}"


@dataclass
class Seen:
    """What callers, Mangopay and operators see of a case."""

    status: int = 0
    code: str | None = None
    outcome: str | None = None
    #: ``X-Sidecar-Recovered``, in no order.
    recovered: set[str] = field(default_factory=set)
    #: Of whose body the caller got the whole, or the beginning.
    cut: bool = False
    deliveries: int = 0
    read_back: bool = False
    unauthorized: Counter[str] = field(default_factory=Counter)


# --- the prose -------------------------------------------------------------------------------------------------------


def oracle(case: Case) -> tuple[Seen, int]:
    """Say what sections 5.4 and 6 promise, sentence by sentence; and how many attempts that takes."""
    asked, seen = case.asked, Seen()
    reconnected = False
    refused = 0  # complete 401s to the first delivery
    for number, met in enumerate((*case.met, FINE, FINE), 1):
        if met.before_a_byte:
            # "Connecting failed", "a pooled connection was dead": one resend. "No token, no slot": none.
            if met in UNREACHABLE and asked.repeatable and not reconnected:
                reconnected = True
                continue
            return _ended(case, seen, met, unknown=seen.deliveries > refused), number
        seen.deliveries += 1
        first = seen.deliveries == 1
        if not met.status:
            # "One resend if the connection was a reused one", of a read: never of a write.
            if met.broke and met.reused and asked.safe and asked.repeatable and first and not reconnected:
                reconnected = True
                continue
            return _ended(case, seen, met, unknown=True), number
        if reconnected:
            seen.recovered.add("connection")
        if met.unauthorized == "token" and not refused and first and asked.repeatable and not met.large:
            seen.unauthorized["token"] += 1
            if met.complete:
                refused = 1
                continue
            # "Only if the 401's own body is complete": it broke off before the caller got any of it.
            return _ended(case, seen, met, unknown=True), number
        return _passed_on(case, seen, met, resent=bool(refused)), number
    raise AssertionError("a call ends")


def _passed_on(case: Case, seen: Seen, met: Met, *, resent: bool) -> Seen:
    """Return what is seen of a call that ends with a response; ``resent``: after a token 401."""
    seen.status = met.status
    if met.unauthorized:
        seen.unauthorized["futile" if resent and met.unauthorized == "token" else met.unauthorized] += 1
    if resent and met.unauthorized != "token":
        if met.conflict and case.keyed:
            # "The key is read back: a stored 401 means that the caller gets the first 401."
            seen.read_back = True
            if case.stored == 401 and not case.older:
                return replace(seen, status=401)
        seen.recovered.add("token")
    if met.conflict and case.keyed and case.resolving:
        # "A keyed POST refused with 409 gets the stored answer to that key and path": "its date may be older".
        seen.read_back = True
        if case.stored:
            return replace(seen, status=case.stored, recovered=seen.recovered | {"idempotency"})
    if not met.complete:
        if case.keyed:
            return _ended(case, seen, met, unknown=True)
        # "Cut short after the head is cut short here too."
        seen.cut, seen.code, seen.outcome = True, "upstream_unreachable", "unknown"
    return seen


def _ended(case: Case, seen: Seen, met: Met, *, unknown: bool) -> Seen:
    """Return what is seen of a call that no response of Mangopay's ends."""
    status, code = met.error
    if unknown and status == 503:
        status, code = 502, "upstream_unreachable"  # section 7: a 503 is never unknown
    outcome = "unknown" if unknown else "rejected" if seen.deliveries else "not-sent"
    if unknown and case.keyed:
        seen.read_back = True
        if case.stored and not case.older:
            recovered = seen.recovered | {"idempotency"}
            if seen.deliveries > 1 and case.stored != 401:
                recovered.add("token")
            return replace(seen, status=case.stored, recovered=recovered)
    return replace(seen, status=status, code=code, outcome=outcome, recovered=set())


# --- the sidecar -----------------------------------------------------------------------------------------------------


def stored_response(proxy: MemoryProxy, status: int, *, later: float = 0.0, age: float = 0.0) -> bytes:
    """Return what is stored under the key since ``age`` seconds, as Mangopay tells it ``later`` seconds from now."""
    now = proxy.clock.wall()
    document = {
        "StatusCode": str(status),
        "RequestURL": f"https://api.mangopay.com{PATH.replace('v2.01', 'V2.01')}",
        "Date": now - age,
        "ContentType": "application/json",
        "Resource": {"Id": "stored"},
    }
    date = "Date: " + formatdate(now + later, usegmt=True)
    return respond(200, msgspec.json.encode(document), date)


async def watch(case: Case) -> Seen:
    """Make the call; return what was seen."""
    met = case.met
    async with in_memory(token=met[0] is not NO_TOKEN, resolve_conflicts=case.resolving) as proxy:
        if met[0].reused:
            await proxy.warm()
        if NO_TOKEN in met:
            proxy.source.then(LOCKED_OUT)
        if case.stored:
            answer = stored_response(proxy, case.stored, age=3600.0 if case.older else 0.0)
            proxy.mangopay.stored.extend([answer] * (3 if case.older else 1))
        fates = [each.fate for each in (*met, FINE, FINE) if each.fate is not None]
        headers = [f"Idempotency-Key: {KEY}"] if case.keyed else []
        caller = await proxy.call(case.asked.bytes(*headers), *fates)
        recovered = caller.header("X-Sidecar-Recovered")
        record = proxy.record
        seen = Seen(
            status=caller.status,
            code=caller.header("X-Sidecar-Error") or (record.error and str(record.error)),
            outcome=caller.header("X-Sidecar-Outcome") or (record.outcome and str(record.outcome)),
            recovered=set(recovered.split(", ")) if recovered else set(),
            cut=caller.transport.cut,
            deliveries=len(proxy.mangopay.deliveries),
            read_back=bool(proxy.mangopay.read_backs),
            unauthorized=Counter(proxy.unauthorized()),
        )
        _check_record(case, proxy, seen)
        _check_deliveries(case, proxy)
        return seen


def _check_record(case: Case, proxy: MemoryProxy, seen: Seen) -> None:
    """The log and the metrics say what the caller saw."""
    record, metrics = proxy.record, proxy.metrics
    assert (record.status, record.deliveries) == (seen.status, seen.deliveries)
    assert (record.error, record.outcome) == (seen.code, seen.outcome)
    assert {how for (how,), count in metrics.recovered.items() if count} == set(record.recovered)
    # A call that was mended, and failed all the same, tells its caller of the failure alone.
    assert set(record.recovered) == seen.recovered or record.source == "sidecar"
    errors = {key: count for key, count in metrics.errors.items() if count}
    assert errors == ({(seen.code, seen.outcome): 1} if seen.code else {})
    assert record.source == ("sidecar" if seen.code and not seen.cut else "upstream")
    assert record.bytes_in == len(case.asked.body) or not case.asked.repeatable
    assert record.idempotency_key == (KEY if case.keyed else None) or seen.outcome != "unknown"


def _check_deliveries(case: Case, proxy: MemoryProxy) -> None:
    """What was delivered twice is the same, byte for byte, but for a newer token after a 401."""
    deliveries = proxy.mangopay.deliveries
    assert len({delivery.head_without_token for delivery in deliveries}) <= 1
    for delivery in deliveries:
        if delivery.whole and case.asked.repeatable:
            assert delivery.body == case.asked.body
    if len(deliveries) == 2:
        newer = next(each for each in case.met if not each.before_a_byte).unauthorized == "token"
        assert (deliveries[0].token != deliveries[1].token) is newer
    # Another key's response would be somebody else's.
    assert set(proxy.mangopay.read_backs) <= {f"/v2.01/acme/responses/{KEY}"}


def cases(asked: Asked, first: Met) -> Iterator[Case]:
    """Yield what can follow on ``first``."""
    for keyed in (False, True) if asked.method == "POST" else (False,):
        for stored in STORED if keyed else (0,):
            case = Case(asked, (first,), keyed, stored)
            if oracle(case)[1] == 1:
                yield from _variants(case)
                continue
            for second in SECOND:
                # Mangopay does not keep a 401 under a key and then answer the same key with success.
                if applies(asked, first, second) and not (stored == 401 and second.status == 200):
                    yield from _variants(replace(case, met=(first, second)))


def _variants(case: Case) -> Iterator[Case]:
    """Yield ``case``, and if it ends with a 409, what else is possible then."""
    yield case
    if case.keyed and case.met[-1].status == 409:
        yield replace(case, resolving=True)
        if case.stored:
            yield replace(case, older=True)
            yield replace(case, older=True, resolving=True)


def applies(asked: Asked, first: Met, second: Met | None = None) -> bool:
    """Whether it can happen at all."""
    for met in (first, second):
        if met is None:
            continue
        if asked.method == "HEAD" and (met.large or not met.complete or met is BROKEN[1]):
            return False  # a response to HEAD has no body
        if met.fate is not None and not met.fate.takes_all and len(asked.body) <= SMALL:
            return False  # it is written at once
    if second is NO_TOKEN:
        return first.unauthorized == "token"  # else the call has one
    # A connection that stays is used again: nothing can fail before a byte.
    return not (first is TOKEN_401[3] and second is not None and second.before_a_byte)


@pytest.mark.parametrize(
    ("asked", "first"), [(asked, first) for asked in ASKED for first in FIRST if applies(asked, first)], ids=str
)
async def test_a_call_ends_as_the_contract_says(asked: Asked, first: Met) -> None:
    for case in cases(asked, first):
        assert await watch(case) == oracle(case)[0], str(case)


# --- what the table does not say -------------------------------------------------------------------------------------

KEYED: Final = Asked("POST", b"{}").bytes(f"Idempotency-Key: {KEY}")


async def mended_after(proxy: MemoryProxy, seconds: float, second: Fate) -> MemoryCaller:
    """Make a keyed call that meets a 401, and ``second`` when a new token is there after ``seconds``."""
    proxy.source.delay = seconds
    return await proxy.call(KEYED, Fate(response=respond(401, b"{}")), second)


async def test_a_stored_401_counts_from_the_first_delivery_on() -> None:
    """It answers that one: it is older than the second delivery, and not somebody else's."""
    async with in_memory() as proxy:
        proxy.mangopay.stored.append(stored_response(proxy, 401, later=5.0))
        caller = await mended_after(proxy, 5.0, Fate(response=respond(409, CONFLICT)))
        assert (caller.status, caller.body) == (401, b"{}")


async def test_a_lost_response_to_the_second_delivery_is_not_older_than_that() -> None:
    async with in_memory() as proxy:
        proxy.mangopay.stored.extend([stored_response(proxy, 201, later=5.0)] * 3)
        caller = await mended_after(proxy, 5.0, Fate(breaks=True))
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")


async def test_a_conflict_that_is_told_in_gzip_is_looked_up_as_any_other() -> None:
    """Most SDKs take gzip, and Mangopay's error reports come in it."""
    conflict = respond(409, gzip.compress(CONFLICT, mtime=0), "Content-Encoding: gzip")
    async with in_memory(resolve_conflicts=True) as proxy:
        proxy.mangopay.stored.append(stored_response(proxy, 201))
        caller = await proxy.call(KEYED, Fate(response=conflict))
        assert (caller.status, caller.header("X-Sidecar-Recovered")) == (201, "idempotency")


async def test_a_path_of_another_client_id_says_nothing_of_our_token() -> None:
    """Section 4.2: its 401 burns, judges and counts nothing, and what is stored under its key is not ours to read."""
    foreign = KEYED.replace(b"/acme/", b"/somebody/")
    async with in_memory() as proxy:
        caller = await proxy.call(foreign, Fate(response=respond(401, b"{}")))
        assert (caller.status, len(proxy.mangopay.deliveries), proxy.source.requests) == (401, 1, 1)
        assert proxy.unauthorized() == {}
        caller = await proxy.call(foreign, Fate(breaks=True))
        assert (caller.status, proxy.mangopay.read_backs) == (502, [])


async def test_a_401_from_a_path_in_its_pause_is_passed_on_until_the_path_answers_otherwise() -> None:
    """Section 5.5: a futile refresh is the path's fault."""
    unauthorized, fine = Fate(response=respond(401, b"{}")), Fate(response=respond(200))
    request = Asked("GET").bytes()
    async with in_memory() as proxy:
        for fates, status, futile, recovered in (
            ((unauthorized, unauthorized), 401, True, ()),
            ((unauthorized,), 401, True, ()),
            ((fine,), 200, False, ()),
            ((unauthorized, fine), 200, False, ("token",)),
        ):
            caller = await proxy.call(request, *fates)
            record = proxy.records[-1]
            assert (caller.status, record.futile, record.recovered) == (status, futile, recovered)
        assert proxy.unauthorized() == {"token": 2, "futile": 2}
        assert proxy.source.requests == 3


async def test_a_401_from_a_path_in_its_pause_is_passed_on_while_a_token_is_fetched_for_another_reason() -> None:
    """Section 5.5: "as Mangopay sent it". That fetch may fail, while the token at hand serves every other call."""
    read, unauthorized = Asked("GET").bytes(), Fate(response=respond(401, b"{}"))
    async with in_memory() as proxy:
        proxy.source.life = 8.0  # the token of the futile refresh is renewed ahead before the pause is over
        await proxy.call(read, unauthorized, unauthorized)
        proxy.source.gated = True
        await proxy.clock.advance(proxy.source.sent_at[-1] + 7.4 - proxy.clock.now())
        assert proxy.source.in_flight == 1
        caller = await proxy.call(read, unauthorized)
        assert (caller.status, caller.body, caller.header("X-Sidecar-Error")) == (401, b"{}", None)
        assert proxy.source.in_flight == 1
        assert proxy.unauthorized() == {"token": 1, "futile": 2}
        proxy.source.let_go()


async def test_a_401_that_no_resend_could_judge_is_judged_by_the_next_call() -> None:
    """Section 5.5: "if no call could be resent, the first answer to the new generation decides"."""
    unauthorized = Fate(response=respond(401, b"{}"))
    async with in_memory() as proxy:
        await proxy.call(Asked("POST", STREAMED).bytes(), unauthorized)
        assert proxy.unauthorized() == {"token": 1}
        await proxy.call(Asked("GET").bytes(), unauthorized)
        assert proxy.unauthorized() == {"token": 1, "futile": 1}
        assert len(proxy.mangopay.deliveries) == 2


async def test_a_read_that_broke_on_a_reused_connection_goes_out_again_on_a_new_one() -> None:
    """Another idle one may be as dead."""
    read, fine = Asked("GET").bytes(), respond(200)
    async with in_memory() as proxy:
        for _ in range(2):
            proxy.begin(read, Fate())
        await proxy.clock.settle()
        for delivery in proxy.mangopay.deliveries:
            delivery.respond(fine)
        await proxy.clock.settle()
        assert (proxy.mangopay.dials, len(proxy.records)) == (2, 2)
        caller = await proxy.call(read, Fate(breaks=True), Fate(response=fine))
        assert (caller.status, caller.header("X-Sidecar-Recovered"), proxy.mangopay.dials) == (200, "connection", 3)


async def test_a_refresh_that_no_resend_could_judge_has_helped_if_the_next_call_says_so() -> None:
    unauthorized, fine = Fate(response=respond(401, b"{}")), Fate(response=respond(200))
    async with in_memory() as proxy:
        await proxy.call(Asked("POST", STREAMED).bytes(), unauthorized)
        caller = await proxy.call(Asked("GET").bytes(), fine)
        assert caller.status == 200
        caller = await proxy.call(Asked("GET").bytes(), unauthorized, fine)
        assert (caller.status, caller.header("X-Sidecar-Recovered")) == (200, "token")
        assert proxy.unauthorized() == {"token": 2}


async def test_an_sca_challenge_ends_a_pause_as_any_other_response_does() -> None:
    unauthorized = Fate(response=respond(401, b"{}"))
    challenge = Fate(response=respond(401, b"{}", "WWW-Authenticate: PendingUserAction RedirectUrl=x"))
    async with in_memory() as proxy:
        await proxy.call(Asked("GET").bytes(), unauthorized, unauthorized)
        await proxy.call(Asked("GET").bytes(), challenge)
        await proxy.call(Asked("GET").bytes(), unauthorized, Fate(response=respond(200)))
        assert proxy.records[-1].recovered == ("token",)


async def test_broken_chunks_that_came_with_the_head_are_an_error_and_not_half_a_response() -> None:
    """The connection has closed by then: nothing of the response needs to be passed on."""
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\nxyz\r\n"
    async with in_memory() as proxy:
        caller = await proxy.call(Asked("GET").bytes(), Fate(response=broken))
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")
        assert proxy.record.deliveries == 1


@pytest.mark.interpreted  # it puts a fake in the place of native code
async def test_a_bug_of_ours_that_comes_between_a_response_and_its_caller_keeps_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its slot would be taken for ever."""

    def bug(_fields: object) -> None:
        raise RuntimeError

    async with in_memory() as proxy:
        monkeypatch.setattr(proxy.metrics, "rate_limits", SimpleNamespace(observe=bug))
        caller = await proxy.call(Asked("GET").bytes(), Fate(response=respond(200, b"{", length=9)))
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")
        assert proxy.mangopay.deliveries[0].transport.cut
        assert proxy.pool.open == 0


@pytest.mark.parametrize("status", [200, 401, 429])
async def test_the_rate_limits_of_every_response_are_noted(status: int) -> None:
    async with in_memory() as proxy:
        limits = ["X-RateLimit: 100", "X-RateLimit-Remaining: 2300", "X-RateLimit-Reset: 1700000900"]
        await proxy.call(Asked("POST", STREAMED).bytes(), Fate(response=respond(status, b"{}", *limits)))
        (window,) = proxy.metrics.rate_limits.windows()
        assert (window.used, window.remaining, window.reset) == (100, 2300, 1700000900)


async def test_the_rate_limits_of_the_response_to_a_resend_are_noted() -> None:
    def limits(used: int) -> list[str]:
        return [f"X-RateLimit: {used}", f"X-RateLimit-Remaining: {2400 - used}", "X-RateLimit-Reset: 1700000900"]

    async with in_memory() as proxy:
        first = Fate(response=respond(401, b"{}", *limits(100)))
        await proxy.call(Asked("GET").bytes(), first, Fate(response=respond(200, b"{}", *limits(101))))
        (window,) = proxy.metrics.rate_limits.windows()
        assert (window.used, window.remaining) == (101, 2299)


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_a_connection_that_ends_while_its_call_waits_for_a_token_is_not_written_to() -> None:
    """The system knows of its end before the event loop has looked: here by a pipe in place of a socket."""
    reading, writing = os.pipe()
    try:
        async with in_memory(token=False) as proxy:
            proxy.source.gated = True
            proxy.mangopay.descriptor = reading
            caller = proxy.begin(Asked("POST").bytes(), Fate(response=respond(201)))
            await proxy.clock.settle()
            assert (proxy.source.in_flight, proxy.mangopay.dials) == (1, 1)
            os.write(writing, b"x")
            proxy.mangopay.descriptor = -1
            proxy.source.let_go()
            await proxy.over()
            # It was given back while the call waited, so another one was opened: nothing had to be sent again.
            assert (caller.status, caller.header("X-Sidecar-Recovered")) == (201, None)
            assert (len(proxy.mangopay.deliveries), proxy.mangopay.dials) == (1, 2)
            assert [each.result for each in proxy.record.timeline] == [201]
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_connection_that_was_opened_for_a_call_is_new_to_it_though_a_token_was_waited_for() -> None:
    """It was idle meanwhile, but upstream had no reason to close it: a read that breaks on it is not sent again."""
    async with in_memory(token=False) as proxy:
        proxy.source.delay = 0.5
        caller = await proxy.call(Asked("GET").bytes(), Fate(breaks=True))
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")
        assert (len(proxy.mangopay.deliveries), proxy.mangopay.dials) == (1, 1)


async def test_each_of_a_calls_waits_for_a_token_is_on_its_timeline() -> None:
    async with in_memory(token=False) as proxy:
        proxy.source.delay = 0.5
        await proxy.call(Asked("POST", b"{}").bytes(), Fate(response=respond(401, b"{}")), Fate(response=respond(201)))
        assert [(each.token, each.result, each.generation) for each in proxy.record.timeline] == [
            (0.5, 401, 1),
            (0.5, 201, 2),
        ]
        assert proxy.record.token_wait_seconds == 1.0


@pytest.mark.parametrize(("waited", "left"), [(0.0, 10.0), (1.0, 10.0), (5.0, 7.0), (11.0, 1.0)])
async def test_waits_for_a_connection_and_for_a_token_share_twelve_seconds(waited: float, left: float) -> None:
    """Section 3; ``token.wait_timeout`` (10 s) bounds one of them besides."""
    async with in_memory(token=False) as proxy:
        proxy.source.gated = True
        others = [await proxy.pool.acquire(1e9) for _ in range(2)]
        began = proxy.clock.now()
        caller = proxy.begin(Asked("POST", b"{}").bytes())
        await proxy.clock.advance(waited)
        others[0].release()
        await proxy.over()
        assert (caller.status, caller.header("X-Sidecar-Error")) == (503, "token_unavailable")
        assert proxy.clock.now() - began == pytest.approx(waited + left, abs=0.3)
        (attempt,) = proxy.record.timeline
        assert (attempt.at, attempt.connection, attempt.result) == (0.0, waited, "token_unavailable")
        assert attempt.token == pytest.approx(left, abs=0.3)
        assert proxy.record.token_wait_seconds == attempt.token
        proxy.source.let_go()


async def test_a_call_that_waited_in_vain_for_a_refresh_is_sent_with_the_token_that_is_about_to_expire() -> None:
    """Section 5.7: it waits for ``token.wait_timeout`` (10 s), not for all of its twelve seconds."""
    async with in_memory() as proxy:
        proxy.source.gated = True
        await proxy.clock.advance(3585)
        began = proxy.clock.now()
        caller = await proxy.call(Asked("POST", b"{}").bytes(), Fate(response=respond(201)))
        assert caller.status == 201
        assert proxy.record.timeline[0].generation == 1
        assert proxy.clock.now() - began == pytest.approx(10.0, abs=0.3)
        proxy.source.let_go()


async def test_a_token_that_is_burnt_while_a_call_waits_for_its_connection_is_not_used() -> None:
    async with in_memory() as proxy:
        proxy.source.gated = True
        await proxy.clock.advance(3585)
        caller = proxy.begin(Asked("POST", b"{}").bytes(), Fate(response=respond(201)))
        await proxy.clock.advance(1.0)
        others = [await proxy.pool.acquire(1e9) for _ in range(2)]
        await proxy.clock.advance(9.2)
        assert proxy.tokens.unauthorized(1, "/v2.01/acme/else") is not None
        others[0].release()
        await proxy.clock.settle()
        proxy.source.let_go()
        await proxy.over()
        assert (caller.status, proxy.record.timeline[0].generation) == (201, 2)


async def test_a_call_that_gets_no_connection_in_twelve_seconds_is_overloaded() -> None:
    async with in_memory() as proxy:
        for _ in range(2):
            await proxy.pool.acquire(1e9)
        began = proxy.clock.now()
        caller = await proxy.call(Asked("POST", b"{}").bytes())
        assert (caller.status, caller.header("X-Sidecar-Error")) == (503, "overloaded")
        assert (caller.header("X-Sidecar-Outcome"), caller.header("Retry-After")) == ("not-sent", "1")
        assert proxy.clock.now() - began == pytest.approx(12.0, abs=1.0)


async def test_each_attempt_is_on_the_calls_timeline() -> None:
    async with in_memory() as proxy:
        proxy.source.delay = 0.5
        proxy.begin(Asked("POST", b"{}").bytes(), Fate(), Fate())
        await proxy.clock.advance(1.0)
        proxy.mangopay.deliveries[0].respond(respond(401, b"{}"))
        await proxy.clock.advance(2.0)
        proxy.mangopay.deliveries[1].respond(respond(201))
        await proxy.clock.settle()
        first, second = proxy.record.timeline
        assert (first.at, first.connection, first.token, first.upstream, first.result) == (0.0, 0.0, 0.0, 1.0, 401)
        assert (second.at, second.connection, second.token, second.result) == (1.0, 0.0, 0.5, 201)
        assert second.upstream == 1.5
        assert {first.purpose, second.purpose} == {"call"}
        assert (proxy.record.upstream_seconds, proxy.record.token_wait_seconds) == (2.5, 0.5)
