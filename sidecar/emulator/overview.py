"""``GET /``: a page on what the emulator does, with forms for faults and for what waits. It needs no script.

For browsers on this machine alone: the peer and the ``Host`` must be loopback, so that no
page from elsewhere reads it by a name of its own, and a form must come from the page itself.
"""

from __future__ import annotations

import itertools
from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.emulator import pages
from sidecar.emulator.control import is_local
from sidecar.emulator.engine.kinds import TRANSACTIONS, kind_of
from sidecar.emulator.fault_rules import ACTIONS, Rule
from sidecar.emulator.loopback import is_loopback_name
from sidecar.emulator.messages import EmulatedResponse, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.emulator.control import Control
    from sidecar.emulator.faults import Faults
    from sidecar.emulator.hooks import Outbox
    from sidecar.emulator.seen import Seen
    from sidecar.emulator.state import State

#: What says nothing of a rule.
_RULE_DEFAULTS: Final = msgspec.to_builtins(Rule(action=""))
#: How many of the newest requests, deliveries and waiting resources are shown.
_SHOWN: Final = 50
#: Among how many of a ClientId's resources those are looked for that wait.
_SEARCHED: Final = 1_000
#: The forms by name: the control route that each stands for, and the fields that it needs.
_FORMS: Final = {
    "add-fault": ("POST", "faults", ("rule",)),
    "remove-fault": ("DELETE", "faults", ("id",)),
    "settle": ("POST", "settle", ("client_id", "id", "transition")),
    "trigger": ("POST", "trigger", ("client_id", "event", "id")),
}
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}
<title>Mangopay emulator</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ccc; overflow-wrap: anywhere; }}
form {{ display: inline; }}
input, button {{ font: inherit; }}
[role=alert] {{ border-left: .25rem solid #b00020; padding-left: .75rem; }}
</style>
</head>
<body>
<main>
<h1>Mangopay emulator</h1>
{content}
</main>
</body>
</html>
"""
_HTML: Final = b"text/html; charset=utf-8"
#: As other pages have them; but forms must tell where they come from.
_HEADERS: Final = (
    (b"Cache-Control", b"no-store"),
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"Referrer-Policy", b"same-origin"),
)


class Overview:
    """Answers ``/``."""

    def __init__(self, state: State, faults: Faults, outbox: Outbox, control: Control, seen: Sequence[Seen]) -> None:
        self._state = state
        self._faults = faults
        self._outbox = outbox
        self._control = control
        self._seen = seen

    def response(self, request: Request, peer: str | None) -> EmulatedResponse:
        """Return the page, or what a form of it leads to, for the address ``peer``."""
        if not is_local(peer) or not is_loopback_name(request.host):
            return pages.page("Not from here", "This page is for browsers on the emulator's own machine.", status=403)
        if request.method in {"GET", "HEAD"}:
            return self._page(refresh=request.query == "refresh")
        if request.method != "POST":
            return pages.page("Not allowed", "This page takes GET and POST.", status=405)
        if request.header(b"origin") != request.base_url(self._state.scheme).encode("latin-1"):
            return pages.page("Not from here", "A form has to come from this page itself.", status=403)
        return self._act(pages.fields(request.body))

    def _act(self, form: dict[str, str]) -> EmulatedResponse:
        known = _FORMS.get(form.get("do", ""))
        if known is None:
            return self._page("There is no such form.", status=400)
        method, name, fields = known
        body: dict[str, Any] = {field: form.get(field, "").strip() for field in fields}
        if body.get("id", "").isdecimal() and name == "faults":
            body["id"] = int(body["id"])
        done = self._control.act(method, name, body)
        if done.status != 200:
            return self._page(done.body.decode(), status=400)
        return pages.redirect("/")

    def _page(self, problem: str = "", *, status: int = 200, refresh: bool = False) -> EmulatedResponse:
        parts = [f'<p role="alert">{escape(problem)}</p>'] if problem else []
        parts += [
            _links(refresh),
            self._requests(),
            self._fault_forms(),
            self._waiting(),
            self._hooks(),
            self._counts(),
        ]
        again = '\n<meta http-equiv="refresh" content="2">' if refresh else ""
        html = _PAGE.format(content="\n".join(parts), refresh=again)
        return EmulatedResponse(status, html.encode("utf-8", "replace"), _HTML, _HEADERS)

    def _requests(self) -> str:
        rows = [
            (each.time, str(each.status or "none"), each.method, each.path, each.fault or "")
            for each in list(self._seen)[: -_SHOWN - 1 : -1]
        ]
        return _table("Requests, newest first", ("Time (UTC)", "Status", "Method", "Path", "Fault"), rows)

    def _fault_forms(self) -> str:
        rows = []
        for each in self._faults.snapshot():
            conditions = (
                f"{name}={value}"
                for name, value in each.items()
                if name not in {"id", "fired", "action"} and value != _RULE_DEFAULTS[name]
            )
            remove = _form("remove-fault", "Remove", id=str(each["id"]))
            rows.append((each["action"], " ".join(conditions), str(each["fired"]), _Html(remove)))
        options = "".join(f'<option value="{escape(action)}"></option>' for action in ACTIONS)
        actions = f'<datalist id="actions">{options}</datalist>'
        add = (
            '<form method="post"><input type="hidden" name="do" value="add-fault">'
            '<label for="rule">Rule, such as <code>status=503 POST times=2</code></label> '
            f'<input id="rule" name="rule" list="actions" size="40" required>{actions} '
            "<button>Add</button></form>"
        )
        return f"{_table('Faults', ('Fault', 'Conditions', 'Fired', ''), rows)}\n<p>{add}</p>"

    def _waiting(self) -> str:
        rows = []
        for client in self._state.clients.values():
            kept = [found for name, found in client.collections.items() if name != TRANSACTIONS]
            newest = itertools.chain.from_iterable(reversed(found.values()) for found in kept)
            for resource in itertools.islice(newest, _SEARCHED):
                kind = kind_of(resource)
                buttons = " ".join(
                    _form("settle", each.name, client_id=client.client_id, id=resource["Id"], transition=each.name)
                    for each in kind.transitions
                    if resource[each.field] in each.source
                )
                if buttons:
                    rows.append((client.client_id, kind.name, resource["Id"], _Html(buttons)))
        return _table("What can happen next", ("ClientId", "Resource", "Id", ""), rows[:_SHOWN])

    def _hooks(self) -> str:
        hooks = [
            (client.client_id, str(hook["EventType"]), str(hook["Url"]), f"{hook['Status']}, {hook['Validity']}")
            for client in self._state.clients.values()
            for hook in client.collection("Hook").values()
        ]
        calls = [
            (each["event"], each["resource_id"], each["url"], each["outcome"], str(each["attempt"]), each["detail"])
            for each in self._outbox.snapshot()[: -_SHOWN - 1 : -1]
        ]
        return "\n".join(
            (
                _table("Hooks", ("ClientId", "Event", "URL", "State"), hooks),
                _table("Calls of hooks, newest first", ("Event", "Id", "URL", "Outcome", "Try", "Detail"), calls),
            )
        )

    def _counts(self) -> str:
        rows = [
            (client.client_id, name, str(len(collection)))
            for client in self._state.clients.values()
            for name, collection in sorted(client.collections.items())
            if collection
        ]
        return _table("Resources", ("ClientId", "Resource", "Number"), rows)


class _Html(str):
    """A cell that is HTML already."""

    __slots__ = ()


def _links(refresh: bool) -> str:
    follow = '<a href="/">Stop</a>' if refresh else '<a href="/?refresh">Reload every 2 seconds</a>'
    return (
        f'<p>{follow} · <a href="/__emulator__/index">Index</a> · <a href="/__emulator__/openapi.json">OpenAPI</a>'
        ' · <a href="/__emulator__/ledger">Ledger</a></p>'
    )


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{cell if isinstance(cell, _Html) else escape(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return f"<h2>{escape(title)}</h2>\n<p>None.</p>"
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<h2>{escape(title)}</h2>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _form(name: str, label: str, **fields: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{escape(field)}" value="{escape(value)}">'
        for field, value in {"do": name, **fields}.items()
    )
    return f'<form method="post">{hidden}<button>{escape(label)}</button></form>'
