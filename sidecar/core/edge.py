"""Responses of the edge: Mangopay sits behind Cloudflare, which answers some requests by itself.

Its 403, 429, 502 and 52x are web pages, not errors of the API; to a client that
asks for no HTML it may send the page's one line of text instead (``error code: 1020``).
They say nothing about a token, a key or a scope, and their ``CF-Ray`` is what support
can search by.
"""

from __future__ import annotations

import re
from typing import Final

#: A ray id and the data centre's airport. Nothing else is repeated: a header may hold anything, a secret included.
_CF_RAY: Final = re.compile(r"[0-9A-Fa-f]{16}(?:-[A-Za-z]{3,4})?")
_HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
#: How a page begins: a declaration or element of HTML, or a comment; or XHTML, whose declaration and comments may
#: stand behind one of XML. Other XML is no page. It takes time in proportion to the body, however that begins.
_HTML_START: Final = re.compile(
    rb"<(?:!doctype\s+html\b|(?:html|head|body|title|center|h1)[\s/>]|!--)"
    rb"|<\?xml\s[^>]*>\s*+(?:<!--(?s:.*?)-->\s*+)*+<(?:!doctype\s+html\b|html[\s/>])",
    re.IGNORECASE,
)
#: The whole body of a page in plain text.
_PLAIN_PAGE: Final = re.compile(rb"error code: [0-9]{3,4}\s*")
#: Bytes that are looked at, behind leading blanks.
_LOOKED_AT: Final = 65_536
BOM: Final = b"\xef\xbb\xbf"


def is_page(content_type: str, body: bytes) -> bool:
    """Whether a response with this body is a web page: by ``Content-Type`` (empty: none), or by its look.

    A response without a body is none, whatever its type. Nor is JSON that is
    labelled as HTML: what Mangopay says in an error counts, not how a gateway
    labels it.
    """
    start = body.lstrip().removeprefix(BOM).lstrip()[:_LOOKED_AT]
    if _HTML_START.match(start) or _PLAIN_PAGE.fullmatch(start):
        return True
    return is_html_type(content_type) and bool(start) and not start.startswith((b"{", b"["))


def is_html_type(content_type: str) -> bool:
    """Whether a ``Content-Type`` announces a web page."""
    return content_type.partition(";")[0].strip().lower() in _HTML_TYPES


def read_cf_ray(value: str | None) -> str | None:
    """Return the id in a ``CF-Ray`` header; None if there is none, or what is there does not look like one."""
    if value is None or _CF_RAY.fullmatch(value := value.strip()) is None:
        return None
    return value
