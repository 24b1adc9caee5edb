"""What is fuzzed, and what must be true whatever comes in.

The oracles share no code with the program: they are other ways of asking the
same question, written from the RFCs. Broken is raised where they disagree.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from sidecar.core.admission import guard, target_verdict
from sidecar.core.admission.guard import GuardRules, check_guard
from sidecar.core.admission.policy import Policy
from sidecar.core.admission.target import Target, parse_target
from sidecar.core.admission.target_verdict import Route
from sidecar.core.client_id import ClientIdRules
from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http import framing, headers
from sidecar.core.http.framing import check_request
from sidecar.core.http.headers import (
    RequestTemplate,
    filter_request_headers,
    render_response_head,
)
from sidecar.core.http.response_head import MAX_HEAD, BadResponseError, HeadReader, check_body_framing
from sidecar.core.malformed import Malformed
from sidecar.core.redact import mask_path, scrub
from tests.support.source import source_of
from tests.wire.threats.bare import lenient_head
from tests.wire.threats.reference import read_requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sidecar.core.http.header_index import RawHeaders
    from sidecar.core.http.messages import BodyFraming

CLIENT_ID: Final = "acme"
TOKEN: Final = "the-access-token"
HOST: Final = b"mangopay.test"

_ALIASES: Final = ("{ClientId}", "_")
_GUARD: Final = GuardRules(frozenset({"sidecar.internal"}))
_POLICY: Final = Policy.compile(False, ["* /**"], ["* /v2.01/*/payouts/**"])
_REFUSALS: Final = {
    ErrorCode.BAD_REQUEST,
    ErrorCode.HOST_NOT_ALLOWED,
    ErrorCode.BROWSER_NOT_ALLOWED,
    ErrorCode.EXPECTATION_FAILED,
}


def _strings(module: ModuleType) -> set[str]:
    nodes = ast.walk(ast.parse(source_of(module)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


_WORDS: Final = {each.message for each in Malformed}.union(*map(_strings, (framing, guard, headers, target_verdict)))


class Broken(Exception):  # noqa: N818 - what broke is a promise
    """Something that must always be true is not."""


def _must(condition: object, promise: str) -> None:
    if not condition:
        raise Broken(promise)


# --- requests --------------------------------------------------------------------------------------------------------


def request(data: bytes) -> None:
    """Read ``data`` as the head of a request, and check what the rules make of it."""
    method, goal, version, raw = lenient_head(data)
    raw = tuple((name, value.strip(b" \t")) for name, value in raw)
    try:
        body = check_request(method, version, raw)
        check_guard(raw, _GUARD)
        parsed = parse_target(method, goal, ClientIdRules(CLIENT_ID, _ALIASES))
        fields = filter_request_headers(raw)
        template = RequestTemplate.build(method, parsed.raw, "", HOST, fields, body.content_length, body.chunked)
    except SidecarError as error:
        _check_refusal(error)
        return
    head = template.render(TOKEN)
    _check_caller(raw)
    _check_framing(raw, body)
    _check_target(method, goal, parsed)
    _check_head(head, method, parsed, raw, body)
    _check_policy(method, parsed)
    _check_masked(parsed)


def _check_refusal(error: SidecarError) -> None:
    _must(error.code in _REFUSALS, "a refusal has one of four codes")
    _must(error.message in _WORDS, "a refusal says what is in our source, and nothing of the request")


_LOOPBACK: Final = re.compile(
    rb"(localhost|127(\.(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])){3}|\[::1\]|sidecar\.internal)(:[0-9]{1,5})?",
    re.IGNORECASE,
)


def _values(raw: RawHeaders, name: bytes) -> list[bytes]:
    return [value for key, value in raw if key.lower() == name]


def _check_caller(raw: RawHeaders) -> None:
    hosts = _values(raw, b"host")
    _must(len(hosts) == 1 and _LOOPBACK.fullmatch(hosts[0]), "only a loopback name or a listed one is a Host")
    _must(not _values(raw, b"origin"), "no Origin passes")
    _must(set(_values(raw, b"sec-fetch-site")) <= {b"none"}, "no page passes")


def _check_framing(raw: RawHeaders, body: BodyFraming) -> None:
    lengths, codings = _values(raw, b"content-length"), _values(raw, b"transfer-encoding")
    _must(len(lengths) + len(codings) <= 1, "a request has one length or one coding at most")
    _must(body.chunked == bool(codings), "a coding makes it chunked")
    for length in lengths:
        _must(re.fullmatch(rb"[0-9]{1,18}", length), "a length has digits only")
        _must(body.content_length == int(length), "the length is the number that was sent")
    for coding in codings:
        _must(coding.lower() == b"chunked", "the coding is chunked and nothing else")
    for name, value in raw:
        _must(re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), "names are tokens")
        _must(not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), "values have no control characters")


_DOTS: Final = re.compile(rb"(?:^|[/\\])\.\.?[\t\n\r ]*(?:[/\\;\x00]|$)")


def _check_target(method: str, goal: str, parsed: Target) -> None:
    raw = parsed.raw
    _must(re.fullmatch(rb"/(?!/)[!-~]*", raw) and not re.search(rb"[\\#]", raw), "a target is a path, in plain ASCII")
    path, mark, query = raw.partition(b"?")
    _must(parsed.path.encode() == path, "the path is the target without the query")
    sent, sent_mark, sent_query = goal.encode("utf-8", "surrogateescape").partition(b"?")
    _must((mark, query) == (sent_mark, sent_query), "the query is never changed")
    _must(_same_but_for_the_alias(sent.split(b"/"), path.split(b"/")), "only the alias is replaced")
    for depth, decoded in enumerate(_decodings(path)):
        _must(depth > 1 or not _DOTS.search(decoded), "no dot segment passes, plain or encoded")
        if parsed.route is Route.API:
            _must(not _is_below_token_path(decoded), "nothing that leads to the token path carries the token")
    if parsed.route is Route.ABOUT:
        _must(method in {"GET", "HEAD"} and path == b"/", "only GET / is answered with what this port is")
    elif parsed.route is not Route.API:
        _must(method == "POST", "the token paths are for POST")
    again = parse_target(method, raw.decode(), ClientIdRules(CLIENT_ID, _ALIASES))
    same = (again.raw, again.path, again.route, again.foreign) == (
        parsed.raw,
        parsed.path,
        parsed.route,
        parsed.foreign,
    )
    _must(same, "what was accepted is accepted as it is")


def _same_but_for_the_alias(sent: list[bytes], kept: list[bytes]) -> bool:
    if sent == kept:
        return True
    alias = len(sent) > 2 and unquote_to_bytes(sent[2]) in {b"_", b"{ClientId}"}
    return alias and kept == [*sent[:2], CLIENT_ID.encode(), *sent[3:]]


def _decodings(path: bytes) -> list[bytes]:
    """Return the path, and what comes of it when it is decoded again and again."""
    found = [path]
    while (decoded := unquote_to_bytes(found[-1])) != found[-1]:
        found.append(decoded)
    return found


def _is_below_token_path(path: bytes) -> bool:
    """Say whether a path is the token path or below it, whether or not a decoded ``?`` or ``#`` ends it."""
    return any(map(_names_token_path, (path, re.sub(rb"[?#].*", b"", path, flags=re.DOTALL))))


def _names_token_path(path: bytes) -> bool:
    segments = [re.sub(rb"[;\x00].*", b"", each, flags=re.DOTALL).strip() for each in re.split(rb"[/\\]+", path)]
    return [each.lower() for each in segments if each not in {b"", b"."}][1:3] == [b"oauth", b"token"]


_NEVER_UP: Final = re.compile(
    rb"(?i)(connection|keep-alive|proxy-.*|te|trailer|upgrade|http2-settings|cookie|expect|via|forwarded|x-forwarded-.*"
    rb"|x-real-ip|x-original-url|x-rewrite-url|x-http-method|x-http-method-override|x-method-override)"
)


def _check_head(head: bytes, method: str, parsed: Target, raw: RawHeaders, framed: BodyFraming) -> None:
    body = b"0\r\n\r\n" if framed.chunked else b"x" * min(framed.content_length or 0, 1_000_000)
    _must(framed.chunked or len(body) == (framed.content_length or 0) or len(body) == 1_000_000, "the body is there")
    if len(body) == 1_000_000:
        return  # too long to write down
    messages = read_requests(head + body)
    _must(len(messages) == 1, "one request goes up, and a strict reader can read it")
    (message,) = messages
    _must((message.method.decode(), message.target) == (method, parsed.raw), "method and target are the request's")
    _must(message.values(b"host") == [HOST], "the Host is ours")
    _must(message.values(b"authorization") == [b"Bearer " + TOKEN.encode()], "the credentials are ours")
    allowed = iter(raw)
    for name, value in message.fields:
        if name.lower() in {b"host", b"authorization", b"content-length", b"transfer-encoding"}:
            continue
        _must(not _NEVER_UP.fullmatch(name.replace(b"_", b"-")), "nothing of one hop goes up")
        _must((name, value) in allowed, "a line goes up as it came, in its place")


def _check_policy(method: str, parsed: Target) -> None:
    try:
        _POLICY.check(method, parsed.path)
    except SidecarError as error:
        _must(error.code is ErrorCode.POLICY_DENIED, "a policy denies")
        return
    for decoded in _decodings(parsed.path.encode()):
        denied = re.fullmatch(rb"(?i)/+v2[._]01/+[^/]*/+payouts([/;.\s\x00].*)?", decoded, flags=re.DOTALL)
        _must(not denied, "no spelling of a denied path passes")


def _check_masked(parsed: Target) -> None:
    masked = mask_path(parsed.path)
    _must("?" not in masked and masked.isprintable(), "a masked path is a word for a log")
    scrub(parsed.raw.decode())


# --- answers ---------------------------------------------------------------------------------------------------------


def response(data: bytes) -> None:
    """Read ``data`` as what upstream sends, whole and cut in two, and check what goes down."""
    whole = _read_response(data, len(data))
    for cut in {1, len(data) // 2, len(data) - 1}:
        if 0 < cut < len(data):
            _must(_read_response(data, cut) == whole, "it does not matter how the bytes are cut up")


def _read_response(data: bytes, cut: int) -> object:
    reader = HeadReader()
    try:
        found = reader.feed(data[:cut])
        rest = data[cut:]
        if found is None and rest:
            found, rest = reader.feed(rest), b""
        if found is None:
            return None
        head, surplus = found
        framed = check_body_framing(head, head_only=False)
    except BadResponseError as error:
        _must(len(str(error)) < 100, "a fault is told in our own words")
        return "refused"
    try:
        down = render_response_head(head.status, head.reason, head.lines_down)
    except SidecarError as error:
        raise Broken("what was read can be written") from error
    _check_response(down, head.status, framed.length, framed.declared)
    ends = framed.length, framed.declared, framed.persistent, framed.keep_alive, framed.dropped
    return head.status, head.reason, head.raw_headers, ends, surplus + rest


def _check_response(down: bytes, status: int, length: int | None, declared: int | None) -> None:
    _must(len(down) <= MAX_HEAD + 64, "a head does not grow")
    _must(200 <= status <= 999, "a final answer comes down")
    lines = down[:-4].split(b"\r\n")
    _must(down.endswith(b"\r\n\r\n") and b"" not in lines, "one head comes down")
    _must(re.fullmatch(rb"HTTP/1\.1 [1-9][0-9]{2} [\t -~\x80-\xff]*", lines[0]), "its status line is well-formed")
    for line in lines[1:]:
        _must(re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~\x80-\xff]*", line), "its lines are well-formed")
        _must(not re.match(rb"(?i)(connection|keep-alive|transfer-encoding|upgrade|x[-_]sidecar[-_].*):", line), "hops")
    lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
    _must(len(lengths) == (declared is not None and status != 204), "its length comes down once")
    _must(status in {204, 304} or length is None or length == declared, "a body has the length that it says")


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"request": request, "response": response}
