"""What can be said of the sidecar, as a vocabulary; :mod:`sidecar.admin.findings` finds it, and has the words."""

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    #: Worth knowing; nothing to do.
    INFO = "info"
    #: Some calls fail, or soon will.
    WARNING = "warning"
    #: Calls fail now.
    CRITICAL = "critical"


class Area(StrEnum):
    """Where to look."""

    TOKEN = "token"  # noqa: S105 - a word, not a password
    KEY = "key"
    LOCK = "lock"
    RATE_LIMIT = "rate_limit"
    NETWORK = "network"
    MANGOPAY = "mangopay"
    CERTIFICATE = "certificate"
    CALLS = "calls"
    SIDECAR = "sidecar"


class FindingKind(StrEnum):
    """What was found, as a word for machines. The words for people are in ``sidecar.admin.findings``."""

    HEALTHY = "healthy"
    STARTING = "starting"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    LOCKED_OUT = "locked_out"
    KEY_REFUSED = "key_refused"
    ADDRESS_REFUSED = "address_refused"
    CERTIFICATE_REFUSED = "certificate_refused"
    TOKEN_REQUEST_REFUSED = "token_request_refused"  # noqa: S105 - a code, not a password
    TOKEN_PENDING = "token_pending"  # noqa: S105 - a code, not a password
    TOKEN_UNAVAILABLE = "token_unavailable"  # noqa: S105 - a code, not a password
    TOKEN_NOT_RENEWED = "token_not_renewed"  # noqa: S105 - a code, not a password
    TOKEN_IDLE = "token_idle"  # noqa: S105 - a code, not a password
    TOKEN_EXPIRED_UNUSED = "token_expired_unused"  # noqa: S105 - a code, not a password
    TOKEN_MENDED = "token_mended"  # noqa: S105 - a code, not a password
    REFRESHES_FUTILE = "refreshes_futile"
    DNS_FAILING = "dns_failing"
    CONNECT_FAILING = "connect_failing"
    EGRESS_FAILING = "egress_failing"
    TLS_FAILING = "tls_failing"
    CONNECTIONS_BREAKING = "connections_breaking"
    CONNECTION_MENDED = "connection_mended"
    MANGOPAY_SILENT = "mangopay_silent"
    MANGOPAY_ERRORS = "mangopay_errors"
    EDGE_PAGES = "edge_pages"
    ANSWERS_BROKEN = "answers_broken"
    ANSWER_READ_BACK = "answer_read_back"
    READ_BACK_FORBIDDEN = "read_back_forbidden"
    RATE_LIMIT_USED_UP = "rate_limit_used_up"
    RATE_LIMIT_NEARLY_USED = "rate_limit_nearly_used"
    RATE_LIMITED = "rate_limited"
    BATCH_HELD = "batch_held"
    DEPRECATED_CALLS = "deprecated_calls"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    OUTCOMES_UNKNOWN = "outcomes_unknown"
    CALLERS_REFUSED = "callers_refused"
    CLIENT_ID_MISMATCH = "client_id_mismatch"
    POOL_EXHAUSTED = "pool_exhausted"
    CALLERS_NEAR_LIMIT = "callers_near_limit"
    REPLAY_BUDGET_USED_UP = "replay_budget_used_up"
    RELOAD_FAILED = "reload_failed"
    STORE_DOWN = "store_down"
    HOOKS_FAILING = "hooks_failing"
    HOOKS_UNSEEN = "hooks_unseen"
    TRACES_LOST = "traces_lost"


class Finding(msgspec.Struct, frozen=True):
    """One thing that can be said of the sidecar right now, in plain words."""

    kind: FindingKind
    level: Level
    area: Area
    #: What is the case: a sentence without a full stop.
    title: str
    #: What it means.
    text: str
    #: What to do; empty if there is nothing to do.
    mend: str
    #: A moment to count down to, and what happens then; None where there is none.
    until: float | None = None
    until_label: str = ""
