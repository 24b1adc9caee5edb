"""Text that stands where a secret or a ClientId belongs, and is plainly something else (contract section 3).

Mangopay locks an account after a few wrong credentials, so what no key can be is
refused before it is sent. Each rule is something that people really leave in
such a place:

==================================  ==============================================================
``"key"``, ``'key'``                ``docker run --env-file`` keeps quotes; a shell would drop them
``${KEY}``, ``$(pass key)``         a template or a shell did not expand it
``%KEY%``                           the same of Windows
``{{ key }}``, ``<your-api-key>``   a placeholder of a template or of a manual
``MANGOPAY_API_KEY=key``            the whole line of an .env file instead of its value
``{"api_key": "key"}``              a secret manager's JSON document instead of one field
``-----BEGIN …``                    a certificate or a private key in PEM form
``/run/secrets/key``, ``./key``     the name of the file that holds it
``op://vault/key``, ``arn:aws:…``   a reference that a secret manager's own tool resolves
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
        (
            r".*\$\{.*\}.*|.*\$\(.*\).*|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%",
            "is a variable that nobody has put the value in for",
        ),
        (r"\{\{.*\}\}|<[^<>]*>", "is a placeholder that nobody has put the value in for"),
        (r"\{.*\}|\[.*\]", "is a JSON document: give the value of one field alone"),
        (
            # An identifier that has an underscore or is a usual name for a secret; padding of Base64 is no "=" with a
            # value behind it.
            r"(?:export\s+)?(?:[A-Za-z]\w*_\w*|(?i:key|apikey|secret|password|token|clientid))\s*=\s*[^=\s].*",
            "is a whole line of NAME=value: give what stands behind the =",
        ),
        (r"-----BEGIN .*", "is a certificate or key in PEM form"),
        (
            # Base64 may begin with a slash and have another: only directories in which secrets are kept.
            r"(?:/(?:run|var|etc|home|mnt|secrets|vault|opt|tmp|usr|root|srv)|~|\.{1,2})/.*",
            "is the path of a file: give it under the same name with _file (_FILE) at its end",
        ),
        (
            r"[a-z][a-z0-9+.-]*://.*|arn:aws[a-z-]*:.*",
            "is a reference to where the secret is kept: have it fetched, and give what is there",
        ),
    )
)


def mistake_in(text: str) -> str | None:
    """Return what ``text`` plainly is instead of a secret or a ClientId, without repeating any of it; else None."""
    for pattern, complaint in _RULES:
        if pattern.fullmatch(text):
            return complaint
    return None
