"""``demo``: serve in front of an embedded emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from sidecar.cli.command import PORT_VARIABLES, Command, load_config, port
from sidecar.cli.emulated import emulator_settings, running_emulator
from sidecar.cli.process import leave_soon
from sidecar.cli.serving import ready_line, serve_until_signal, tell

if TYPE_CHECKING:
    from sidecar.ports import Ready
    from sidecar.telemetry.log_output import LogOutput

_OPTIONS: Final = {"SIDECAR_LISTEN_PORT": "--port", "SIDECAR_ADMIN_PORT": "--admin-port"}
#: The base URL comes in between: the SDK reads it when the resources are imported.
_PYTHON: Final = (
    'import mangopay; mangopay.client_id, mangopay.apikey, mangopay.api_sandbox_url = "acme", "dummy", "{}/v2.01/"; '
    "from mangopay.resources import User; print(User.all().data)"
)
_USER: Final = (
    '{"FirstName": "Ada", "LastName": "Lovelace", "Email": "ada@example.com", "UserCategory": "PAYER", '
    '"TermsAndConditionsAccepted": true}'
)


@click.command("demo", cls=Command)
@click.option("--port", type=port, help="The proxy port; 0: any free one. Default: 18080, or a free one.")
@click.option("--admin-port", type=port, help="The admin port; 0: any free one. Default: 19090, or a free one.")
def command(port: int | None, admin_port: int | None) -> int:
    """Serve in front of an embedded Mangopay emulator.

    No credentials are needed, nothing leaves this machine, and the environment's SIDECAR_* and MANGOPAY_* variables
    are ignored. Prints what to try: a call with curl, one with an SDK, and how to see one retried.
    """

    async def serve(output: LogOutput) -> int:
        from sidecar.app import serve

        ports = {"listen.port": port, "admin.port": admin_port}
        chosen = {PORT_VARIABLES[key]: str(given) for key, given in ports.items() if given is not None}
        async with running_emulator() as upstream:
            return await serve(
                load_config(None, emulator_settings(upstream) | chosen),
                log=output,
                on_ready=lambda ready: tell(_explain(ready, upstream)),
                unset_ports={key for key, given in ports.items() if given is None},
                leave=leave_soon,
                own_emulator=True,
            )

    # The demo does not look at the environment, so there only options can be given.
    return serve_until_signal("info", "auto", serve, _OPTIONS)


def _explain(ready: Ready, upstream: str) -> str:
    admin_port = ready.admin.rpartition(":")[2]
    return f"""\
{ready_line(ready)}

Mangopay is emulated at {upstream}. In another terminal, call it without any credentials:

  curl -i {ready.proxy}/v2.01/_/sca/users/natural -H 'Content-Type: application/json' -d '{_USER}'

Or with an official SDK, any ClientId and any key; in Python, after pip install mangopay4-python-sdk:

  python3 -c '{_PYTHON.format(ready.proxy)}'

Then revoke the sidecar's token, and make that call again. The app still gets its answer,
and the header "X-Sidecar-Recovered: token" says that the call was retried with a new token:

  curl -X POST {upstream}/__emulator__/revoke

How it is doing:     {ready.admin}/
What Mangopay sees:  {upstream}/
In a terminal:       mangopay-sidecar status --port {admin_port}
To end:              Ctrl-C
"""
