"""Asks one rule of ``sidecar.core`` about a case: without sockets, aiohttp's parser and the other rules.

Much of what a rule refuses has been refused before, and would not reach it. It
must be refused all the same, since a parser's defaults may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.admission import guard, target
from sidecar.core.admission.guard import GuardRules, check_guard
from sidecar.core.admission.target import parse_target
from sidecar.core.client_id import ClientIdRules
from sidecar.core.errors import SidecarError
from sidecar.core.http import framing, headers, response_head
from sidecar.core.http.framing import check_request
from sidecar.core.http.headers import RequestTemplate, filter_request_headers
from sidecar.core.http.response_head import BadResponseError, HeadReader, check_body_framing

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sidecar.core.http.header_index import RawHeaders
    from tests.wire.threats.case import Case

_GUARD: Final = GuardRules(frozenset())


def verdict_alone(rule: ModuleType, case: Case) -> object:
    """Return what one module's rules make of a case's request, or of upstream's response: an error, or a value."""
    try:
        return _RULES[rule](case)
    except SidecarError as error:
        return error.code, error.close
    except BadResponseError:
        return BadResponseError
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return "broke", type(error)


def _ask_framing(case: Case) -> object:
    method, _, version, raw = lenient_head(case.sent[0])
    framed = check_request(method, version, raw)
    return framed.content_length, framed.chunked, framed.expects_continue, framed.keep_alive


def _ask_guard(case: Case) -> object:
    check_guard(tuple((name, value.strip(b" \t")) for name, value in lenient_head(case.sent[0])[3]), _GUARD)
    return "passed"


def _ask_target(case: Case) -> object:
    method, goal, _, _ = lenient_head(case.sent[0])
    parsed = parse_target(method, goal, ClientIdRules("acme", ("{ClientId}", "_")))
    return parsed.raw, parsed.path, parsed.route, parsed.foreign


def _ask_headers(case: Case) -> object:
    method, goal, _, raw = lenient_head(case.sent[0])
    lines = filter_request_headers(raw)
    template = RequestTemplate.build(method, goal.encode(), "", b"x", lines, content_length=None, chunked=False)
    return template.render("token")


def _ask_response_head(case: Case) -> object:
    found = HeadReader().feed(case.replies[0].data)
    if found is None:
        return None
    head, surplus = found
    ends = check_body_framing(head, head_only=case.sent[0].startswith(b"HEAD "))
    told = head.minor_version, head.status, head.reason, head.raw_headers, head.lines_down, surplus
    return told, ends.length, ends.declared, ends.persistent, ends.keep_alive, ends.dropped


_RULES: Final[dict[ModuleType, Callable[[Case], object]]] = {
    framing: _ask_framing,
    guard: _ask_guard,
    target: _ask_target,
    headers: _ask_headers,
    response_head: _ask_response_head,
}


def lenient_head(data: bytes) -> tuple[str, str, tuple[int, int], RawHeaders]:
    """Read a head without any rule: lines end with CRLF, names end at the first colon, blanks and folds stay."""
    line, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
    goal, _, protocol = rest.rpartition(" ")
    numbers = protocol.rpartition("/")[2].split(".")
    major, minor = [int(each) if each.isdecimal() else -1 for each in (*numbers, "", "")[:2]]
    fields: list[tuple[bytes, bytes]] = []
    for each in lines:
        if each[:1] in {b" ", b"\t"} and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b"\r\n" + each)
        else:
            name, _, value = each.partition(b":")
            fields.append((name, value))
    return method, goal, (major, minor), tuple(fields)
