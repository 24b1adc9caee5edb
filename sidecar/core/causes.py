"""What can be wrong around a sidecar, and what a step of ``check`` found.

Each cause has its words in ``sidecar.advice.texts`` and an entry in
docs/troubleshooting.md; tests hold both.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core.certificate import Defect

if TYPE_CHECKING:
    from collections.abc import Mapping


class StepStatus(StrEnum):
    """How a step went. Only ``failed`` means that calls will fail, or soon may."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """What is wrong, as a word for machines and for looking it up."""

    CONFIG_UNUSABLE = "config_unusable"
    CONFIG_WARNING = "config_warning"
    SECRET_FILE_UNREADABLE = "secret_file_unreadable"  # noqa: S105 - a code, not a password
    SECRET_WORLD_READABLE = "secret_world_readable"  # noqa: S105 - a code, not a password
    TLS_FILE_UNREADABLE = "tls_file_unreadable"
    TLS_FILE_NO_CERTIFICATE = "tls_file_no_certificate"
    CLIENT_KEY_MISSING = "client_key_missing"
    CLIENT_KEY_ENCRYPTED = "client_key_encrypted"
    CLIENT_KEY_PASSWORD = "client_key_password"  # noqa: S105 - a code, not a password
    CLIENT_KEY_MISMATCH = "client_key_mismatch"
    CLIENT_CERTIFICATE_EXPIRED = "client_certificate_expired"
    CLIENT_CERTIFICATE_EXPIRING = "client_certificate_expiring"
    CLIENT_CERTIFICATE_NOT_YET_VALID = "client_certificate_not_yet_valid"
    CLIENT_CERTIFICATE_UNUSABLE = "client_certificate_unusable"
    CLIENT_CERTIFICATE_WRONG_HOST = "client_certificate_wrong_host"
    CLIENT_CERTIFICATE_REQUIRED = "client_certificate_required"
    CLIENT_CERTIFICATE_REFUSED = "client_certificate_refused"
    SIDECAR_LATCHED_LOCKOUT = "sidecar_latched_lockout"
    SIDECAR_LATCHED_REFUSED = "sidecar_latched_refused"
    STORE_UNUSABLE = "store_unusable"
    STORE_UNREACHABLE = "store_unreachable"
    STORE_NOT_TRUSTED = "store_not_trusted"
    STORE_REFUSED = "store_refused"
    STORE_NOT_WRITABLE = "store_not_writable"
    STORE_NOT_OURS = "store_not_ours"
    UNKNOWN_HOST = "unknown_host"
    RESOLVER_UNREACHABLE = "resolver_unreachable"
    EGRESS_UNKNOWN_HOST = "egress_unknown_host"
    CONNECTION_REFUSED = "connection_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    NETWORK_UNREACHABLE = "network_unreachable"
    EGRESS_UNREACHABLE = "egress_unreachable"
    EGRESS_CREDENTIALS = "egress_credentials"
    EGRESS_AUTHENTICATION = "egress_authentication"
    EGRESS_FORBIDDEN = "egress_forbidden"
    EGRESS_CANNOT_REACH = "egress_cannot_reach"
    EGRESS_NO_PROXY = "egress_no_proxy"
    EGRESS_REFUSED = "egress_refused"
    TLS_UNKNOWN_ISSUER = "tls_unknown_issuer"
    TLS_WRONG_NAME = "tls_wrong_name"
    TLS_SERVER_EXPIRED = "tls_server_expired"
    TLS_SERVER_NOT_YET_VALID = "tls_server_not_yet_valid"
    TLS_CERTIFICATE_REFUSED = "tls_certificate_refused"
    TLS_NOT_SPOKEN = "tls_not_spoken"
    TLS_VERSION = "tls_version"
    TLS_REFUSED = "tls_refused"
    TLS_CUT = "tls_cut"
    TLS_TIMEOUT = "tls_timeout"
    WRONG_KEY = "wrong_key"
    LOCKED_OUT = "locked_out"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    TOKEN_REQUEST_REFUSED = "token_request_refused"  # noqa: S105 - a code, not a password
    TOKEN_NOT_UNDERSTOOD = "token_not_understood"  # noqa: S105 - a code, not a password
    EDGE_PAGE = "edge_page"
    REDIRECTED = "redirected"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    NO_ANSWER = "no_answer"
    CONNECTION_LOST = "connection_lost"
    ANSWER_BROKEN = "answer_broken"
    CLOCK_SKEW = "clock_skew"
    CALL_UNAUTHORIZED = "call_unauthorized"
    CALL_FORBIDDEN = "call_forbidden"
    CALL_SCOPE = "call_scope"
    CALL_NOT_FOUND = "call_not_found"
    CALL_REFUSED = "call_refused"
    READ_BACK_FORBIDDEN = "read_back_forbidden"
    READ_BACK_UNKNOWN = "read_back_unknown"


class StepFinding(msgspec.Struct, frozen=True):
    """What one step found. ``detail`` holds no secret and nothing that a server wrote freely."""

    status: StepStatus
    detail: str
    #: None for ``ok`` and ``skipped``.
    cause: Cause | None = None

    @classmethod
    def ok(cls, detail: str) -> StepFinding:
        """Make a finding that all is well."""
        return cls(StepStatus.OK, detail)

    @classmethod
    def warning(cls, cause: Cause, detail: str) -> StepFinding:
        """Make a finding that stops no call today."""
        return cls(StepStatus.WARNING, detail, cause)

    @classmethod
    def failed(cls, cause: Cause, detail: str) -> StepFinding:
        """Make a finding that stops calls."""
        return cls(StepStatus.FAILED, detail, cause)

    @classmethod
    def skipped(cls, why: str) -> StepFinding:
        """Make the finding of a step that was not taken."""
        return cls(StepStatus.SKIPPED, why)


#: The causes of what can be wrong with the files of section [tls].
OF_DEFECT: Final[Mapping[Defect, Cause]] = MappingProxyType(
    {
        Defect.UNREADABLE: Cause.TLS_FILE_UNREADABLE,
        Defect.NO_CERTIFICATE: Cause.TLS_FILE_NO_CERTIFICATE,
        Defect.NO_KEY: Cause.CLIENT_KEY_MISSING,
        Defect.KEY_ENCRYPTED: Cause.CLIENT_KEY_ENCRYPTED,
        Defect.WRONG_PASSWORD: Cause.CLIENT_KEY_PASSWORD,
        Defect.KEY_MISMATCH: Cause.CLIENT_KEY_MISMATCH,
        Defect.EXPIRED: Cause.CLIENT_CERTIFICATE_EXPIRED,
        Defect.NOT_YET_VALID: Cause.CLIENT_CERTIFICATE_NOT_YET_VALID,
        Defect.UNUSABLE: Cause.CLIENT_CERTIFICATE_UNUSABLE,
    }
)
