"""How exchanges with Mangopay fail: for whoever called, and for whoever runs the sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.advice.texts import Diagnosis, connections
from sidecar.core.causes import Cause
from sidecar.core.resend import FailureKind
from sidecar.core.text import sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What Mangopay wants of an API key that reads stored responses (``GET …/responses/{key}``).
READ_BACK_SCOPE: Final = "Client.Developers (READ)"

#: By cause.
DIAGNOSES: Final = {
    Cause.EDGE_PAGE: Diagnosis(
        "the edge before Mangopay (Cloudflare), or a gateway, answered with a web page: it says nothing of the "
        "key, and may concern the address that calls come from",
        "try again in some minutes; if it stays, give Mangopay's support the CF-Ray, the time and the address that "
        "calls leave by",
    ),
    Cause.REDIRECTED: Diagnosis(
        "the base URL is not where the API lives; redirects are never followed, as they would carry credentials",
        "check SIDECAR_MANGOPAY_BASE_URL: host, https://, path prefix",
    ),
    Cause.RATE_LIMITED: Diagnosis(
        "too many calls from this platform", "wait, and look for programs that fetch tokens by themselves"
    ),
    Cause.SERVER_ERROR: Diagnosis(
        "Mangopay, or a gateway before it, is in trouble", "try again later, and look at Mangopay's status page"
    ),
    Cause.NO_ANSWER: Diagnosis(
        "the connection stands, but no answer came in time", "try again; look at Mangopay's status page"
    ),
    Cause.CONNECTION_LOST: Diagnosis(
        "the connection was closed before the answer: a middlebox, or a server that does not want this request",
        "try again; if it stays, look at the firewalls and proxies in between",
    ),
    Cause.ANSWER_BROKEN: Diagnosis(
        "the answer is not HTTP as it should be: a middlebox, or a wrong port",
        "check host and port of SIDECAR_MANGOPAY_BASE_URL",
    ),
    Cause.CLOCK_SKEW: Diagnosis("this machine's clock is not kept", "set it by NTP (chrony, systemd-timesyncd)"),
    Cause.CALL_UNAUTHORIZED: Diagnosis(
        "the token is accepted nowhere: the key is of another kind (embedded), or of another ClientId",
        "use the main API key of SIDECAR_MANGOPAY_CLIENT_ID",
    ),
    Cause.CALL_FORBIDDEN: Diagnosis(
        "the key may not read its own platform's data (scope or permission), or the address is not on Mangopay's "
        "IP allow-list",
        "look at the key's permissions and the IP allow-list in Mangopay's Dashboard",
    ),
    Cause.CALL_SCOPE: Diagnosis(
        "the key lacks the scope to read its platform's own record; another GET was answered, so the address is right",
        "do nothing, unless your app is to read that record: then make a new key with Client.Details (READ)",
    ),
    Cause.CALL_NOT_FOUND: Diagnosis(
        "no such ClientId at this base URL", "check SIDECAR_MANGOPAY_CLIENT_ID and SIDECAR_MANGOPAY_BASE_URL"
    ),
    Cause.CALL_REFUSED: Diagnosis(
        "the token is good, but a call with it is refused for a reason that its status tells",
        "look the status up in Mangopay's documentation",
    ),
    Cause.READ_BACK_FORBIDDEN: Diagnosis(
        f"the API key lacks the scope {READ_BACK_SCOPE}, so that lost answers to keyed POSTs cannot be read back, "
        "and end as unknown",
        f"make a new key with {READ_BACK_SCOPE} in Mangopay's Dashboard: the scopes of a key cannot be changed",
    ),
    Cause.READ_BACK_UNKNOWN: Diagnosis(
        "Mangopay says of an Idempotency-Key that nobody has used something else than 400 correlationid_not_found: "
        "whether lost answers to keyed POSTs can be read back is not known",
        "look the status up in Mangopay's documentation, and tell this project's maintainers",
    ),
}


class FailureText(NamedTuple):
    """One kind of failure in words, each in whole sentences but the title."""

    #: As a headline: what is the matter while calls fail so.
    title: str
    #: For whoever runs the sidecar: what to do.
    mend: str
    #: For the caller whose call failed: what happened, and what to do.
    told: str = ""


_KNOWN: Final = {**connections.DIAGNOSES, **DIAGNOSES}


def _mend(cause: Cause, *more: str) -> str:
    return " ".join((sentence(_KNOWN[cause].mend), *more))


_CHECK: Final = "The command mangopay-sidecar check looks at each step of the way and names the one that fails."
_FIND_OUT: Final = "before you repeat a write, find out whether it was executed."
_BREAKING: Final = ("Connections to Mangopay break", _mend(Cause.CONNECTION_LOST, _CHECK))

#: By kind of failure; Mangopay's own errors, and pages in its place, by their cause.
FAILURES: Final[Mapping[str, FailureText]] = {
    FailureKind.NO_SLOT: FailureText(
        "All connections to Mangopay are in use",
        "Either Mangopay is slower than usual (see the latency), or there are more calls: raise "
        "SIDECAR_UPSTREAM_POOL_SIZE.",
        "No connection to Mangopay became free: retry, or raise SIDECAR_UPSTREAM_POOL_SIZE.",
    ),
    FailureKind.RESOLVE: FailureText(
        "Mangopay's host name cannot be resolved",
        _mend(Cause.UNKNOWN_HOST, _CHECK),
        "Mangopay's host name cannot be resolved: check DNS and SIDECAR_MANGOPAY_BASE_URL.",
    ),
    FailureKind.EGRESS: FailureText(
        "The egress proxy gives no way to Mangopay",
        _mend(Cause.EGRESS_REFUSED, _CHECK),
        "The egress proxy gave no way to Mangopay (the log names its answer): check it, and "
        "SIDECAR_UPSTREAM_EGRESS_PROXY.",
    ),
    FailureKind.CONNECT: FailureText(
        "Mangopay cannot be connected to",
        _mend(Cause.CONNECTION_REFUSED, _mend(Cause.CONNECT_TIMEOUT, _CHECK)),
        "Mangopay cannot be reached: check the network, firewall and SIDECAR_MANGOPAY_BASE_URL.",
    ),
    FailureKind.TLS: FailureText(
        "There is no trusted TLS connection to Mangopay",
        f"Check the certificates of section [tls], and this machine's clock. {_CHECK}",
        "No trusted TLS connection to Mangopay (the log names the reason): check the certificates of section [tls] "
        "and the machine's clock.",
    ),
    FailureKind.DEAD_BEFORE_WRITE: FailureText(
        *_BREAKING, "The connection to Mangopay closed before the request was sent: retry."
    ),
    FailureKind.LOST: FailureText(
        *_BREAKING, f"The connection to Mangopay broke before its answer was complete: {_FIND_OUT}"
    ),
    FailureKind.TIMEOUT: FailureText(
        "Mangopay does not answer in time",
        _mend(Cause.NO_ANSWER, "Before a write is repeated, find out whether it was executed."),
        f"Mangopay did not answer in time: {_FIND_OUT} SIDECAR_UPSTREAM_RESPONSE_TIMEOUT is how long the sidecar "
        "waits.",
    ),
    FailureKind.BROKEN: FailureText(
        "What answers in Mangopay's place is not valid HTTP",
        _mend(Cause.ANSWER_BROKEN, "Look at the proxies and gateways in between."),
        f"Mangopay's answer is not valid HTTP (the log names the reason): {_FIND_OUT}",
    ),
    Cause.SERVER_ERROR: FailureText("Mangopay answers with errors of its own", _mend(Cause.SERVER_ERROR)),
    Cause.EDGE_PAGE: FailureText("The edge before Mangopay answers with web pages", _mend(Cause.EDGE_PAGE, _CHECK)),
    Cause.RATE_LIMITED: FailureText(
        "Mangopay answers 429: too many calls",
        "Call less often until the window resets; the list of calls shows who calls what.",
    ),
}
