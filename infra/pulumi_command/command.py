"""The `pulumi` of this checkout: `.venv/bin/pulumi`, on PATH after `. .venv/bin/activate`.

It runs the Pulumi CLI that `make up` runs, in the same environment: backend, passphrase, interpreter, plugins. For
`preview`, `up`, `refresh` and `destroy` it also takes the stack's lock, creates the stack, restores the tracked stack
file, and saves outputs and placement, so that `make provision` and `make down` work afterwards. It asks no question of
its own, and tries no other zone or machine type: `make up` does. It needs a stack, `-s NAME` or one that `pulumi stack
select` chose: a stack chosen in the CLI's own menu would miss all that.

In another project's folder it runs the user's own CLI, or this one, in the user's own environment.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from core.errors import UsageError, run_cli
from core.paths import CHECKOUT
from infra.pulumi_command.arguments import Invocation, read_arguments
from tools.pulumi.cli import PulumiCli, find_cli, path_without_environment

PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")

LOGIN = ("login", "logout")
"""Commands that choose a backend: they get none from the environment."""

CREDENTIALS = "PULUMI_CREDENTIALS_PATH"


def main() -> int:
    """Run `pulumi` with the arguments of this process."""
    return run_cli(lambda: run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run `pulumi` with `words`; return its exit status."""
    invocation = read_arguments(words)
    if not is_ours(Path(invocation.folder or ".")):
        program = shutil.which("pulumi", path=path_without_environment()) or str(find_cli().program)
        return _become(program, words, os.environ)
    cli = find_cli()
    if invocation.command[:1] and invocation.command[0] in LOGIN:
        return _become(str(cli.program), words, login_environment(cli))
    from infra.automation.backend import find_backend
    from infra.automation.cli_environment import cli_environment

    environment = cli_environment(cli, find_backend())
    if invocation.work:
        reference = invocation.stack or _selected_stack(cli, environment, invocation.folder)
        if not reference and "--stack" not in invocation.options:
            command = f"pulumi {invocation.work}"
            raise UsageError("no stack is named", where=command, hint=f"write -s NAME, e.g. {command} -s local")
        if reference:
            from infra.pulumi_command.work import work

            return work(invocation.work, reference, words, own_config=invocation.has_own_config)
    if _may_touch_stack_files(invocation):
        from infra.pulumi_command.stack_files import kept_as_written

        with kept_as_written():
            return subprocess.run([str(cli.program), *words], env=environment, check=False).returncode
    return _become(str(cli.program), words, environment)


def is_ours(folder: Path) -> bool:
    """Return whether the CLI, started in `folder`, finds this checkout's project."""
    here = folder.resolve()
    for each in (here, *here.parents):
        if any((each / name).exists() for name in PROJECT_FILES):
            return each == CHECKOUT.resolve()
    return False


def login_environment(cli: PulumiCli) -> dict[str, str]:
    """Return the environment of `pulumi login`. It saves the login where `make up` and the user's own CLI find it."""
    home = os.environ.get(CREDENTIALS) or os.environ.get("PULUMI_HOME") or str(Path.home() / ".pulumi")
    return cli.environment() | {CREDENTIALS: home}


def _may_touch_stack_files(invocation: Invocation) -> bool:
    """Return whether the CLI may write a salt into a stack file or remove one, as `pulumi stack init` does."""
    return invocation.command[:1] == ("stack",)


def _selected_stack(cli: PulumiCli, environment: Mapping[str, str], folder: str) -> str:
    """Return the stack that `pulumi stack select` chose; empty when there is none."""
    done = subprocess.run(
        [str(cli.program), "stack", "--show-name", "--non-interactive"],
        cwd=folder or None,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _become(program: str, words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process with the CLI."""
    os.execve(program, ["pulumi", *words], dict(environment))  # noqa: S606  # no shell is wanted
