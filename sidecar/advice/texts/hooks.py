"""Hooks that Mangopay does not call (any more), in words."""

from __future__ import annotations

from typing import Final

from sidecar.advice.texts.calls import READ_BACK_SCOPE

#: What has to be done about hooks that are ``INVALID`` or ``DISABLED``.
MEND: Final = (
    "have the endpoint answer 200 within 2 s, then disable the hook and enable it again; read the resources whose "
    "events were lost; delete hooks that nobody needs"
)
#: How a look ends that the key may not make.
FORBIDDEN: Final = f"403: the API key lacks the scope {READ_BACK_SCOPE}"


def unseen_mend(why: str) -> str:
    """Return what has to be done if a look at the hooks ended with ``why``."""
    key = f": the API key needs the scope {READ_BACK_SCOPE}" if why == FORBIDDEN else ""
    return f"see the log (hooks.unseen){key}; it is tried again by itself"
