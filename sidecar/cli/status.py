"""``status``: ask the running sidecar."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from sidecar.admin.status import Status
from sidecar.admin.words import in_words
from sidecar.cli.command import PORT, Command, Failure, admin_address, config_option
from sidecar.cli.output import say

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds; the answer comes from memory.
_TIMEOUT: Final = 5.0
#: Bytes of an answer that are read at most.
_LARGEST: Final = 4 * 1024 * 1024


@click.command("status", cls=Command)
@config_option
@click.option("--port", type=PORT, help="Ask this admin port; no configuration is read then.")
@click.option("--json", "as_json", is_flag=True, help="Print the document itself.")
def command(config_path: Path | None, port: int | None, as_json: bool) -> int:
    """Tell in words how the running sidecar is: token, locks, rate limits, calls, last errors.

    Asks the admin port of the configuration that the sidecar runs with. Exits with 1 if none runs there.
    """
    hosts, asked = admin_address(config_path, port)
    document = _ask(hosts, asked)
    try:
        # --json takes any document, so that it works with a sidecar of another version too.
        shown = msgspec.json.decode(document, type=dict[str, Any] if as_json else Status)
    except msgspec.MsgspecError:
        hint = "is it the admin port?" if as_json else "is it the admin port? For another version, try --json"
        message = f"port {asked} did not answer as a sidecar does: {hint}"
        raise Failure(message) from None
    say(in_words(shown) if isinstance(shown, Status) else document.decode())
    return 0


def _ask(hosts: tuple[str, ...], port: int) -> bytes:
    """Return ``/status`` of the first of ``hosts`` that answers; raises Failure."""
    for host in hosts:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        try:
            connection.request("GET", "/status")
            response = connection.getresponse()
            body = response.read(_LARGEST)
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
        if response.status == 200:
            return body
        message = f"http://{host}:{port}/status answered {response.status}: is it the admin port, and this machine's?"
        raise Failure(message)
    message = f"no sidecar answers on admin port {port}: start one with mangopay-sidecar run, or set SIDECAR_ADMIN_PORT"
    raise Failure(message)
