"""Pages that stand in for those of Mangopay and banks: plain, accessible, and working without script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from sidecar.emulator.messages import EmulatedResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HTML: Final = b"text/html; charset=utf-8"
#: Nothing but the page itself and its forms; never kept.
_HEADERS: Final = (
    (b"Cache-Control", b"no-store"),
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"),
    (b"Referrer-Policy", b"no-referrer"),
)
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.125rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem; }}
button {{ font: inherit; padding: .5rem 1rem; margin: 0 .5rem .5rem 0; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""


def page(title: str, *paragraphs: str, choices: Mapping[str, str] | None = None, status: int = 200) -> EmulatedResponse:
    """Return a page.

    ``choices`` are buttons: what the form then sends as ``outcome``, and what is on
    the button. The form is sent to the page's own URL.
    """
    parts = [f"<p>{escape(text)}</p>" for text in paragraphs]
    if choices:
        buttons = "\n".join(
            f'<button name="outcome" value="{escape(value)}">{escape(label)}</button>'
            for value, label in choices.items()
        )
        parts.append(f'<form method="post">\n{buttons}\n</form>')
    return document(title, "\n".join(parts), status=status)


def form(
    title: str, *paragraphs: str, inputs: Mapping[str, str], hidden: Mapping[str, str], submit: str
) -> EmulatedResponse:
    """Return a page with a form: ``inputs`` are names and labels, ``hidden`` names and values."""
    fixed = [f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items()]
    rows = [
        f'<p><label for="{escape(name)}">{escape(label)}</label><br>'
        f'<input id="{escape(name)}" name="{escape(name)}" inputmode="numeric" autocomplete="off" required></p>'
        for name, label in inputs.items()
    ]
    parts = [f"<p>{escape(text)}</p>" for text in paragraphs]
    body = "\n".join([*fixed, *rows, f"<button>{escape(submit)}</button>"])
    return document(title, "\n".join([*parts, f'<form method="post">\n{body}\n</form>']))


def document(title: str, content: str, *, status: int = 200) -> EmulatedResponse:
    """Return a page around ``content``, which is HTML."""
    return EmulatedResponse(status, _PAGE.format(title=escape(title), content=content).encode(), _HTML, _HEADERS)


def redirect(url: str) -> EmulatedResponse:
    """Return a redirect that is fetched with GET (RFC 9110 section 15.4.4)."""
    return EmulatedResponse(303, headers=((b"Location", url.encode("latin-1", "replace")), *_HEADERS))


def not_found() -> EmulatedResponse:
    """Return the page for a URL that stands for nothing."""
    return page("Not found", "The emulator has no such page, or forgot what it was about.", status=404)


def unclear(choices: Iterable[str]) -> EmulatedResponse:
    """Return the page for a form that presses none of the buttons ``choices``, as those who write it by hand send."""
    wanted = ", ".join(f"outcome={choice}" for choice in choices)
    return page("No such button", f"The form has to say which button was pressed, as one of: {wanted}.", status=400)


def outcome(body: bytes) -> str | None:
    """Return which button was pressed."""
    return fields(body).get("outcome")


def fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form (application/x-www-form-urlencoded); of a repeated one the last counts."""
    return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))


def is_web_url(url: str) -> bool:
    """Tell whether a person can be sent to ``url``: absolute, HTTP or HTTPS, in one line."""
    try:
        return url.isprintable() and urlsplit(url).scheme in {"http", "https"}
    except ValueError:  # a bracket without its other
        return False
