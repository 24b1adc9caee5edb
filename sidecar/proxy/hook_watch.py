"""Looking after the account's hooks (``admin.watch_hooks``): lost webhooks are an outage that nobody notices.

Every 15 minutes one ``GET /hooks``, page by page, on the way that calls take. The
watch only looks: a look that fails is said, and says nothing of the hooks. While the
credential is latched there is none, so that it never costs a token request then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from sidecar.advice.texts.hooks import FORBIDDEN, MEND
from sidecar.core.errors import SidecarError
from sidecar.core.hooks import MOST_HOOKS, PAGE_SIZE, Hook, HooksStatus, HookState, has_more, hooks_status, read_hooks
from sidecar.proxy.attempts import WAITING_BUDGET
from sidecar.proxy.outgoing import Request
from sidecar.proxy.own_get import is_whole, own_get, read_in_time
from sidecar.proxy.token_retry import TokenRetry
from sidecar.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.proxy.exchange import Exchanger, WaitBudget
    from sidecar.proxy.upstream_response import UpstreamResponse
    from sidecar.telemetry.exposition import Sample
    from sidecar.telemetry.metrics import Metrics
    from sidecar.tokens.manager import TokenManager

#: Seconds between two looks, and the share of them by which each is early or late, so that many sidecars spread.
INTERVAL: Final = 15 * 60.0
JITTER: Final = 0.1
#: Seconds within which the first look is made.
FIRST: Final = 60.0
#: Seconds that one page may take to begin, and then to end.
TIMEOUT: Final = 10.0
#: Bytes of a page: a hundred hooks have some 40 KiB.
_PAGE_LIMIT: Final = 256 * 1024
_PAGES: Final = b"x-number-of-pages"

_log = structlog.get_logger()


class _LookFailed(Exception):  # noqa: N818 - the end of one look, no fault of the program
    """The hooks could not be looked at; ``str()`` says why."""


class Turn(Protocol):
    """The right to make one call that can wait."""

    def end(self) -> None:
        """Note that its response has begun, or will never come."""
        ...


class HookWatch:
    """Looks at the hooks from time to time, and keeps what it saw last."""

    def __init__(  # noqa: PLR0913 - the parts it is made of, put together in one place only
        self,
        exchanger: Exchanger,
        tokens: TokenManager,
        *,
        endpoint: Endpoint,
        client_id: str,
        clock: Clock,
        chance: Callable[[], float],
        metrics: Metrics,
        turn: Callable[[], Awaitable[Turn]] | None = None,
    ) -> None:
        """``chance`` returns random numbers from 0 to 1.

        ``turn`` returns once a call that can wait may go, or raises SidecarError; None: it always may.
        """
        self._exchanger: Final = exchanger
        self._tokens: Final = tokens
        self._endpoint: Final = endpoint
        self._path: Final = f"/v2.01/{client_id}/hooks"
        self._clock: Final = clock
        self._chance: Final = chance
        self._token_retry: Final = TokenRetry(metrics)
        self._turn: Final = turn
        self._status = HooksStatus(None, {}, (), "")
        metrics.hooks.read = self._samples

    @property
    def status(self) -> HooksStatus:
        """What the last looks found."""
        return self._status

    async def run(self) -> None:
        """Look from time to time, for ever."""
        pause = FIRST * self._chance()
        while True:
            await self._clock.sleep_until(self._clock.now() + pause)
            await self.look()
            pause = INTERVAL * (1 + JITTER * (2 * self._chance() - 1))

    async def look(self) -> None:
        """Look at all hooks, and tell what has changed; nothing while the credential is latched."""
        if self._tokens.status().latch_reason is not None:
            return
        try:
            hooks = await self._all()
        except _LookFailed as failure:
            self._status = msgspec.structs.replace(self._status, last_error=str(failure))
            _log.warning("hooks.unseen", detail=str(failure))
            return
        before, self._status = self._status, hooks_status(hooks, self._clock.wall())
        failing = self._status.failing
        if failing and failing != before.failing:
            _log.warning("hooks.failing", hooks=[f"{hook.event_type} {hook.state}" for hook in failing], mend=MEND)
        elif before.failing and not failing:
            _log.info("hooks.recovered", count=len(hooks))

    async def _all(self) -> list[Hook]:
        """Return the hooks of all pages. Raises _LookFailed."""
        hooks: list[Hook] = []
        page = 0
        more = True
        waiting = self._exchanger.wait_budget(WAITING_BUDGET)
        while more:
            page += 1
            response = await self._page(page, waiting)
            found = read_hooks(response.body) if response.status == 200 else None
            if found is None:
                raise _LookFailed(_told(response))
            hooks += found[: MOST_HOOKS - len(hooks)]
            more = has_more(len(found), page, response.head.first(_PAGES))
        return hooks

    async def _page(self, page: int, waiting: WaitBudget) -> UpstreamResponse:
        """Return the response to the question for one page, whole. Raises _LookFailed."""
        target = f"{self._path}?page={page}&per_page={PAGE_SIZE}"
        template = own_get(self._endpoint, target)

        async def send(newer_than: int = 0) -> tuple[UpstreamResponse, int]:
            return await self._exchange(Request(template), waiting, newer_than)

        turn: Turn | None = None
        try:
            turn = None if self._turn is None else await self._turn()
            response, generation = await send()
            settled = await self._token_retry.settle(
                response, generation, self._tokens, self._path, send=send, may_resend=is_whole
            )
        except UpstreamError as error:
            raise _LookFailed(f"{error.failure.kind.value}: {error.detail}") from None
        except SidecarError as error:
            raise _LookFailed(error.code.value) from None
        except TimeoutError:
            raise _LookFailed("the answer did not end in time") from None
        finally:
            if turn is not None:
                turn.end()
        return settled.response

    async def _exchange(self, request: Request, waiting: WaitBudget, newer_than: int) -> tuple[UpstreamResponse, int]:
        response, generation = await self._exchanger.exchange(
            request, self._tokens, waiting, timeout=TIMEOUT, newer_than=newer_than
        )
        await read_in_time(response, _PAGE_LIMIT, TIMEOUT)
        return response, generation

    def _samples(self) -> Iterator[Sample]:
        for state in HookState:
            if self._status.looked_at is not None:
                yield (state.value,), self._status.states[state]


def _told(response: UpstreamResponse) -> str:
    """What a response tells that is no page of hooks: never a part of its body."""
    report = response.error_report()
    if report.is_page:
        return f"{response.status}, a web page"
    if response.status == 403:
        return FORBIDDEN
    return f"{response.status}" if response.status != 200 else "200, and no list of hooks"
