"""Hooks that Mangopay does not call (any more), in words."""

from __future__ import annotations

from typing import Final

from sidecar.advice.texts.calls import READ_BACK_SCOPE

#: What has to be done about hooks that are ``INVALID`` or ``DISABLED``.
MEND: Final = (
    "have the endpoint answer 200 within 2 s, then disable the hook and enable it again; read the resources whose "
    "events were lost; delete hooks that nobody needs"
)
#: What has to be done if the hooks cannot be looked at.
UNSEEN_MEND: Final = (
    f"see the log (hooks.unseen): the API key needs the scope {READ_BACK_SCOPE}; it is tried again by itself"
)
