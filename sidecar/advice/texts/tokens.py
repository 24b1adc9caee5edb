"""Why there is no token, or none that is shared: for ``check``, and for calls, logs and the status page."""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.advice.texts import Diagnosis
from sidecar.core.causes import Cause
from sidecar.core.text import sentence
from sidecar.core.tokens.oauth import Refusal
from sidecar.core.tokens.state import LOCKOUT

_LOCKED: Final = "Mangopay has locked this account for a while, as it does after repeated wrong credentials"

#: By cause.
DIAGNOSES: Final = {
    Cause.SIDECAR_LATCHED_LOCKOUT: Diagnosis(
        _LOCKED,
        "find who used a wrong key, and wait; the sidecar tries again by itself. --force makes a token call now",
    ),
    Cause.SIDECAR_LATCHED_REFUSED: Diagnosis(
        "Mangopay refused a running sidecar's credentials, and more attempts could lock the account",
        "correct the key or certificate in its file, and the running sidecar takes it up by itself; "
        "--force makes one token call now",
    ),
    Cause.WRONG_KEY: Diagnosis(
        "the API key or ClientId is wrong, or the key is that of the other environment",
        "compare SIDECAR_MANGOPAY_CLIENT_ID, the key and SIDECAR_MANGOPAY_ENVIRONMENT with Mangopay's Dashboard; "
        "do not try keys in a row, or the account gets locked",
    ),
    Cause.LOCKED_OUT: Diagnosis(
        _LOCKED,
        "stop whatever uses a wrong key, wait some minutes, and check again once only",
    ),
    Cause.ADDRESS_NOT_ALLOWED: Diagnosis(
        "the address that calls come from may not be on Mangopay's IP allow-list for this ClientId",
        "add it in Mangopay's Dashboard, or leave by a listed address: SIDECAR_UPSTREAM_EGRESS_PROXY",
    ),
    Cause.TOKEN_REQUEST_REFUSED: Diagnosis(
        "Mangopay's token endpoint, or what answers in its place, refuses the request for a reason of its own",
        "check SIDECAR_MANGOPAY_BASE_URL and its path prefix",
    ),
    Cause.TOKEN_NOT_UNDERSTOOD: Diagnosis(
        "something else answers in Mangopay's place: a captive portal, a gateway's page, a wrong base URL",
        "check SIDECAR_MANGOPAY_BASE_URL, and what stands between this machine and Mangopay",
    ),
    # --- the store that tokens are shared through
    Cause.STORE_UNUSABLE: Diagnosis(
        "token.store names a place where no store can be, or a package that it needs is not installed",
        "do what the message says",
    ),
    Cause.STORE_UNREACHABLE: Diagnosis(
        "the token store does not run at that address, is overloaded, or a firewall stands before it; calls go on, "
        "with a token for each sidecar",
        "check host and port in SIDECAR_TOKEN_STORE, and that the server runs and is not paged out",
    ),
    Cause.STORE_NOT_TRUSTED: Diagnosis(
        "the token store's certificate is issued by somebody whom this machine does not trust, or for another "
        "name; or only one side speaks TLS",
        "name its CA in SIDECAR_TLS_EXTRA_CA_FILE or in the URL (rediss://HOST?ssl_ca_certs=FILE); use rediss:// "
        "only where the server speaks TLS",
    ),
    Cause.STORE_REFUSED: Diagnosis(
        "this user may not use the token store: a wrong user or password, an ACL that allows too little, or the "
        "mode of a directory or file",
        "check SIDECAR_TOKEN_STORE_FILE; docs/scale.md has the least that a Redis user or a directory needs",
    ),
    Cause.STORE_NOT_WRITABLE: Diagnosis(
        "the token store can be reached, but takes nothing: full, a replica, a cluster, or a disk in trouble",
        "make room (maxmemory, the disk), or name the primary",
    ),
    Cause.STORE_NOT_OURS: Diagnosis(
        "what lies in the token store is nothing that a sidecar of this user wrote",
        "name another place in SIDECAR_TOKEN_STORE, or look who else writes there",
    ),
}


class Explanation(NamedTuple):
    """Why a credential is latched."""

    #: For a headline or a list: no capital, no full stop.
    short: str
    #: What is wrong, and what a person can do: sentences.
    what: str
    mend: str

    @property
    def told(self) -> str:
        """What is wrong and what to do."""
        return f"{self.what} {self.mend}"


#: By the cause of the latch.
_LATCHES: Final = {
    LOCKOUT: Explanation(
        "the account is locked out",
        sentence(_LOCKED),
        "The sidecar tries again by itself; if {key} was wrong, put that right first.",
    ),
    Refusal.CREDENTIALS: Explanation(
        "the API key or the ClientId is refused",
        "Mangopay refuses the ClientId or its API key.",
        "Check SIDECAR_MANGOPAY_CLIENT_ID, {key} and SIDECAR_MANGOPAY_ENVIRONMENT: sandbox and production have "
        "different keys.",
    ),
    Refusal.FORBIDDEN: Explanation(
        "the address that calls come from is refused",
        "Mangopay forbids this sidecar to get a token (403).",
        "Check that the address its calls come from is on the allow-list in the Mangopay Dashboard, and that the "
        "account is active.",
    ),
    Refusal.CERTIFICATE: Explanation(
        "the client certificate is refused",
        "Mangopay does not accept the client certificate.",
        "Check SIDECAR_TLS_CLIENT_CERT_FILE and its dates, or set one if there is none.",
    ),
    Refusal.REQUEST: Explanation(
        "the token request is refused",
        "Mangopay refuses the token request.",
        "Check SIDECAR_MANGOPAY_BASE_URL, SIDECAR_MANGOPAY_CLIENT_ID and {key}.",
    ),
}
_KEY_VARIABLES: Final = {"api": "SIDECAR_MANGOPAY_API_KEY", "embedded": "SIDECAR_MANGOPAY_EMBEDDED_API_KEY"}


def explain(cause: str | None, credential: str = "api") -> Explanation:
    """Return why ``credential`` may not ask for a token, by the latch's ``cause``; None, or one unknown: refused."""
    short, what, mend = _LATCHES.get(cause or "", _LATCHES[Refusal.REQUEST])
    return Explanation(short, what, mend.format(key=_KEY_VARIABLES.get(credential, _KEY_VARIABLES["api"])))
