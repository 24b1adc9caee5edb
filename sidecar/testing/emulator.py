"""The emulated Mangopay, as a test sees it: what it was asked, what shall go wrong, what happens next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from sidecar.testing.control import ControlRoutes, EmulatorError
from sidecar.testing.records import Delivery, Fault, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What the ClientId in every path becomes behind the sidecar that ``wrap --emulator`` and the fixtures start.
CLIENT_ID: Final = "acme"
#: A test card of Mangopay's sandbox.
TEST_CARD: Final = "4970107111111119"
#: Seconds between two looks at the calls of hooks.
_LOOK: Final = 0.01


class MangopayEmulator:
    """The emulator at ``base_url``. Every method raises EmulatorError for what it cannot do.

    ``client_id`` is whose resources are meant where none is named.
    """

    def __init__(self, base_url: str, client_id: str = CLIENT_ID) -> None:
        self._routes: Final = ControlRoutes(base_url)
        self.base_url: Final = self._routes.base_url
        self.client_id = client_id

    def reset(self) -> None:
        """Forget everything: resources, tokens, faults, settings, hooks, the ledger; and put the clock back."""
        self._routes.ask("POST", "reset", {})

    # --- what shall go wrong -----------------------------------------------------------------------------------------

    def fault(self, rule: str | Mapping[str, object]) -> Fault:
        """Put a fault into force, such as ``"status=503 POST times=2"`` (docs/emulator.md, "Faults")."""
        told = self._routes.ask("POST", "faults", {"rule": rule} if isinstance(rule, str) else rule)
        return Fault(self._routes, told["id"])

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The faults in force, and how often each has ``fired``."""
        return list(self._routes.ask("GET", "faults"))

    def clear_faults(self) -> None:
        """Put every fault out of force."""
        self._routes.ask("DELETE", "faults")

    # --- what came in ------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """Every write since the reset: how often it arrived, and how often it was executed."""
        return Ledger.read(self._routes.ask("GET", "ledger"))

    @property
    def stats(self) -> dict[str, Any]:
        """Counts since the reset: requests, connections, faults, token requests, refused tokens."""
        return dict(self._routes.ask("GET", "stats"))

    # --- what waits --------------------------------------------------------------------------------------------------

    def settle(self, resource: str, transition: str, *, client_id: str | None = None) -> dict[str, Any]:
        """Let happen what the resource with this Id waits for (docs/emulator.md, "What waits"); return the resource."""
        return dict(self._of_client("settle", client_id, id=resource, transition=transition))

    def press(self, url: str, button: str, **form: str) -> str | None:
        """Press a button of a page that the emulator gave out, such as ``pay``, as a person does in a browser.

        Return where the page then leads: to the app, or None if to nowhere.
        """
        answer = self._routes.submit(url, {"outcome": button, **form})
        if answer.status >= 400:
            raise EmulatorError(f"the page {url} has no button {button!r} now ({answer.status}): open it to see which")
        return answer.headers.get("Location")

    def tokenize_card(
        self, registration: Mapping[str, Any], *, number: str = TEST_CARD, expires: str = "1249", code: str = "123"
    ) -> str:
        """Send a card to a registration's ``CardRegistrationURL``, as a payer's browser does.

        Return what the browser gets: the ``RegistrationData`` (``data=…``, or ``errorCode=…`` for a card that is none).
        ``expires`` is MMYY.
        """
        form = {
            "data": registration["PreregistrationData"],
            "accessKeyRef": registration["AccessKey"],
            "cardNumber": number,
            "cardExpirationDate": expires,
            "cardCvx": code,
        }
        return self._routes.submit(registration["CardRegistrationURL"], form).text

    def authenticate(self, user: str, *, seconds: float | None = None, client_id: str | None = None) -> None:
        """Let a user have authenticated (SCA), for 180 days or so many seconds; 0: no longer."""
        more = {} if seconds is None else {"seconds": seconds}
        self._of_client("authenticate", client_id, id=user, **more)

    def require_sca(self, resource: str, required: bool | None = True, *, client_id: str | None = None) -> None:
        """Have viewing a resource ask for SCA, or never (False), or as its owner and the call say (None)."""
        self._of_client("sca", client_id, id=resource, required=required)

    # --- hooks -------------------------------------------------------------------------------------------------------

    def trigger(self, event: str, resource: str, *, client_id: str | None = None) -> None:
        """Tell of an event, such as ``PAYIN_NORMAL_SUCCEEDED``, so that its hooks are called."""
        self._of_client("trigger", client_id, event=event, id=resource)

    @property
    def deliveries(self) -> list[Delivery]:
        """The calls of hooks: those that are over, oldest first, then those that wait."""
        return [Delivery.read(each) for each in self._routes.ask("GET", "hooks")]

    def wait_for_delivery(
        self, event: str, resource: str | None = None, *, outcome: str = "delivered", timeout: float = 10.0
    ) -> Delivery:
        """Return the first call of a hook with this event and outcome, once there is one.

        Blocks: an app that is served by the test's own event loop cannot answer meanwhile. Raises EmulatorError after
        ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout  # noqa: TID251 - for a test there is no other clock
        while True:
            calls = [each for each in self.deliveries if each.event == event and resource in (None, each.resource_id)]
            found = next((each for each in calls if each.outcome == outcome), None)
            if found is not None:
                return found
            if time.monotonic() >= deadline:  # noqa: TID251
                break
            time.sleep(_LOOK)
        seen = "; ".join(f"{each.outcome} ({each.detail or 'not yet'})" for each in calls)
        mend = seen or "none was called: is one registered for it, with a URL of this machine?"
        raise EmulatorError(f"no hook was {outcome} for {event} within {timeout:g} s: {mend}")

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The emulator's time, in Unix seconds."""
        return float(self._routes.ask("GET", "time")["now"])

    def advance(self, seconds: float) -> None:
        """Put the emulator's clock forward: tokens, authentications, stored answers and pauses of hooks pass."""
        self._routes.ask("POST", "time", {"advance": seconds})

    def age_stored_answers(self, seconds: float, key: str | None = None) -> int:
        """Make stored answers (of one ``Idempotency-Key``, or all) older; return how many."""
        more = {} if key is None else {"key": key}
        return int(self._routes.ask("POST", "age", {"seconds": seconds, **more})["aged"])

    # --- tokens and keys ---------------------------------------------------------------------------------------------

    def revoke(self, token: str | None = None) -> int:
        """Revoke a token, or all; return how many."""
        return int(self._routes.ask("POST", "revoke", {} if token is None else {"token": token})["revoked"])

    def lock_out(self, seconds: float | None = None) -> None:
        """Lock the token endpoint, for so many seconds or until :meth:`unlock`; a sidecar notices at its next fetch."""
        self._routes.ask("POST", "lockout", {} if seconds is None else {"seconds": seconds})

    def unlock(self) -> None:
        """End a lockout."""
        self._routes.ask("POST", "lockout", {"clear": True})

    def accept_keys(
        self,
        api_keys: Mapping[str, Iterable[str]],
        *,
        permissions: Mapping[str, Iterable[str]] | None = None,
        any_client: bool = False,
    ) -> None:
        """Accept these API keys by ClientId, and those of others only if ``any_client``; ``permissions`` are by key."""
        body = {
            "api_keys": {client: list(keys) for client, keys in api_keys.items()},
            "permissions": {key: list(names) for key, names in (permissions or {}).items()},
            "any_client": any_client,
        }
        self._routes.ask("POST", "credentials", body)

    # --- how it behaves ----------------------------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        """How it behaves (docs/emulator.md, "Settings")."""
        return dict(self._routes.ask("GET", "settings"))

    def configure(self, **settings: object) -> None:
        """Change settings until the next reset."""
        self._routes.ask("POST", "settings", settings)

    # --- what no call makes ------------------------------------------------------------------------------------------

    def make_disputes(self, rounds: int = 1, *, client_id: str | None = None) -> list[str]:
        """Make disputes of each type in each status, so many times; return their Ids."""
        return list(self._of_client("disputes", client_id, rounds=rounds)["ids"])

    def place(self, collection: str, resource: str, *, client_id: str | None = None, **fields: Any) -> dict[str, Any]:
        """Put a resource there under an Id that a test has written down; return it."""
        return dict(self._of_client("place", client_id, collection=collection, id=resource, fields=fields))

    def _of_client(self, route: str, client_id: str | None, **body: object) -> Any:
        return self._routes.ask("POST", route, {"client_id": client_id or self.client_id, **body})
