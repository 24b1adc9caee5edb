"""How the emulated Mangopay behaves: what tests and the control routes may change at any time."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from sidecar.core.secret import Secret
from sidecar.emulator.rates import WINDOWS, Window
from sidecar.emulator.scopes import read_permissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Switches and numbers; durations are seconds."""

    #: How long a token really lives, and what the response says unless ``token_answer`` differs.
    expires_in: float = 1200
    #: Merged over the token answer (RFC 7396): ``{"expires_in": null}`` leaves it out, ``"600"`` makes it a string.
    token_answer: dict[str, Any] = {}
    #: A new token ends the life of the ClientId's older ones.
    invalidates_older: bool = False
    #: The ``Type`` of the 401 for a token that is not accepted.
    unauthorized_type: Literal["invalid_credentials", "not_authorized"] = "invalid_credentials"
    #: After this many consecutive bad credentials, lock out for ``lockout_seconds``; 0: never.
    lockout_after: int = 0
    lockout_seconds: float = 60
    #: A POST with an ``Idempotency-Key`` that gets a token 401 uses the key up.
    burn_keys_on_401: bool = False
    #: How long a stored answer stays hidden from ``responses/{key}``.
    stored_answer_delay: Annotated[float, msgspec.Meta(ge=0)] = 0
    #: ``lines`` repeats each rate header once a window, ``line`` joins the windows with commas.
    rate_headers: Literal["lines", "line", "none"] = "lines"
    #: Calls allowed in each of ``rate_windows``; fewer numbers, fewer windows.
    rate_limits: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = (2_300, 4_500, 8_800, 105_600)
    #: The lengths of the windows that ``rate_limits`` is about.
    rate_windows: tuple[int, ...] = WINDOWS
    #: Answer 429 once a window is used up.
    enforce_rate_limits: bool = False
    #: Answer 411 to a chunked request, as Mangopay may.
    refuse_chunked: bool = False
    #: A Tag like ``SCA`` or ``E500`` gets its answer.
    triggers: bool = True
    #: Viewing the wallets and transactions of an owner who has not authenticated gets the SCA 401.
    sca_for_owners: bool = True
    #: What a call without ``ScaContext`` counts as: USER_PRESENT (since 2025-12-15) or USER_NOT_PRESENT (before).
    sca_context: Literal["USER_PRESENT", "USER_NOT_PRESENT"] = "USER_PRESENT"
    #: The SCA 401 has an error report as its body; without, it has none.
    sca_body: bool = True
    #: A hook has so many seconds to answer 200.
    hook_timeout: Annotated[float, msgspec.Meta(gt=0)] = 2
    #: The pauses before it is called again; after the last failure it is INVALID.
    hook_retries: tuple[Annotated[float, msgspec.Meta(ge=0)], ...] = (1, 5, 30)

    def __post_init__(self) -> None:
        if min(self.rate_windows, default=1) < 1 or len(set(self.rate_windows)) < len(self.rate_windows):
            raise ValueError("rate_windows must be different lengths of at least 1 second")

    @property
    def windows(self) -> tuple[Window, ...]:
        """The rate windows in force."""
        pairs = zip(self.rate_windows, self.rate_limits, strict=False)
        return tuple(Window(length, limit) for length, limit in pairs)

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Return these settings with ``changes``.

        Raises msgspec.ValidationError for an unknown name or a value of the wrong type.
        """
        return msgspec.convert({**msgspec.structs.asdict(self), **changes}, Settings)


def parse_settings(texts: Iterable[str]) -> Settings:
    """Return the settings that ``NAME=VALUE`` change; a value is JSON, or else a string.

    Raises ValueError for a text without ``=``, an unknown name, or a value of the wrong type.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            message = f"not NAME=VALUE: {text!r}"
            raise ValueError(message)
        try:
            changes[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            changes[name] = value
    return Settings().changed(changes)


class KeyKind(enum.Enum):
    """What an API key's tokens are good for."""

    MAIN = "main"
    EMBEDDED = "embedded"


class Credentials:
    """The API keys that the token endpoint accepts.

    A ClientId in ``pairs`` has exactly these keys. Any other ClientId may come
    with any key, unless ``any_client`` is false. The keys in ``embedded`` are
    the dedicated ones for embedded experiences, for every ClientId. A key in
    ``permissions`` has those alone (``Client.Developers:READ``), any other has all.

    Raises ValueError for a permission that does not exist.
    """

    def __init__(
        self,
        pairs: Mapping[str, Iterable[str]] | None = None,
        embedded: Iterable[str] = ("embedded-api-key",),
        *,
        permissions: Mapping[str, Iterable[str]] | None = None,
        any_client: bool = True,
    ) -> None:
        self._permissions = {Secret(key): read_permissions(names) for key, names in (permissions or {}).items()}
        self._pairs = {client: frozenset(map(Secret, keys)) for client, keys in (pairs or {}).items()}
        self._embedded = frozenset(map(Secret, embedded))
        self._any_client = any_client

    def kind(self, client_id: str, key: str) -> KeyKind | None:
        """Return what ``key`` is good for, or None if it is not accepted."""
        secret = Secret(key)
        if not client_id or not key:
            return None
        if secret in self._embedded:
            return KeyKind.EMBEDDED if self._any_client or client_id in self._pairs else None
        known = self._pairs.get(client_id)
        accepted = self._any_client if known is None else secret in known
        return KeyKind.MAIN if accepted else None

    def permissions(self, key: str) -> frozenset[str] | None:
        """Return what a key is good for; None: everything."""
        return self._permissions.get(Secret(key))
