"""What callers ask and what upstream does with it, drawn from a seed: the same seed draws the same storm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Numbers that each conversation has for its calls.
ROOM: Final = 8
#: Bodies above this stream: ``replay.max_body`` of the sidecar under test (bytes).
REPLAY_LIMIT: Final = 32 * 1024
#: Words in paths. Pauses after futile refreshes belong to paths, so there are many.
KINDS: Final = tuple(
    first + second for first in ("users", "wallets", "cards", "payins", "payouts") for second in "abcdef"
)
#: Bytes of a 401 up to which a request is sent again (contract section 5.4).
LARGEST_REFUSAL: Final = 64 * 1024

READS: Final = frozenset({"GET", "HEAD"})


class Action(StrEnum):
    """What upstream does with one delivery."""

    RESPOND = "respond"
    TOKEN_401 = "token 401"
    SCA_401 = "SCA 401"
    GARBAGE = "garbage"
    HANG = "hang"
    #: Ends the connection without a byte.
    LEAVE = "leave"


class Reading(StrEnum):
    """How much of the request upstream reads before it acts."""

    LINE = "request line"
    PART = "half of the body"
    WHOLE = "all"


class Framing(StrEnum):
    """How a response says where its body ends."""

    LENGTH = "length"
    CHUNKED = "chunked"
    TRAILER = "chunked with a trailer"
    LONG = "more than its length"
    SHORT = "less than its length"
    NONE = "neither length nor chunks"
    BOTH = "length and chunks"
    TWO = "two lengths"
    BAD_CHUNK = "a chunk size that is none"


class Ending(StrEnum):
    """What upstream does with its connection after a response."""

    KEEP = "keep"
    CLOSE = "close"
    SAY_CLOSE = "say close, and close"
    HALF = "close one side"
    RESET = "reset"
    #: Another response that nobody asked for.
    SURPLUS = "surplus"


class ReadBack(StrEnum):
    """What upstream says when it is asked for the stored response under a key."""

    TRUTH = "truth"
    LATE = "404 at first, then the truth"
    #: Somebody else's, for another path.
    OTHERS = "another path's"
    STALE = "one of an hour ago"
    ERROR = "500"
    RESET = "reset"
    PAGE = "a page"
    FORBIDDEN = "403"
    UNAUTHORIZED = "401 at first, then the truth"


class TokenReply(StrEnum):
    """What the token endpoint does."""

    GOOD = "good"
    SLOW = "slow"
    ERROR = "500"
    BUSY = "429"
    PAGE = "a page"
    NOT_JSON = "not JSON"
    CUT = "cut"
    RESET = "reset"
    LOCKED = "locked out"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """What upstream does with one delivery of a call."""

    action: Action = Action.RESPOND
    reading: Reading = Reading.WHOLE
    #: A request that is wholly there is executed, whatever its response says. One answered 2xx always is.
    executes: bool = True
    status: int = 200
    framing: Framing = Framing.LENGTH
    #: Bytes of padding in the body.
    padding: int = 0
    interim: int = 0
    #: The share of the response's bytes that is sent; None: all.
    cut: float | None = None
    #: Pieces in which it is sent, and seconds between two.
    pieces: int = 1
    pause: float = 0.0
    #: Seconds before the first byte.
    delay: float = 0.0
    ending: Ending = Ending.KEEP


class Leaving(StrEnum):
    """When a caller leaves."""

    SENDING = "while sending"
    WAITING = "while waiting"
    RECEIVING = "while receiving"
    HALF = "closes its side, and reads on"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and what becomes of it."""

    number: int
    method: str
    path: str
    key: str | None = None
    #: Bytes of the body; None: a request without one.
    size: int | None = None
    chunked: bool = False
    http10: bool = False
    close: bool = False
    expects: bool = False
    #: Pieces in which it is sent, and seconds between two.
    pieces: int = 1
    pause: float = 0.0
    #: All tokens are revoked when it arrives.
    revokes: bool = False
    replies: tuple[Reply, ...] = (Reply(),)
    read_back: ReadBack = ReadBack.TRUTH

    @property
    def identifier(self) -> str:
        """Its ``X-Request-Id``, by which its log line is found."""
        return f"delivery-{self.number}"

    @property
    def is_read(self) -> bool:
        """Whether its method is safe."""
        return self.method in READS

    def reply(self, delivery: int) -> Reply:
        """Return what upstream does with the first delivery (1), the second, and so on."""
        return self.replies[min(delivery, len(self.replies)) - 1]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The calls of one connection."""

    index: int
    calls: tuple[Call, ...]
    pipelined: bool = False
    leaving: Leaving | None = None
    #: By a reset rather than an orderly close.
    resets: bool = False
    #: Of the last request's bytes, or of the response's: how many came before the end.
    share: float = 0.5


def conversations(seed: int, calls: int) -> Iterator[Conversation]:
    """Draw conversations until they have ``calls`` calls together."""
    index = drawn = 0
    while drawn < calls:
        conversation = draw(seed, index)
        yield conversation
        drawn += len(conversation.calls)
        index += 1


def draw(seed: int, index: int) -> Conversation:
    """Draw one conversation; ``index`` and ``seed`` are all that it depends on."""
    chance = Random(f"{seed}:{index}")
    pipelined = chance.random() < 0.15
    count = chance.randint(2, 5) if pipelined else chance.randint(1, 4)
    calls: list[Call] = []
    for number in range(index * ROOM + 1, index * ROOM + 1 + count):
        last = number == index * ROOM + count
        calls.append(_call(chance, seed, number, small=pipelined, last=last))
    leaving = chance.choice(tuple(Leaving)) if chance.random() < 0.15 else None
    if leaving is Leaving.WAITING:
        calls[-1] = _answered_late(chance, calls[-1])
    return Conversation(index, tuple(calls), pipelined, leaving, chance.random() < 0.5, chance.random())


def _call(chance: Random, seed: int, number: int, *, small: bool, last: bool) -> Call:
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")
    method = chance.choices(methods, (28, 5, 47, 12, 5, 3))[0]
    has_body = method in {"POST", "PUT", "PATCH"} or chance.random() < 0.03
    size = _size(chance, small=small) if has_body else None
    chunked = last and has_body and chance.random() < 0.3
    slow = chance.random() < 0.15
    return Call(
        number,
        method,
        f"/v2.01/acme/{chance.choice(KINDS)}/{number}",
        key=f"dlv-{seed:06}-{number:010}" if method == "POST" and chance.random() < 0.6 else None,
        size=size,
        chunked=chunked,
        http10=last and not chunked and chance.random() < 0.12,
        close=last and chance.random() < 0.1,
        expects=bool(size) and not small and chance.random() < 0.08,
        pieces=chance.randint(2, 6) if slow else 1,
        pause=chance.random() * 0.01 if slow else 0.0,
        revokes=chance.random() < 0.002,
        replies=(_first(chance), _second(chance)),
        read_back=chance.choices(tuple(ReadBack), (40, 15, 12, 8, 5, 5, 5, 3, 7))[0],
    )


def _answered_late(chance: Random, call: Call) -> Call:
    """Let the response come when its caller has left, mostly: it must not become that of the next call."""
    first, *others = call.replies
    return replace(call, replies=(replace(first, delay=chance.random() * 0.1), *others))


def _size(chance: Random, *, small: bool) -> int:
    kind = chance.random()
    if small or kind < 0.75:
        return chance.randrange(1500)
    if kind < 0.9:
        return chance.randrange(2_000, REPLAY_LIMIT)
    return chance.randrange(REPLAY_LIMIT + 1, 5 * REPLAY_LIMIT)


def _first(chance: Random) -> Reply:
    kind = chance.random()
    if kind < 0.5:
        return _response(chance)
    if kind < 0.57:
        return _refusal(chance)
    return _trouble(chance)


def _second(chance: Random) -> Reply:
    kind = chance.random()
    if kind < 0.6:
        return _response(chance)
    if kind < 0.61:  # rarely, since a path whose new tokens do not help gets no other one for a while
        return _refusal(chance)
    return _trouble(chance)


def _response(chance: Random) -> Reply:
    statuses = (200, 201, 204, 304, 400, 403, 404, 409, 429, 500, 503)
    kind = chance.random()
    return Reply(
        status=chance.choices(statuses, (60, 10, 5, 1, 4, 3, 4, 5, 3, 3, 2))[0],
        executes=chance.random() < 0.5,
        framing=chance.choices((Framing.LENGTH, Framing.CHUNKED, Framing.TRAILER), (70, 25, 5))[0],
        padding=chance.randrange(200_000) if kind < 0.04 else chance.randrange(2000),
        interim=chance.choice((1, 2, 16)) if chance.random() < 0.05 else 0,
        pieces=chance.randint(2, 12) if chance.random() < 0.3 else 1,
        pause=chance.random() * 0.004,
        delay=chance.random() * 0.05 if chance.random() < 0.3 else 0.0,
        ending=chance.choices(tuple(Ending), (70, 8, 8, 3, 5, 6))[0],
    )


def _refusal(chance: Random) -> Reply:
    sca = chance.random() < 0.2
    return Reply(
        Action.SCA_401 if sca else Action.TOKEN_401,
        executes=False,
        status=401,
        framing=chance.choice((Framing.LENGTH, Framing.CHUNKED, Framing.NONE if sca else Framing.LENGTH)),
        padding=chance.choices((0, 300, LARGEST_REFUSAL + 1), (20, 75, 5))[0],
        cut=chance.random() if chance.random() < 0.2 else None,
        pieces=chance.randint(1, 4),
        ending=chance.choices(tuple(Ending), (70, 8, 8, 3, 5, 6))[0],
    )


def _trouble(chance: Random) -> Reply:
    actions = (Action.RESPOND, Action.LEAVE, Action.GARBAGE, Action.HANG)
    action = chance.choices(actions, (60, 32, 6, 2))[0]
    kind = chance.random()
    odd = (Framing.LONG, Framing.SHORT, Framing.NONE, Framing.BOTH, Framing.TWO, Framing.BAD_CHUNK)
    cut = kind < 0.5
    return Reply(
        action,
        reading=chance.choices(tuple(Reading), (20, 20, 60))[0],
        executes=chance.random() < 0.6,
        status=chance.choices((200, 500, 400), (80, 10, 10))[0],
        framing=chance.choice((Framing.LENGTH, Framing.CHUNKED)) if cut or kind > 0.8 else chance.choice(odd),
        padding=chance.randrange(100_000) if chance.random() < 0.05 else chance.randrange(1500),
        interim=chance.choice((1, 16, 17)) if kind > 0.9 else 0,
        cut=chance.random() if cut else None,
        pieces=chance.randint(1, 5),
        pause=chance.random() * 0.004,
        delay=chance.random() * 0.03,
        ending=chance.choice((Ending.CLOSE, Ending.RESET, Ending.HALF)) if cut else chance.choice(tuple(Ending)),
    )


def token_reply(seed: int, request: int) -> TokenReply:
    """Draw what the token endpoint does with its ``request``-th request, the first is 0; troubles come in groups."""
    if not request:
        return TokenReply.GOOD
    trouble = Random(f"{seed}:tokens:{request // 3}").random() < 0.3
    chance = Random(f"{seed}:token:{request}")
    if not trouble:
        return chance.choices((TokenReply.GOOD, TokenReply.SLOW), (85, 15))[0]
    return chance.choices(tuple(TokenReply), (20, 10, 15, 8, 8, 8, 8, 14, 2, 1))[0]


def leaves_at_once(seed: int, connection: int) -> bool:
    """Draw whether upstream resets its ``connection``-th connection as soon as it is accepted."""
    return connection > 0 and Random(f"{seed}:connection:{connection}").random() < 0.01
