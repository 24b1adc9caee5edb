"""Kinds of values that name a place: hosts, URLs, token stores, policy rules."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec

from sidecar.config.errors import InvalidValue
from sidecar.config.values import PATH, Kind, checked_text
from sidecar.core.endpoint import Endpoint, parse_authority, parse_host
from sidecar.core.secret import Secret


class EgressProxy(msgspec.Struct, frozen=True):
    """An HTTP proxy to reach Mangopay through, by CONNECT (RFC 9110 section 9.3.6)."""

    #: Without brackets.
    host: str
    port: int
    #: Percent-decoded; both are None, or neither is.
    username: str | None = None
    password: Secret | None = None


class TokenStore(msgspec.Struct, frozen=True):
    """Where tokens are kept."""

    #: ``"memory"``, ``"file"`` or ``"redis"``.
    kind: str
    #: Set for ``"file"``.
    path: Path | None = None
    #: Set for ``"redis"``: ``redis://…`` or ``rediss://…``, which may hold a password.
    url: Secret | None = None


def _parse_host(value: object) -> str:
    text = checked_text(value)
    if text.startswith("[") and text.endswith("]") and ":" in text:  # as in a URL, and as our own ready line has it
        text = text[1:-1]
    try:
        return parse_host(text)
    except ValueError:
        raise InvalidValue("is neither a host name nor an IP address (no scheme, no port, no wildcard)") from None


BIND_HOST: Final = Kind('addresses or host names to listen on, such as "127.0.0.1"', _parse_host)
ALLOWED_HOST: Final = Kind('host names without a port, such as "sidecar.internal"', _parse_host)


def _refused(error: ValueError) -> InvalidValue:
    return InvalidValue(f"is refused since {error}")


def _parse_base_url(value: object) -> Endpoint:
    text = checked_text(value)
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise _refused(error) from None


BASE_URL: Final = Kind(
    "an https:// URL that may have a path prefix, but no query, fragment or user information",
    _parse_base_url,
    is_string=True,
)


COLLECTOR: Final = Kind(
    "an http:// or https:// URL that may have a path, but no query, fragment or user information",
    _parse_base_url,
    is_string=True,
)


def _parse_alias(value: object) -> str:
    text = checked_text(value)
    if "/" in text or not text.isascii():
        raise InvalidValue("is no single ASCII path segment")
    return text


ALIAS: Final = Kind('path segments, percent-decoded, such as "_"', _parse_alias)


#: Those that an API has (RFC 9110 section 9, RFC 5789); CONNECT and TRACE are never forwarded.
_POLICY_METHODS: Final = ("*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _parse_policy_rule(value: object) -> str:
    from sidecar.core.admission.policy import Rule

    text = checked_text(value)
    method, _, path = text.partition(" ")
    if method not in _POLICY_METHODS or not path.startswith("/"):
        # A method that is misspelt in "deny" would deny nothing.
        raise InvalidValue('has not the shape "METHOD /path/glob", with one of ' + ", ".join(_POLICY_METHODS))
    try:
        Rule.parse(text)
    except ValueError:  # its message repeats the rule
        raise InvalidValue(
            "could match no path: write it decoded, in ASCII, without query, empty segments, dots at the end of a "
            "segment, or ** within one"
        ) from None
    return text


POLICY_RULE: Final = Kind(
    '"METHOD /path/glob", the method in capitals or *, such as "GET /v2.01/*/users/**"', _parse_policy_rule
)

_EGRESS_PROXY: Final = r"(?i:http)://(?:([^@/?#\\]*)@)?([^@/?#\\]+)/?"


def _parse_egress_proxy(value: object) -> EgressProxy:
    match = re.fullmatch(_EGRESS_PROXY, checked_text(value))
    if match is None:
        raise InvalidValue("has not the shape http://[user:pass@]host:port")
    try:
        host, port = parse_authority(match[2], None)
    except ValueError as error:
        raise _refused(error) from None
    if match[1] is None:
        return EgressProxy(host, port)
    return EgressProxy(host, port, *_parse_user_information(match[1]))


def _parse_user_information(text: str) -> tuple[str, Secret]:
    """Split ``user:pass``; either may be percent-encoded, and a password may be empty (RFC 7617)."""
    user, colon, password = text.partition(":")
    username, decoded = unquote(user), unquote(password)
    is_encoded = re.search("%(?![0-9A-Fa-f]{2})", text) is None and "\ufffd" not in username + decoded
    if not username or not colon or ":" in username or not is_encoded:
        raise InvalidValue("has user information that is not user:pass, percent-encoded as UTF-8")
    if not (username + decoded).isprintable():
        raise InvalidValue("has a control character or an invisible one in its user information")
    return username, Secret(decoded)


EGRESS_PROXY: Final = Kind(
    "http://[user:pass@]host:port, special characters percent-encoded",
    _parse_egress_proxy,
    is_string=True,
    is_secret=True,
)

# Only the shape: the Redis client reads the rest when it connects.
_REDIS_URL: Final = r"rediss?://[!-~]+"


def _parse_token_store(value: object) -> TokenStore:
    text = checked_text(value)
    if text == "memory":
        return TokenStore("memory")
    if text.startswith("file:"):
        return TokenStore("file", path=PATH.parse(text.removeprefix("file:")))
    if re.fullmatch(_REDIS_URL, text):
        return TokenStore("redis", url=Secret(text))
    raise InvalidValue("is no token store")


TOKEN_STORE: Final = Kind(
    "memory, file:PATH, redis://… or rediss://…", _parse_token_store, is_string=True, is_secret=True
)
