"""Checks that are no condition of an "if": what stands there, what to put in its place, and the case that needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core import client_id
from sidecar.core.admission import caller, guard, policy, target
from sidecar.core.http import framing, headers, response_head
from sidecar.downstream import request_reader
from sidecar.upstream import chunks, connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@dataclass(frozen=True)
class Rewrite:
    """``old`` stands once in ``function`` of ``module``; with ``new`` there, the case fails."""

    module: ModuleType
    function: str
    old: str
    new: str
    case: str


def _at(module: ModuleType, function: str, *rows: tuple[str, str, str, str]) -> Iterator[tuple[str, Rewrite]]:
    for name, old, new, case in rows:
        yield name, Rewrite(module, function, old, new, case)


REWRITTEN: Final = dict(
    (
        *_at(
            guard,
            "check_guard",
            ("Sec-Fetch-Site: none", 'field == _FETCH_SITE and value == b"none"', "False", "fetch-site-none"),
            ("other Sec-Fetch-Site", ' and value == b"none"', "", "fetch-site-cross"),
            ("a browser's User-Agent", "value.startswith(_BROWSER)", "True", "a-client-with-a-language"),
            ("a language", "language = True", "pass", "old-safari"),
            ("an old browser's typed address", "typed = True", "pass", "typed-into-a-browser"),
            ("a browser without a language", "agent and language", "agent", "powershell"),
        ),
        *_at(
            guard,
            "_host_allowed",
            ("Host is ASCII", "not value.isascii()", "False", "host-high-bytes"),
            ("Host in any case", ".lower()", "", "host-localhost-capitals"),
            ("text behind [::1]", 'colon not in {"", ":"} or ', "", "host-v6-letter-for-a-colon"),
            ("port of Host", "(colon and not _is_port(port))", "False", "host-port-no-number"),
        ),
        *_at(
            guard,
            "_is_port",
            ("port is short", "len(port) <= 5", "True", "host-port-many-zeros"),
            ("port is a port", "int(port) <= 65535", "True", "host-port-too-large"),
        ),
        *_at(
            guard,
            "_is_ipv4_loopback",
            ("four octets", "len(octets) != 4", "False", "host-loopback-short"),
            ("first octet", 'octets[0] != "127"', "False", "host-private-address"),
            ("octets are numbers", "octet.isdigit() and ", "", "host-loopback-letter"),
            ("octets without zeros", "str(int(octet)) == octet", "True", "host-loopback-zeros"),
            ("octets below 256", "int(octet) < 256", "True", "host-loopback-too-large"),
        ),
        *_at(
            target,
            "_decode_once",
            ("decoded dots", "path = unquote_to_bytes(path)", "pass", "dots-encoded"),
        ),
        *_at(
            target,
            "_names",
            ("backslash separates", '.replace(b"\\\\", b"/")', "", "dots-encoded-backslash"),
            ("parameters of dots", '.partition(b";")[0]', "", "dots-semicolon-parameter"),
            ("NUL behind dots", '.partition(b"\\0")[0]', "", "dots-nul-text"),
            ("space behind dots", '\\n\\r "', '\\n\\r"', "dots-space"),
            ("tab behind dots", '"\\t\\n', '"\\n', "dots-tab"),
            ("LF behind dots", '"\\t\\n', '"\\t', "dots-line-feed"),
            ("CR behind dots", '\\r "', ' "', "dots-carriage-return"),
        ),
        *_at(
            target,
            "_route",
            ("token path by POST only", ' and method == "POST"', "", "token-get"),
            ("token path in any case", "path.lower()", "path", "token-capitals"),
            ("token path, slash behind", '.removesuffix("/")', "", "token-trailing-slash"),
        ),
        *_at(
            target,
            "_refuse_disguised_token_path",
            ("too many encodings", "    _refuse(Rule.NESTED)", "", "token-encoded-nine-times"),
            ("disguised in any case", ".casefold()", "", "token-capital-encoded"),
            ("Kelvin sign", 'decode("utf-8", "replace")', 'decode("latin-1")', "token-kelvin-sign"),
            ("? ends the path", '.partition(b"?")[0]', "", "token-question-mark-encoded"),
            ("# ends the path", '.partition(b"#")[0]', "", "token-fragment-encoded"),
        ),
        *_at(
            target,
            "_leads_to_token",
            ("empty segments", 'b"", ', "", "token-empty-segment"),
            ("dot segments", ', b"."', "", "token-dot-encoded-twice"),
            ("dots resolved", 'name == b".."', "False", "token-traversal-encoded-twice"),
            ("below the token path", "names[1:3] ==", "names[1:] ==", "token-below"),
        ),
        *_at(
            client_id,
            "ClientIdRules.place",
            ("alias decoded", "decoded(segment)", "segment", "alias-braces-encoded"),
            (
                "alias behind a version",
                "not is_version(decoded(first))",
                "False",
                "alias-without-version",
            ),
            (
                "version decoded",
                "is_version(decoded(first))",
                "is_version(first)",
                "alias-version-encoded",
            ),
            ("another ClientId", "return path, True", "return path, False", "another-client-id"),
            ("an empty ClientId", "not segment and end == len(path)", "not segment", "another-client-id-empty"),
            ("a version in disguise", "return path, doubtful and", "return path, False and", "disguised-parameter"),
            ("a separator in disguise", "_hides_separator(first) or ", "", "disguised-slash-ours-behind"),
            (
                "a version in disguise before ours",
                "not self._stays(name, path[end:])",
                "True",
                "client-id-behind-a-parameter",
            ),
        ),
        *_at(
            client_id,
            "ClientIdRules._stays",
            ("our ClientId in any case", "_fold(name)", "name", "client-id-in-other-case"),
            ("oauth before token only", "folded != _TOKEN_ROOT or", "True or", "another-client-id-behind-oauth"),
        ),
        *_at(
            client_id,
            "may_hide_version",
            ("only what is written with marks", "not _MARKS.isdisjoint(segment) and ", "", "alias-behind-another-word"),
            ("only what is doubtful", " and _DOUBTFUL.search(unquote(segment)) is not None", "", "no-version-encoded"),
            ("decoded before it is doubted", "search(unquote(segment))", "search(segment)", "no-version-encoded"),
        ),
        *_at(
            headers,
            "folded",
            ("_ as -", '.replace(b"_", b"-")', "", "strip-x-forwarded-for-underscores"),
            ("names in any case", ".lower()", "", "strip-in-other-case"),
        ),
        *_at(
            headers,
            "_request_rule",
            ("families", " or field.startswith(_FAMILIES_NOT_SENT_UP)", "", "strip-proxy-anything"),
        ),
        *_at(
            headers,
            "filter_request_headers",
            ("nominated fields", "not in named]", "not in {b''}]", "nominated"),
        ),
        *_at(
            headers,
            "connection_options",
            ("quotes in Connection", "b' \\t\"'", "b' \\t'", "nominated-idempotency-key-in-quotes"),
        ),
        *_at(
            headers,
            "goes_down",
            ("X-Sidecar from upstream", " and not field.startswith(_OUR_FAMILY)", "", "down-x-sidecar-outcome"),
        ),
        *_at(
            response_head,
            "_not_nominated",
            ("nominated by upstream", "not in named]", "not in {b''}]", "down-nominated"),
            ("length nominated by upstream", 'named.discard(b"content-length")', "pass", "down-nominated-length"),
        ),
        *_at(
            headers,
            "render_response_head",
            ("length of a 204", "status == 204 or ", "", "down-length-of-204"),
        ),
        *_at(
            policy,
            "plain_segments",
            ("path decoded", 'unquote(path, "latin-1")', "path", "allow-encoded"),
            ("no separator is encoded", 'decoded.count("/") != path.count("/") or ', "", "allow-slash-encoded"),
            ("path is plain", " or not _plain(decoded)", "", "deny-semicolon"),
        ),
        *_at(
            policy,
            "_plain",
            ("path is ASCII", "not path.isascii() or ", "", "deny-long-s"),
            ("path is printable", "not path.isprintable() or ", "", "deny-nul"),
            ("empty segments of a policy", '"//" not in path and ', "", "deny-empty-segment"),
            ("dot before a slash", '"./" not in path and ', "", "deny-dot-below"),
            ("dot at the end", ' and not path.endswith(".")', "", "deny-dot"),
        ),
        *_at(
            policy,
            "_segments",
            ("path in any case", ".casefold()", "", "deny-capitals"),
            ("slash at the end", '.removesuffix("/")', "", "deny-exact-trailing-slash"),
            ("V2_01 is v2.01", '.replace("_", ".")', "", "deny-version-underscore"),
        ),
        *_at(
            caller,
            "Callers._is_valid_bearer",
            (
                "Bearers are signed",
                "not hmac.compare_digest(_signature(key, payload), signature)",
                "False",
                "key-forged-bearer",
            ),
            ("Bearers expire", "return now_wall < expiry", "return True", "key-expired-bearer"),
        ),
        *_at(
            caller,
            "Callers._knows_password",
            ("the key is compared", "return hmac.compare_digest(digest, self._expected)", "return True", "key-wrong"),
            ("base64 is strict", "strict_mode=True", "strict_mode=False", "key-base64-with-noise"),
            ("the password is behind the colon", '.partition(b":")[2]', '.rpartition(b":")[2]', "key-without-colon"),
        ),
        *_at(
            caller,
            "Callers.check_call",
            ("everybody else is turned away", "        _turn_away()", "        return", "key-raw"),
        ),
        *_at(
            request_reader,
            "RequestReader._accept",
            ("sealed by chunks", "message.chunked or message.upgrade", "message.upgrade", "request-behind-chunks"),
        ),
        *_at(
            response_head,
            "_read_field_line",
            ("fields end with the head", '.rstrip(b" \\t")', "", "answer-blanks-around-values"),
        ),
        *_at(
            connection,
            "Connection._feed",
            ("surplus closes", "if surplus:", "if False:", "extra-response"),
        ),
        *_at(
            connection,
            "Connection._feed",
            (
                "surplus of a length",
                "surplus = response.feed(data)",
                "surplus = response.feed(data) and response.framing.length is None",
                "extra-byte",
            ),
        ),
        *_at(
            chunks,
            "ChunkedDecoder._feed",
            ("surplus of chunks", "            self.surplus = True", "            pass", "extra-behind-chunks"),
            ("line ends behind chunks", 'self._end[:1] in b"\\r\\n"', "False", "extra-line-end-behind-chunks"),
        ),
        *_at(
            chunks,
            "_strict_parser",
            (
                "chunks are read strictly",
                "_compiled.DEBUG = True",
                "_compiled.DEBUG = False",
                "answer-chunk-space-behind",
            ),
        ),
    )
)

#: The same for what is settled in two places, so that only the rule itself can be asked.
REWRITTEN_ALONE: Final = dict(
    (
        *_at(
            framing,
            "_keep_alive",
            ("close ends it", 'b"close" in options', "False", "nominated-and-close"),
            ("an upgrade ends it", 'b"upgrade" in options', "False", "nothing-behind-websocket"),
        ),
        *_at(
            framing,
            "check_request",
            ("chunks end it", "not chunked and ", "", "request-behind-chunks"),
        ),
        *_at(
            framing,
            "_keep_alive",
            ("HTTP/1.0 ends it", "return version == (1, 1)\n", "return True\n", "control-http-1.0"),
        ),
        *_at(
            headers,
            "connection_options",
            ("options in any case", "value.lower()", "value", "close-in-capitals"),
        ),
        *_at(
            framing,
            "check_request",
            ("no body, no expectation", " and (chunked or bool(length))", "", "expect-on-get-is-dropped"),
        ),
        *_at(
            framing,
            "_expects_continue",
            ("HTTP/1.0 expects nothing", "version != (1, 1)", "False", "expect-on-http-1.0"),
        ),
        *_at(
            framing,
            "_content_length",
            ("blanks around a length", 'length = length.strip(b" \\t")', "pass", "length-blanks-around"),
        ),
        *_at(
            response_head,
            "HeadReader.feed",
            ("interim answers are no answers", "head.status >= 200", "True", "answer-16-interim"),
        ),
    )
)
