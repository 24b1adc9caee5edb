"""What can happen to a sidecar, as Prometheus sees it, and the alerts that fire then.

Values are written as in promtool's test files: ``1+2x3`` is 1, 3, 5, 7; ``_`` is a scrape without the series.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final

from sidecar.telemetry.exposition import PREFIX
from sidecar.telemetry.metrics import Metrics
from tests.support import prometheus

#: Seconds between two scrapes, and how many there are.
SCRAPE: Final = 30
SCRAPES: Final = 150
DAY: Final = 24 * 3600
TARGET: Final = 'job="pay", instance="a:19090"'
#: A target that is no sidecar.
OTHER: Final = 'up{job="node", instance="a:9100"}'


def flat(value: float) -> str:
    """The same value at every scrape."""
    return f"{value}+0x{SCRAPES}"


def from_minute(minute: float, values: str, *, before: float = 0) -> str:
    """Stay at ``before``, and go on with ``values`` from ``minute`` on."""
    return f"{before}+0x{int(minute * 60 / SCRAPE) - 1} {values}"


def rising(step: float = 1) -> str:
    """Go up at every scrape."""
    return f"{step}+{step}x{SCRAPES}"


def series(name: str, **labels: str) -> str:
    """The name of one of the sidecar's series."""
    own = "".join(f', {key}="{value}"' for key, value in sorted(labels.items()))
    return f"{PREFIX}{name}{{{TARGET}{own}}}"


def error(code: str, outcome: str = "not-sent") -> str:
    return series("errors_total", code=code, outcome=outcome)


def responses(status: str, method: str = "GET") -> str:
    return series("requests_total", method=method, source="upstream", status=status)


def latched(reason: str, credential: str = "api") -> str:
    return series("latched", credential=credential, reason=reason)


def remaining(window: str) -> str:
    return series("rate_limit_remaining", window=window)


def reset(window: str) -> str:
    return series("rate_limit_reset_timestamp_seconds", window=window)


UP: Final = f"up{{{TARGET}}}"
TOKEN: Final = series("token_expiry_timestamp_seconds", credential="api")
NO_TOKEN_THIS_TIME: Final = series("token_requests_total", credential="api", outcome="transient")
CERTIFICATE: Final = series("client_certificate_expiry_timestamp_seconds")
FUTILE: Final = series("unauthorized_total", kind="futile")
WAITING: Final = series("upstream_pool_waiting")
STORE: Final = series("store_up")
RELOAD: Final = series("config_last_reload_successful")
GONE: Final = f"_x{SCRAPES}"


def hooks(status: str) -> str:
    return series("hooks", status=status)


@cache
def healthy() -> dict[str, str]:
    """Every series of a sidecar that has all there is to have and nothing to complain of: as it really exposes them."""
    metrics = Metrics()
    credentials = ("api", "embedded")
    later = 400 * DAY
    for credential in credentials:
        metrics.expect_token_requests(credential)
    windows = {"15m": 2300, "30m": 4500, "1h": 8800, "24h": 105600}
    metrics.token_expiry.read = lambda: [((each,), later) for each in credentials]
    metrics.latched.read = lambda: [((each, reason), 0) for each in credentials for reason in ("lockout", "refused")]
    metrics.rate_limit_remaining.read = lambda: [((each,), limit) for each, limit in windows.items()]
    metrics.rate_limit_reset.read = lambda: [((each,), later) for each in windows]
    for at_rest in (
        *(metrics.requests_in_flight, metrics.connections),
        *(metrics.upstream_connections, metrics.upstream_pool_waiting),
    ):
        at_rest.read = lambda: 0
    metrics.reload_successful.read = metrics.store_up.read = lambda: 1
    metrics.hooks.read = lambda: [(("valid",), 12), *(((each,), 0) for each in ("invalid", "disabled", "other"))]
    metrics.replay_buffer_bytes.read = lambda: 1 << 20
    metrics.certificate_expiry.read = lambda: later
    exposed = {
        series(name.removeprefix(PREFIX), **dict(labels)): flat(value)
        for family in prometheus.parse(metrics.expose().decode()).values()
        for (name, labels), value in family.samples.items()
    }
    return {UP: flat(1), **exposed, responses("200"): rising(30)}


@dataclass(frozen=True)
class Case:
    """What differs from a healthy sidecar, and which alerts, and no others, fire at some moments."""

    name: str
    series: dict[str, str]
    #: By minute; the alerts' names go without ``MangopaySidecar``.
    firing: dict[float, tuple[str, ...]]
    #: The summary of an alert that fires, where it tells a value.
    summaries: dict[str, str] = field(default_factory=dict)
    #: There is nothing but these series.
    alone: bool = False


#: What an alert says of the sidecar above, where no case says otherwise.
SUMMARIES: Final = {
    "Down": "The sidecar a:19090 does not answer.",
    "Absent": "No sidecar is scraped at all.",
    "ConfigReloadFailed": "a:19090 refused a changed key or certificate.",
    "CallerRefused": "a:19090 refused callers or calls that are not allowed: browser_not_allowed.",
    "LockedOut": "Mangopay has locked the account that a:19090 uses.",
    "CredentialsRefused": "Mangopay refuses the embedded credentials of a:19090.",
    "TokenNotRenewed": "The api token of a:19090 ends soon, and no new one is to be had.",
    "NoToken": "a:19090 has no token: calls get 503 token_unavailable.",
    "FutileUnauthorized": "Mangopay keeps answering 401 to a:19090, and new tokens do not help.",
    "StoreDown": "The token store of a:19090 does not answer.",
    "OutcomeUnknown": "a:19090: a call ended with an unknown outcome (upstream_timeout). Money may have moved.",
    "UpstreamUnreachable": "a:19090 cannot reach Mangopay: 10% of the calls.",
    "UpstreamFailing": "Mangopay answers a:19090 with 5xx, or not in time, 20% of the calls.",
    "RateLimited": "Mangopay refuses calls of a:19090 with 429.",
    "RateLimitNearlyUsed": "a:19090: 449 calls are left in the 30m window.",
    "RateLimitRunsOut": "a:19090: at this pace the 1h window is used up before it resets.",
    "PoolWaiting": "Calls of a:19090 wait for a connection to Mangopay.",
    "Overloaded": "a:19090 turns calls away: 503 overloaded.",
    "ReplayBufferNearlyFull": "a:19090 holds 61MiB of request bodies.",
    "HookInvalid": "Mangopay has given up on 2 hooks of the account that a:19090 uses.",
    "HookDisabled": "The account that a:19090 uses has 1 hooks that are not enabled.",
}

_PROCESS: Final = (
    Case("a healthy sidecar", {}, {5: (), 30: ()}),
    Case("one that does not answer", {UP: from_minute(10, flat(0), before=1)}, {11: (), 13: ("Down",)}),
    Case("something else that does not answer", {OTHER: flat(0)}, {20: ()}),
    Case("no sidecar anywhere", {OTHER: flat(1)}, {9: (), 11: ("Absent",)}, alone=True),
    Case("a reload that failed", {RELOAD: from_minute(10, flat(0), before=1)}, {14: (), 16: ("ConfigReloadFailed",)}),
    Case(
        "a web page that calls",
        {error("browser_not_allowed"): from_minute(10, flat(1))},
        {9: (), 11: ("CallerRefused",), 21: ()},
    ),
    Case("malformed requests are their sender's business", {error("bad_request"): rising()}, {15: ()}),
)
_TOKENS: Final = (
    Case(
        "a lockout, which latches both credentials",
        {latched("lockout"): from_minute(10, flat(1)), latched("lockout", "embedded"): from_minute(10, flat(1))},
        {10: (), 12: ("LockedOut",)},
    ),
    Case("a lockout of seconds", {latched("lockout"): from_minute(10, "1+0x1 0+0x120")}, {10: (), 11: (), 12: ()}),
    Case(
        "refused credentials",
        {latched("refused", "embedded"): from_minute(10, flat(1))},
        {10: (), 12: ("CredentialsRefused",)},
    ),
    Case(
        "a token that ends, and no new one",
        {TOKEN: flat(20 * 60), NO_TOKEN_THIS_TIME: from_minute(14, rising())},
        {14: (), 17: ("TokenNotRenewed",)},
    ),
    Case("a token that nobody renews, since nobody uses it", {TOKEN: flat(20 * 60)}, {18: ()}),
    Case("a failed request long before the end", {NO_TOKEN_THIS_TIME: from_minute(10, flat(1))}, {12: ()}),
    Case("calls without a token", {error("token_unavailable"): from_minute(10, rising())}, {11: (), 13: ("NoToken",)}),
    Case("one such call", {error("token_unavailable"): from_minute(10, flat(1))}, {11: (), 13: (), 15: ()}),
    Case(
        "a sidecar that cannot get its first token",
        {TOKEN: GONE, NO_TOKEN_THIS_TIME: from_minute(5, rising())},
        {5: (), 8: ("NoToken",)},
    ),
    Case("401s that no token mends", {FUTILE: from_minute(10, rising())}, {19: (), 22: ("FutileUnauthorized",)}),
    Case("one such 401", {FUTILE: from_minute(10, flat(1))}, {15: (), 19: (), 25: ()}),
    Case("a store that is down", {STORE: from_minute(10, flat(0), before=1)}, {14: (), 16: ("StoreDown",)}),
    Case("no shared store", {STORE: GONE}, {10: ()}),
    Case(
        "a certificate that ends in three weeks",
        {CERTIFICATE: flat(20 * DAY + 62 * 60)},
        {59: (), 62: ("CertificateEndsSoon",)},
        {"CertificateEndsSoon": "a:19090: the client certificate ends in 20d 0h 0m 0s."},
    ),
    Case(
        "a certificate that ends in two days",
        {CERTIFICATE: flat(2 * DAY + 6 * 60)},
        {4: (), 6: ("CertificateEnds",)},
        {"CertificateEnds": "a:19090: the client certificate ends in 2d 0h 0m 0s."},
    ),
    Case(
        "a certificate that has ended",
        {CERTIFICATE: flat(60)},
        {7: ("CertificateEnds",)},
        {"CertificateEnds": "a:19090: the client certificate has ended."},
    ),
    Case("no client certificate", {CERTIFICATE: GONE}, {10: ()}),
)
_CALLS: Final = (
    Case(
        "one call whose outcome is unknown",
        {error("upstream_timeout", "unknown"): from_minute(10, flat(1))},
        {9: (), 11: ("OutcomeUnknown",), 21: ()},
    ),
    Case(
        "an upload that ended badly on its way",
        {error("request_timeout", "unknown"): from_minute(10, flat(1))},
        {11: ("OutcomeUnknown",)},
        {"OutcomeUnknown": SUMMARIES["OutcomeUnknown"].replace("upstream", "request")},
    ),
    Case(
        "a tenth of the calls does not get through",
        {error("upstream_unreachable"): rising(10 / 3)},
        {4: (), 20: ("UpstreamUnreachable",)},
    ),
    Case("a hundredth of the calls", {error("upstream_unreachable"): rising(0.3)}, {20: ()}),
    Case("a fifth of the answers is 503", {responses("503", "POST"): rising(7.5)}, {4: (), 20: ("UpstreamFailing",)}),
    Case("a hundredth of the answers", {responses("503", "POST"): rising(0.3)}, {20: ()}),
    Case(
        "a fifth of the calls gets no answer in time",
        {error("upstream_timeout", "unknown"): rising(7.5)},
        {20: ("OutcomeUnknown", "UpstreamFailing")},
    ),
    Case("a sidecar without a call", {responses("200"): flat(0)}, {20: ()}),
    Case("a 429", {responses("429"): from_minute(10, flat(1))}, {10: (), 12: ("RateLimited",), 17: ()}),
    Case(
        "a window that is nearly used",
        {remaining("30m"): from_minute(10, flat(449), before=4500)},
        {10: (), 30: ("RateLimitNearlyUsed",)},
    ),
    Case(
        "a window that was nearly used, and has started anew",
        {remaining("30m"): from_minute(10, flat(449), before=4500), reset("30m"): flat(20 * 60)},
        {30: ()},
    ),
    Case(
        "a window that is not documented",
        {remaining("window_5"): from_minute(10, flat(1), before=100)},
        {30: ("RateLimitNearlyUsed",)},
        {"RateLimitNearlyUsed": "a:19090: 1 calls are left in the window_5 window."},
    ),
    Case(
        # In minute 30: 2,800 calls left, 200 a minute, and 20 minutes to go.
        "a pace that does not last",
        {remaining("1h"): f"8800-100x{SCRAPES}", reset("1h"): flat(50 * 60)},
        {20: (), 30: ("RateLimitRunsOut",)},
    ),
    Case(
        "a pace that lasts until the window resets",
        {remaining("1h"): f"8800-100x{SCRAPES}", reset("1h"): flat(40 * 60)},
        {30: ()},
    ),
    Case("calls that wait for a connection", {WAITING: from_minute(10, flat(3))}, {11: (), 13: ("PoolWaiting",)}),
    Case("calls that wait for a moment", {WAITING: from_minute(10, "3+0x1 0+0x120")}, {10: (), 13: ()}),
    Case("calls turned away", {error("overloaded"): from_minute(10, rising())}, {11: (), 13: ("Overloaded",)}),
    Case("one such call, too", {error("overloaded"): from_minute(10, flat(1))}, {11: (), 13: ()}),
    Case(
        "bodies that fill the budget",
        {series("replay_buffer_bytes"): from_minute(10, flat(61 << 20))},
        {11: (), 13: ("ReplayBufferNearlyFull",)},
    ),
)

_HOOKS: Final = (
    Case(
        "hooks that Mangopay gave up on", {hooks("invalid"): from_minute(10, flat(2))}, {10: (), 12: ("HookInvalid",)}
    ),
    Case("a hook that is disabled", {hooks("disabled"): from_minute(10, flat(1))}, {10: (), 12: ("HookDisabled",)}),
    Case("a hook in a state that is new", {hooks("other"): from_minute(10, flat(1))}, {12: ("HookDisabled",)}),
    Case(
        "hooks that are called again",
        {hooks("invalid"): from_minute(10, "2+0x10 0+0x120")},
        {12: ("HookInvalid",), 17: ()},
    ),
    Case(
        "hooks that nobody looks at",
        {hooks(each): GONE for each in ("valid", "invalid", "disabled", "other")},
        {20: ()},
    ),
)

CASES: Final = (*_PROCESS, *_TOKENS, *_CALLS, *_HOOKS)
