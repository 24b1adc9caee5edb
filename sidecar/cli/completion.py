"""``completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sidecar.cli.command import BAD_USAGE, Command, CommandError
from sidecar.cli.names import COMPLETE_VARIABLE, PROGRAM
from sidecar.cli.output import print_line


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print a script that teaches SHELL to complete commands and options. It reads no configuration.

    \b
    bash (4.4 or later), in ~/.bashrc:  eval "$(mangopay-sidecar completion bash)"
    zsh, in ~/.zshrc after compinit:    eval "$(mangopay-sidecar completion zsh)"
    fish:  mangopay-sidecar completion fish >~/.config/fish/completions/mangopay-sidecar.fish
    """  # noqa: D301 - click takes the escape, which keeps the lines as they are
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandError(f"this version of click has no completion for {shell}: upgrade click", BAD_USAGE)
    # Not source(): that of bash starts one to ask for its version, and warns where there is none.
    completion = kind(click.Command(PROGRAM), {}, PROGRAM, COMPLETE_VARIABLE)
    print_line(completion.source_template % completion.source_vars())
    return 0
