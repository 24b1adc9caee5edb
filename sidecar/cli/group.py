"""The command line's root: which commands there are, and how each way to fail becomes one line and a status."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from sidecar import native
from sidecar.cli.command import BAD_USAGE, FAILED, INTERRUPTED, CommandError
from sidecar.cli.names import COMPLETE_VARIABLE, PROGRAM
from sidecar.cli.output import print_error, print_help
from sidecar.cli.process import end_as_first_process, without_rich
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

#: Each command's help in a line; the module of the same name in this package has the command itself.
_COMMANDS: Final = {
    "run": "Serve until SIGTERM or SIGINT, then drain.",
    "demo": "Serve in front of an embedded Mangopay emulator; no credentials needed.",
    "check": "Find what is wrong, and say how to fix it.",
    "wrap": "Serve for as long as a command runs: wrap -- CMD …",
    "wait": "Wait until the running sidecar is ready.",
    "status": "Tell in words how the running sidecar is.",
    "reconcile": "Tell what became of writes whose outcome is unknown.",
    "init": "Write a commented configuration file.",
    "csr": "Make a key and a certificate signing request for mTLS.",
    "emulator": "Serve the Mangopay emulator alone, for tests.",
    "completion": "Print what a shell needs to complete commands and options.",
}
_SECRETS: Final = ("key", "secret", "pass", "token")


class _Group(click.Group):
    """Imports a command's module when that command is given: each pays only for its own start."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        with without_rich():
            command: click.Command = import_module(f"sidecar.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not ctx.resilient_parsing:
            from difflib import get_close_matches  # only a message needs it

            # What was given is not repeated: it may be a key that slipped in.
            near = get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_COMMANDS)}"
            message = f"no such command ({hint})"
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands' names, none of which is imported for that."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _show_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"{PROGRAM} {native.version()}")
        ctx.exit()


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
    epilog=f"New here? {PROGRAM} demo. Each command has a help of its own: {PROGRAM} run --help",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def root() -> None:
    """Plain HTTP in, Mangopay's OAuth 2.0 handled, no payment sent twice."""


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name; return the exit status. Each error is one line on stderr."""
    end_as_first_process()
    given = sys.argv[1:] if arguments is None else arguments
    if not given and COMPLETE_VARIABLE not in os.environ:
        # As click does: without a command it prints the help, with the status of a usage error.
        print_help(root.get_help(click.Context(root, info_name=PROGRAM, **root.context_settings)))
        return BAD_USAGE
    try:
        status: Any = root.main(arguments, prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, standalone_mode=False)
    except click.ClickException as error:
        message = _usage(error) if isinstance(error, click.UsageError) else error.format_message()
        for line in message.splitlines():
            print_error(line)
        return error.status if isinstance(error, CommandError) else error.exit_code
    except click.Abort:
        return INTERRUPTED
    except OSError as error:
        print_error(f"{PROGRAM}: {_system_error(error)}")
        return FAILED
    return status if isinstance(status, int) else 0


def _system_error(error: OSError) -> str:
    """Say what the system refused, for which file, and what to do; a command that foresaw it says more."""
    from sidecar.core.system_errors import mend, reason
    from sidecar.core.text import printable_name

    what = reason(error)
    if isinstance(error.filename, str):
        what = f"{printable_name(error.filename)}: {what}"
    advice = mend(error)
    if error.errno == errno.EAGAIN and error.filename in {"stdout", "stderr"}:
        advice = "its reader made it non-blocking and is behind: put | cat after the command"
    return what if advice is None else f"{what}: {advice}"


def _usage(error: click.UsageError) -> str:
    path = PROGRAM if error.ctx is None else error.ctx.command_path
    option = getattr(error, "option_name", "")
    if isinstance(error, click.NoSuchOption) and any(word in option.lower() for word in _SECRETS):
        return (
            f"{path} has no option {option}, and a secret is never accepted as an argument: "
            "set SIDECAR_MANGOPAY_API_KEY_FILE or SIDECAR_MANGOPAY_API_KEY"
        )
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message[:1].lower()}{message[1:]}: see {path} --help"


def tell_unexpected(kind: type[BaseException], error: BaseException, _traceback: object) -> None:
    """Tell of a bug in one line, as ``sys.excepthook``: where it is, but not its text, which may quote a secret."""
    if issubclass(kind, KeyboardInterrupt):
        return
    from sidecar.telemetry.line_format import exception_fields

    places = exception_fields(error)["at"]
    print_error(
        f"{PROGRAM} {__version__} met an unexpected {kind.__name__} at {', '.join(places[-3:])}: please report it"
    )
