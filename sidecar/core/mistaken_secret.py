"""Text that stands where a secret or a ClientId belongs, and is plainly something else (contract section 3).

Mangopay locks an account after a few wrong credentials, so what no key can be is
refused before it is sent. Each rule is something that people really leave in
such a place:

==================================  ==============================================================
``"key"``, ``'key'``                ``docker run --env-file`` keeps quotes; a shell would drop them
``${KEY}``, ``$(pass key)``         a template or a shell did not expand it
``{{ key }}``, ``<your-api-key>``   a placeholder of a template or of a manual
``MANGOPAY_API_KEY=key``            the whole line of an .env file instead of its value
``{"api_key": "key"}``              a secret manager's JSON document instead of one field
``-----BEGIN …``                    a certificate or a private key in PEM form
==================================  ==============================================================
"""

from __future__ import annotations

import re
from typing import Final

#: What such text looks like, as a whole, and what to say of it; each ends a sentence that begins with its place.
_RULES: Final = tuple(
    (re.compile(pattern, re.DOTALL), complaint)
    for pattern, complaint in (
        (r"\"[^\"]*\"|'[^']*'", "is in quotes, and they would be sent with it: take them off"),
        (r".*\$\{.*\}.*|.*\$\(.*\).*|\$[A-Z_][A-Z0-9_]*", "is a variable that nobody has put the value in for"),
        (r"\{\{.*\}\}|<[^<>]*>", "is a placeholder that nobody has put the value in for"),
        (r"\{.*\}|\[.*\]", "is a JSON document: give the value of one field alone"),
        (
            # An identifier that has an underscore or is a usual name for a secret; padding of Base64 is no "=" with a
            # value behind it.
            r"(?:export\s+)?(?:[A-Za-z]\w*_\w*|(?i:key|apikey|secret|password|token|clientid))\s*=\s*[^=\s].*",
            "is a whole line of NAME=value: give what stands behind the =",
        ),
        (r"-----BEGIN .*", "is a certificate or key in PEM form"),
    )
)


def mistake_in(text: str) -> str | None:
    """Return what ``text`` plainly is instead of a secret or a ClientId, without repeating any of it; else None."""
    for pattern, complaint in _RULES:
        if pattern.fullmatch(text):
            return complaint
    return None
