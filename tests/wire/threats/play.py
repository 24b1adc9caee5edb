"""Plays a case over a socket and says what went otherwise than it must.

Every case ends with a plain call, on the same connection if that is to stay
open, else on a new one. Its response must be its own: so a case fails too if it
left anything behind, in the caller's connection or in the pool to upstream.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ErrorCode
from tests.support import canary
from tests.support.recording_upstream import PROBE, RecordingUpstream
from tests.wire.threats.caller import Caller
from tests.wire.threats.case import (
    About,
    Begins,
    Broken,
    Case,
    Echo,
    Exactly,
    ExpectedResponse,
    LocalToken,
    Nothing,
    Refusal,
    get,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds until a byte that is waited for counts as missing; generous, since test machines are busy.
PATIENCE: Final = 10.0

#: What the port calls itself, in a body (a HEAD has none).
_OWN_NAME: Final = "mangopay-sidecar"

#: Stands for the port of a server that no request may ever reach.
ELSEWHERE: Final = b"{elsewhere}"

#: All that a refusal has: nothing for browsers, no challenge, no name of a product.
_REFUSAL_FIELDS: Final = {
    b"content-type",
    b"content-length",
    b"connection",
    b"retry-after",
    b"x-sidecar-error",
    b"x-sidecar-outcome",
}
#: Words of our own messages that requests may have too.
_SAID_ANYWAY: Final = {b"100-continue", b"Content-Type", b"Idempotency-Key", b"Content-Length", b"application/json"}
_probes: Final = itertools.count(1)


@dataclass(frozen=True)
class Target:
    """A proxy to play on, the upstream behind it, and a server that it has no business with."""

    port: int
    upstream: RecordingUpstream
    elsewhere: RecordingUpstream
    #: Send what nobody asked for on upstream's connections; returns once it is sent.
    inject: Callable[[bytes], None]
    #: What the proxy logged as failures of its own.
    failures: Callable[[], list[str]] = list
    #: Whether a planted secret in a response is a fault of ours.
    keeps_secrets: bool = True

    @property
    def host(self) -> bytes:
        """How the proxy has to name upstream."""
        return b"127.0.0.1:%d" % self.upstream.port


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that went otherwise than it must."""

    text: str
    #: The threat has come true: bytes got where they must not, or a response was taken for another one or for whole.
    #: Otherwise only the response is not the right one.
    breach: bool

    def __str__(self) -> str:
        return f"{'BREACH: ' if self.breach else ''}{self.text}"


def run_case(case: Case, venue: Target, patience: float = PATIENCE) -> list[Complaint]:
    """Return what went wrong, nothing if the case passes."""
    return _Play(case, venue, patience).complaints()


class _Play:
    def __init__(self, case: Case, venue: Target, patience: float) -> None:
        self._case = _filled_in(case, b"%d" % venue.elsewhere.port)
        self._venue = venue
        self._patience = patience
        self._found: list[Complaint] = []

    def complaints(self) -> list[Complaint]:
        """Play, and return what went wrong."""
        venue = self._venue
        strays, failures = venue.elsewhere.accepted, len(venue.failures())
        venue.upstream.expect(self._case.replies)
        try:
            self._converse()
        except TimeoutError:
            self._complain("waited in vain for an answer, or for the end of the connection")
        except (OSError, ValueError, IndexError, KeyError) as error:
            self._complain(f"the answer cannot be read: {error!r}")
        self._check_received()
        if self._case.distrusts and venue.upstream.probed in {each.connection for each in venue.upstream.take()}:
            self._complain("the next call went out on a connection that is not to be trusted", breach=True)
        if venue.elsewhere.accepted != strays:
            self._complain("it connected to a server that the request named", breach=True)
        for failure in venue.failures()[failures:]:
            self._complain(failure)
        return self._found

    def _complain(self, text: str, *, breach: bool = False) -> None:
        self._found.append(Complaint(text, breach))

    def _converse(self) -> None:
        case, venue = self._case, self._venue
        with Caller(venue.port, self._patience) as caller:
            responses = iter(case.outcome.responses)
            for piece in case.sent[:-1]:
                caller.send(piece)
                self._check(next(responses), caller)
            caller.send(case.sent[-1])
            if case.half_closes:
                caller.half_close()
            for response in responses:
                self._check(response, caller)
            if case.injected:
                venue.inject(case.injected)
            if case.outcome.closes:
                self._check_end(caller)
            else:
                self._probe(caller, "the same connection")
        if case.outcome.closes:
            with Caller(venue.port, self._patience) as caller:
                self._probe(caller, "a new connection")

    # --- what the caller gets ----------------------------------------------------------------------------------------

    def _check(self, response: ExpectedResponse, caller: Caller) -> None:
        match response:
            case Echo(index):
                data = self._case.response_to(index, self._venue.host)
                if self._case.outcome.closes and response is self._case.outcome.responses[-1]:
                    data = data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
                self._expect_bytes(data, caller)
            case Exactly(data):
                self._expect_bytes(data, caller)
            case Refusal():
                self._check_refusal(response, caller)
            case LocalToken():
                self._check_local_token(caller)
            case About():
                self._check_about(caller)
            case Begins(status_line):
                self._check_cut(status_line, caller)
            case Broken():
                self._check_broken(caller)
            case Nothing():
                pass  # the end of the connection is checked for every case that closes

    def _expect_bytes(self, data: bytes, caller: Caller) -> None:
        got = caller.exactly(len(data))
        self._look_for_secrets(got)
        if got != data:
            self._complain(f"answered {got[:300]!r}\ninstead of {data[:300]!r}", breach=bool(got))

    def _look_for_secrets(self, response: bytes) -> None:
        if self._venue.keeps_secrets:
            canary.record("answer", response[:10_000])

    def _own_response(self, caller: Caller, begins: bytes) -> tuple[bytes, dict[bytes, bytes], dict[str, object]]:
        head = caller.head()
        if not re.match(begins, head):
            self._complain(f"no answer of the sidecar's own, but {head[:200]!r}", breach=bool(head))
        lines = head[:-4].split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        body = b"{}"
        if not self._case.sent[0].startswith(b"HEAD "):
            body = caller.exactly(int(fields.get(b"content-length", b"0")))
        self._look_for_secrets(head + body)
        self._check_for_echoes(head + body)
        content = json.loads(body or b"{}")
        if not isinstance(content, dict):
            raise ValueError("no object")
        return lines[0], fields, content

    def _check_broken(self, caller: Caller) -> None:
        """Expect a 502, after which the connection may live on until we end it; or a cut."""
        try:
            begins = caller.peek(13)
        except ConnectionResetError:
            return
        if begins == b"HTTP/1.1 502 ":
            self._check_refusal(Refusal(ErrorCode.UPSTREAM_UNREACHABLE, b"unknown"), caller, may_close=True)
            caller.half_close()
        else:
            self._check_cut(b"HTTP/1.1 200 ", caller)

    def _check_refusal(self, refusal: Refusal, caller: Caller, *, may_close: bool = False) -> None:
        line, fields, content = self._own_response(caller, rb"HTTP/1\.1 [45]")
        expected: dict[str, tuple[object, object]] = {
            "status": (b"%d" % refusal.status, line.split(b" ")[1]),
            "code": (refusal.code.encode(), fields.get(b"x-sidecar-error")),
            "outcome": (refusal.outcome, fields.get(b"x-sidecar-outcome")),
            "type": (b"application/json", fields.get(b"content-type")),
            "connection": (
                b"close" if self._case.outcome.closes and not may_close else None,
                fields.get(b"connection"),
            ),
            "retry": (refusal.status == 503, b"retry-after" in fields),
            "other fields": (set(), fields.keys() - _REFUSAL_FIELDS),
        }
        if not self._case.sent[0].startswith(b"HEAD "):
            shape = {"Message": str, "Type": str, "Id": str, "Date": int, "errors": type(None)}
            expected["shape"] = (shape, {name: type(value) for name, value in content.items()})
            expected["named"] = (f"sidecar_{refusal.code}", content.get("Type"))
        for what, (must, has) in expected.items():
            if must != has:
                self._complain(f"{what}: {has!r} instead of {must!r}")

    def _check_for_echoes(self, response: bytes) -> None:
        """A response of the sidecar's own says nothing that the request said."""
        line, _, fields = b"".join(self._case.sent)[:20_000].partition(b"\r\n\r\n")[0].partition(b"\r\n")
        values = b" ".join(re.findall(rb":[ \t]*([^\r\n]*)", fields))
        words = set(re.findall(rb"[^\s:,;]{12,}", line + b" " + values)) - _SAID_ANYWAY
        for word in words:
            if word in response and not word.startswith(b"/v2.01/oauth"):  # the path that our advice names
                self._complain(f"the answer repeats {word[:60]!r} of the request", breach=True)

    def _check_local_token(self, caller: Caller) -> None:
        line, _, content = self._own_response(caller, rb"HTTP/1\.1 200 OK")
        token = content.get("access_token")
        if line != b"HTTP/1.1 200 OK" or not isinstance(token, str) or not token.startswith("sidecar_"):
            self._complain(f"no local token but {line!r}")

    def _check_about(self, caller: Caller) -> None:
        line, _, content = self._own_response(caller, rb"HTTP/1\.1 200 OK")
        if line != b"HTTP/1.1 200 OK" or content.get("name", _OWN_NAME) != _OWN_NAME:
            self._complain(f"it does not say what it is but {line!r}")

    def _check_cut(self, status_line: bytes, caller: Caller) -> None:
        """A head may come; then the connection is reset, or ends before the body does."""
        try:
            head = caller.head()
            body = caller.rest()
        except ConnectionResetError:
            return
        if not head.startswith(status_line):
            self._complain(f"answered {head[:100]!r}")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        whole = len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")
        if whole or not (length or b"chunked" in head.lower()):
            self._complain(f"a broken answer ended as if it were whole: {(head + body)[-200:]!r}", breach=bool(head))

    def _check_end(self, caller: Caller) -> None:
        try:
            rest = caller.rest()
        except ConnectionResetError:
            return
        if rest:
            self._complain(f"more came than was asked for: {rest[:300]!r}")

    def _probe(self, caller: Caller, where: str) -> None:
        """Make a plain call; what comes back must be the response to it and to nothing else."""
        target = b"/v2.01/acme%b%d" % (PROBE, next(_probes))
        caller.send(get(target, *_credentials(self._case)))
        head = caller.head()
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        got = head + caller.exactly(int(length[1]) if length else 0)
        if not head.startswith(b"HTTP/1.1 200 OK\r\n") or not re.search(
            rb"\r\n\r\nGET [a-z/]*%b, 0 bytes of body$" % re.escape(target), got
        ):
            self._complain(f"the next call on {where} was answered {got[:300]!r}", breach=bool(got))

    # --- what upstream received --------------------------------------------------------------------------------------

    def _check_received(self) -> None:
        received = self._venue.upstream.take()
        expected = self._case.expected(self._venue.host)
        for got, must in itertools.zip_longest(received, expected):
            if got is None:
                assert must is not None
                self._complain(f"upstream did not receive {must.head[:300]!r}")
            elif must is None:
                self._complain(f"upstream received what it must not: {(got.head + got.body)[:300]!r}", breach=True)
            elif not got.whole or got.head != must.head:
                self._complain(f"upstream received {got.head[:500]!r}\ninstead of {must.head[:500]!r}", breach=True)
            elif got.body != must.body:
                self._complain(f"upstream received {got.body[:300]!r}\ninstead of {must.body[:300]!r}", breach=True)


def _filled_in(case: Case, port: bytes) -> Case:
    """Put the port of the server that is none of the proxy's business where the case names it."""
    if not any(ELSEWHERE in piece for piece in case.sent):
        return case
    requests = case.outcome.forwarded
    if requests is not None:
        requests = tuple(replace(each, line=each.line.replace(ELSEWHERE, port)) for each in requests)
    sent = tuple(piece.replace(ELSEWHERE, port) for piece in case.sent)
    return replace(case, sent=sent, outcome=replace(case.outcome, forwarded=requests))


def _credentials(case: Case) -> tuple[bytes, ...]:
    """Return what a call needs to pass on the case's sidecar."""
    return PROBE_FIELDS.get(case.sidecar, ())


#: Fields that a plain call needs on some sidecars.
PROBE_FIELDS: Final[dict[str, tuple[bytes, ...]]] = {}
