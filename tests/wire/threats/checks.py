"""Every check of the program that refuses or changes a message, and the case that needs it.

Conditions, members of tables and limits; what is none of these is in ``rewrites.py``. Both are read by
``test_every_check_is_needed.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sidecar.core import client_id
from sidecar.core.admission import caller, guard, policy, target
from sidecar.core.http import framing, headers, response_head
from sidecar.downstream import head_boundaries, request_reader
from sidecar.proxy import body
from sidecar.upstream import chunks

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@dataclass(frozen=True)
class Alone:
    """The case is also refused elsewhere: only the rule itself is asked."""

    case: str


@dataclass(frozen=True)
class Guards:
    """No response hangs on it: what it keeps from happening is shown by another test, or by none that could fail."""

    what: str


Need = str | Alone | Guards

#: Where messages are refused, function by function.
FUNCTIONS: Final[dict[ModuleType, tuple[str, ...]]] = {
    guard: ("check_guard",),
    target: ("parse_target", "_refuse_disguised_token_path"),
    client_id: ("ClientIdRules.refuse_foreign",),
    framing: ("_rule", "check_request", "_chunked", "_content_length", "_expects_continue"),
    headers: (
        "filter_request_headers",
        "RequestTemplate.build",
        "RequestTemplate.render",
        "render_response_head",
    ),
    policy: ("Policy.check", "_readable"),
    caller: ("Callers.check_token_call", "Callers.check_call", "_credentials"),
    response_head: (
        "_read_status_line",
        "_read_field_line",
        "HeadReader.feed",
        "HeadReader._count_interim",
        "check_body_framing",
        "_read_framing",
        "_content_length",
        "_chunked",
    ),
    head_boundaries: ("HeadBoundaries.take_head", "HeadBoundaries.check"),
    request_reader: ("RequestReader._check_chunks",),
    body: ("BodyReader.read",),
    chunks: ("ChunkedDecoder._feed",),
}

#: Every condition on which they refuse, and the case that fails without it.
NEEDED: Final[dict[str, Need]] = {
    "guard.check_guard: host is None": Alone("host-missing"),
    "guard.check_guard: host is not None": Alone("host-twice"),
    "guard.check_guard: not _host_allowed(host, rules.allowed_hosts)": "host-rebound",
    "guard.check_guard: len(host) > _LONGEST_HOST": Guards("the cache of verdicts from long names"),
    "guard.check_guard: browser": "origin-foreign",
    "guard.check_guard: old_browser": "old-safari",
    "target.parse_target: method.upper() in _REFUSED_METHODS": "trace",
    "target.parse_target: raw[:1] != '/'": "absolute-elsewhere",
    "target.parse_target: raw[1:2] == '/'": "two-slashes",
    "target.parse_target: not raw.isascii()": Alone("utf-8"),
    "target.parse_target: not raw.isprintable()": Alone("control-character"),
    "target.parse_target: ' ' in raw": Alone("space-in-target"),
    "target.parse_target: '\\\\' in raw": "backslash",
    "target.parse_target: '#' in raw": "fragment",
    "target.parse_target: has_dot_segment(path)": "dots",
    "target._refuse_disguised_token_path: _leads_to_token(folded)": "token-get-question-mark-before",
    "target._refuse_disguised_token_path: _leads_to_token(cut)": "token-question-mark-encoded",
    "client_id.ClientIdRules.refuse_foreign: not self.forward_foreign": "another-client-id",
    "framing._rule: not name": Alone("empty-name"),
    "framing._rule: name.translate(None, TOKEN_CHARACTERS)": Alone("space-before-colon"),
    "framing.check_request: version not in _VERSIONS": Alone("version-1.2"),
    "framing.check_request: method not in KNOWN_METHODS and (not _is_method(method))": Alone("method-delimiters"),
    "framing.check_request: len(values.translate(None, _CONTROLS)) != len(values)": Alone("bare-cr-in-value"),
    "framing.check_request: b'host' not in found": "host-missing-1.0",
    "framing.check_request: _COMMA in found[b'host']": "host-list",
    "framing._chunked: version != (1, 1)": "te-on-http-1.0",
    "framing._chunked: b'content-length' in found": Alone("cl-te"),
    "framing._chunked: coding.strip(b' \\t').lower() != b'chunked'": "coding-gzip-chunked",
    "framing._content_length: not length.isdigit()": Alone("length-plus"),
    "framing._content_length: len(length) > _LENGTH_DIGITS": "length-300-digits",
    "framing._expects_continue: expectation.strip(b' \\t').lower() != b'100-continue'": "0-cl-expect-unknown",
    "headers.filter_request_headers: not named.isdisjoint(_NOT_TO_BE_NOMINATED)": "nominated-idempotency-key",
    "headers.RequestTemplate.build: head is None": Alone("bare-cr-in-value"),
    "headers.RequestTemplate.render: not token": Guards(
        "a head without a token; tests/unit/core/http/test_headers_rendered.py"
    ),
    "headers.RequestTemplate.render: not token.isprintable()": Guards(
        "a head that a token splits; tests/unit/core/http/test_headers_rendered.py"
    ),
    "headers.render_response_head: head is None": Guards(
        "an answer that a field splits; tests/unit/core/http/test_headers_rendered.py"
    ),
    "policy.Policy.check: self.read_only and method not in _READ_ONLY_METHODS": "read-post",
    "policy.Policy.check: any((rule.matches(method, segments) for rule in self.deny))": "deny-plain",
    "policy.Policy.check: not any((rule.matches(method, segments) for rule in self.allow))": "allow-other-path",
    "policy._readable: segments is None": "deny-semicolon",
    "caller.Callers.check_token_call: scheme != b'basic'": "key-as-bearer-at-the-token-path",
    "caller.Callers.check_token_call: not self._knows_password(credentials)": "key-wrong-at-the-token-path",
    "caller._credentials: len(values) != 1": "key-then-wrong",
    "response_head._read_status_line: match is None": Guards("nothing by itself: see the table of patterns"),
    "response_head._read_field_line: match is None": Guards("nothing by itself: see the table of patterns"),
    "response_head.HeadReader.feed: not data.startswith(_VERSION) and (not _VERSION.startswith(data))": (
        "status-then-silence"
    ),
    "response_head.HeadReader.feed: len(data) >= MAX_HEAD": "field-without-end",
    "response_head.HeadReader.feed: b'\\n' in data.replace(b'\\r\\n', b'')": "status-bare-lf-then-silence",
    "response_head.HeadReader.feed: end > MAX_HEAD": Alone("field-too-long"),
    "response_head.HeadReader._count_interim: status == 101": "answer-upgrade",
    "response_head.HeadReader._count_interim: self._interim > MAX_INTERIM": "answer-17-interim",
    "response_head.check_body_framing: declared is None": "answer-neither",
    "response_head._read_framing: declared is not None": "answer-two-equal-lengths",
    "response_head._read_framing: chunked and declared is not None": "answer-length-and-chunks",
    "response_head._content_length: not value.isdigit()": "answer-length-plus",
    "response_head._content_length: len(value) > _MOST_DIGITS": "answer-length-in-20-digits",
    "response_head._content_length: (length := int(value)) > MAX_LENGTH": Guards("see MAX_LENGTH below"),
    "response_head._chunked: head.minor_version == 0": "answer-coding-on-1.0",
    "response_head._chunked: again": "answer-chunked-twice",
    "response_head._chunked: coding.lower() != b'chunked'": "answer-unknown-coding",
    "head_boundaries.HeadBoundaries.take_head: end < len(_END)": Guards(
        "a head that only the parser sees the end of: none is known"
    ),
    "head_boundaries.HeadBoundaries.take_head: "
    "not pending.startswith(_VERSION, len(method) + len(target) + 2)": "version-rtsp",
    "head_boundaries.HeadBoundaries.take_head: end > MAX_HEAD": Guards(
        "heads that come whole; tests/unit/downstream/test_head_boundaries.py"
    ),
    "head_boundaries.HeadBoundaries.check: "
    "len(self.pending) > MAX_HEAD and self.pending.find(_END, 0, MAX_HEAD) < 0": "head-without-end",
    "request_reader.RequestReader._check_chunks: "
    "self._wire_body > _CHUNK_OVERHEAD + (1 + _CHUNK_RATIO) * content.total_bytes": "extension-on-every-byte",
    "body.BodyReader.read: length is not None and length > limits.max_body": "body-too-large-by-far",
    "body.BodyReader.read: size > limits.max_body": "chunks-too-large-at-once",
    "chunks.ChunkedDecoder._feed: self._overhead > _MAX_OVERHEAD and "
    "self._overhead > _MAX_OVERHEAD + self._payload.total_bytes": "answer-chunk-extension-flood",
    "chunks.ChunkedDecoder._feed: not self._payload.is_eof()": "answer-chunk-no-number",
}


# --- tables and limits -----------------------------------------------------------------------------------------------


def _strip(name: bytes) -> str:
    special = {
        b"host": "control-get",
        b"content-length": "control-post",
        b"transfer-encoding": "control-chunked",
        b"authorization": "strip-authorization",
    }
    return special.get(name, f"strip-{name.decode()}")


#: Table, and the case that needs a member.
MEMBERS: Final[tuple[tuple[ModuleType, str, Callable[[Any], str]], ...]] = (
    (headers, "_NOT_SENT_UP", _strip),
    (headers, "_FAMILIES_NOT_SENT_UP", lambda family: f"strip-{family.decode()}anything"),
    (headers, "_NOT_TO_BE_NOMINATED", lambda name: f"nominated-{name.decode()}"),
    (
        headers,
        "_NOT_SENT_DOWN",
        lambda name: f"down-{name.decode()}" if name != b"transfer-encoding" else "answer-chunked",
    ),
    (
        guard,
        "_BY_NAME",
        {
            b"host": "host-localhost",
            b"origin": "origin-null",
            b"sec-fetch-site": "fetch-site-cross",
            b"user-agent": "old-safari",
            b"accept-language": "old-safari",
        }.__getitem__,
    ),
    (target, "_REFUSED_METHODS", {"CONNECT": "connect-path", "TRACE": "trace"}.__getitem__),
    (client_id, "ROOTS_WITHOUT_CLIENT_ID", {"countries": "no-client-id", "oauth": "embedded-recipient"}.__getitem__),
    (target, "_READING", {"GET": "root", "HEAD": "root-head"}.__getitem__),
    (target, "_TOKEN_PATHS", lambda path: {"token": "token-plain"}.get(path[-1], f"embedded-{path[-1]}")),
    (
        target,
        "_OVERLONG",
        {
            (b"\xc0\xae", b"."): "dots-overlong-two-bytes",
            (b"\xe0\x80\xae", b"."): "dots-overlong-three-bytes",
            (b"\xc0\xaf", b"/"): "slash-overlong",
            (b"\xe0\x80\xaf", b"/"): "slash-overlong-three-bytes",
            (b"\xc1\x9c", b"\\"): "backslash-overlong",
            (b"\xe0\x81\x9c", b"\\"): "backslash-overlong-three-bytes",
        }.__getitem__,
    ),
    (
        policy,
        "_TWO_EDGED",
        {
            ";": "deny-semicolon-encoded",
            "\\": "deny-backslash-encoded",
            "%": "deny-encoded-twice",
            "?": "deny-question-mark-encoded",
            "#": "deny-fragment-encoded",
            " ": "deny-space",
        }.__getitem__,
    ),
    (response_head, "_NO_BODY", lambda status: f"answer-{status}"),
)

_NAME: Final = "([!#$%&'*+\\-.^_`|~0-9A-Za-z]++):"
_VALUE: Final = r"([\t\x20-\x7e\x80-\xff]*+)"
_REASON: Final = r"(?: ([\t\x20-\x7e\x80-\xff]*+))?"

#: What the patterns of a response head's lines say, made lax in one place each: pattern, what stands there, what to put
#: in its place, and the case that fails then.
LAX: Final = {
    "one space behind the version": ("_STATUS_LINE", r"HTTP/1\.([01]) ", r"HTTP/1\.([01]) +", "status-two-spaces"),
    "version 1.0 or 1.1": ("_STATUS_LINE", r"HTTP/1\.([01])", r"HTTP/1\.([0-9])", "status-version-1.2"),
    "three digits": ("_STATUS_LINE", "[1-9][0-9][0-9]", "[0-9]+", "status-four-digits"),
    "reason without control characters": ("_STATUS_LINE", _REASON, r"(?: ([^\r\n]*+))?", "status-reason-escape"),
    "names without blanks": ("_FIELD_LINE", _NAME, r"([^:\r\n]++):", "field-space-before-another-colon"),
    "names are not empty": ("_FIELD_LINE", _NAME, r"([!-9;-~]*+):", "field-empty-name-last"),
    "names are ASCII": ("_FIELD_LINE", _NAME, r"([!-9;-\xff]++):", "field-high-byte-in-name"),
    "no folding": ("_FIELD_LINE", _NAME, r"([^:\r\n]++):?", "field-folded-last"),
    "values without NUL": ("_FIELD_LINE", _VALUE, r"([\x00\t\x20-\x7e\x80-\xff]*+)", "field-nul"),
    "values without CR": ("_FIELD_LINE", _VALUE, r"([\r\t\x20-\x7e\x80-\xff]*+)", "field-bare-cr"),
    "values without LF": ("_FIELD_LINE", _VALUE, r"([\n\t\x20-\x7e\x80-\xff]*+)", "field-bare-lf"),
}

#: A constant, a value that takes its limit away, and the case that fails then.
LIMITS: Final[tuple[tuple[ModuleType, str, Any, str], ...]] = (
    (head_boundaries, "MAX_HEAD", 10**9, "head-of-80-kib"),
    (head_boundaries, "_EMPTY_LINES", 10**9, "empty-lines-without-end"),
    (head_boundaries, "_VERSION", b"", "version-rtsp"),
    (request_reader, "_CHUNK_OVERHEAD", 10**9, "extension-on-every-byte"),
    (chunks, "_MAX_OVERHEAD", 10**9, "answer-chunk-extension-flood"),
    (response_head, "MAX_HEAD", 10**9, "field-without-end"),
    (response_head, "MAX_INTERIM", 10**9, "answer-17-interim"),
    (framing, "_LENGTH_DIGITS", 10**9, "length-2-to-the-63"),
    (framing, "_VERSIONS", frozenset({(1, 1)}), "control-http-1.0"),
    (target, "_MOST_DECODINGS", 2, "encoded-twice"),
    (response_head, "MAX_LENGTH", 10**50, "answer-length-2-to-the-63"),
)
