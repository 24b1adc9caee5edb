"""What the token's manager is told of a 401 and of the resend that it allows, for each way that can go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import pytest

from sidecar.proxy.token_retry import Settled, TokenRetry
from sidecar.telemetry.metrics import Metrics

PATH: Final = "/v2.01/acme/payins"
SCA: Final = (b"WWW-Authenticate", b"PendingUserAction RedirectUrl=https://sca.example")
#: The manager allows one resend, with a token that is newer than that of the 401.
PERMIT: Final[Any] = SimpleNamespace(generation=4)


def response(status: int, *headers: tuple[bytes, bytes]) -> Any:
    return SimpleNamespace(status=status, head=SimpleNamespace(raw_headers=headers))


class LostError(Exception):
    pass


class World:
    """A manager that notes what it is told, and a request that may be resent once."""

    def __init__(self, permit: Any, *, allowed: bool | Exception = True, answer: Any = None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.metrics = Metrics()
        self._permit = permit
        self._allowed = allowed
        self._answer = answer

    def unauthorized(self, generation: int, path: str) -> Any:
        self.told.append(("unauthorized", generation, path))
        return self._permit

    def accepted(self, generation: int, path: str) -> None:
        self.told.append(("accepted", generation, path))

    def resend_withdrawn(self, permit: Any) -> None:
        self.told.append(("withdrawn", permit))

    def resend_answered(self, permit: Any, generation: int, *, unauthorized: bool) -> None:
        self.told.append(("answered", permit, generation, unauthorized))

    async def send(self, newer_than: int) -> tuple[Any, int]:
        self.told.append(("sent", newer_than))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer, 7

    async def may_resend(self, _refusal: Any) -> bool:
        if isinstance(self._allowed, Exception):
            raise self._allowed
        return self._allowed

    async def settle(self, first: Any) -> Settled:
        manager: Any = self
        retry = TokenRetry(self.metrics)
        return await retry.settle(first, 3, manager, PATH, send=self.send, may_resend=self.may_resend)

    def counted(self) -> dict[str, int]:
        return {kind: count for (kind,), count in self.metrics.unauthorized_total.items() if count}


FIRST: Final = response(401)
ASKED: Final = ("unauthorized", 3, PATH)


async def test_any_other_response_says_that_the_token_is_accepted() -> None:
    world, found = World(PERMIT), response(403, SCA)
    assert await world.settle(found) == Settled(found)
    assert (world.told, world.counted()) == ([("accepted", 3, PATH)], {})


async def test_a_challenge_to_the_user_says_that_the_token_is_accepted() -> None:
    world, challenge = World(PERMIT), response(401, SCA)
    assert await world.settle(challenge) == Settled(challenge)
    assert (world.told, world.counted()) == ([("accepted", 3, PATH)], {"sca": 1})


async def test_without_a_permit_the_401_is_passed_on_as_futile() -> None:
    world = World(None)
    assert await world.settle(FIRST) == Settled(FIRST, futile=True)
    assert (world.told, world.counted()) == ([ASKED], {"futile": 1})


async def test_a_permit_of_a_request_that_cannot_be_resent_is_withdrawn() -> None:
    world = World(PERMIT, allowed=False)
    assert await world.settle(FIRST) == Settled(FIRST)
    assert (world.told, world.counted()) == ([ASKED, ("withdrawn", PERMIT)], {"token": 1})


@pytest.mark.parametrize("lost", ["before the resend", "in the resend"])
async def test_a_permit_is_withdrawn_where_no_response_comes_of_it(lost: str) -> None:
    world = World(PERMIT, allowed=LostError()) if lost == "before the resend" else World(PERMIT, answer=LostError())
    with pytest.raises(LostError):
        await world.settle(FIRST)
    sent = [("sent", 4)] if lost == "in the resend" else []
    assert (world.told, world.counted()) == ([ASKED, *sent, ("withdrawn", PERMIT)], {"token": 1})


@pytest.mark.parametrize(
    ("answer", "futile", "counted"),
    [
        pytest.param(response(200), False, {"token": 1}, id="a success"),
        pytest.param(response(403), False, {"token": 1}, id="a refusal of another kind"),
        pytest.param(response(401), True, {"token": 1, "futile": 1}, id="a 401 once more"),
        pytest.param(response(401, SCA), False, {"token": 1, "sca": 1}, id="a challenge to the user"),
        pytest.param(response(403, SCA), False, {"token": 1}, id="a challenge that is no 401"),
    ],
)
async def test_the_response_to_the_resend_judges_the_token_that_it_carried(
    answer: Any, futile: bool, counted: dict[str, int]
) -> None:
    world = World(PERMIT, answer=answer)
    assert await world.settle(FIRST) == Settled(answer, resent=True, futile=futile)
    assert world.told == [ASKED, ("sent", 4), ("answered", PERMIT, 7, futile)]
    assert world.counted() == counted
