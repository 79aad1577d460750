"""Changes to fab for our tasks: how it exits, and its errors for wrong usage."""

import difflib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from invoke.exceptions import Exit, ParseError

from core.errors import UsageError

EXAMPLES = {
    "adapters:entry": "make adapters DO=entry ARGS=FOLDER",
    "adapters:promote": "make adapters DO=promote ARGS=contract@4",
    "adapters:rollback": "make adapters DO=rollback ARGS=contract",
    "ssh": "make ssh ARGS=\"--command 'uptime -p'\"",
}
"""Examples for tasks whose own arguments are easily forgotten or misplaced."""


def end_wrong_usage_with_2(program: Any) -> None:
    """Make fab exit with 2, not 1, for an unknown option or task."""
    parse = program.parse_tasks

    def parse_tasks() -> None:
        try:
            parse()
        except ParseError as error:
            task = error.context.name if error.context else None
            options = tuple(error.context.flags) if error.context else ()
            raise Exit(f"error: {what_to_write(str(error), task, options)}", code=UsageError.exit_code) from None

    program.parse_tasks = parse_tasks


def what_to_write(said: str, task: str | None = None, options: Sequence[str] = ()) -> str:
    """Return invoke's error for wrong usage as one line: where, what, what to write.

    `options` are those of `task`, if the error names a task.
    """
    example = EXAMPLES.get(task or "")
    help_command = f"python -m provisioning --help {task or 'TASK'}"
    hint = f"write it like `{example}`" if example else f"`{help_command}` lists the options"
    if unknown := re.fullmatch(r"No idea what '(.+)' is!", said):
        if unknown[1].startswith("-"):
            # The dashes would make every short option look alike.
            dashed = {each.lstrip("-"): each for each in options}
            if near := difflib.get_close_matches(unknown[1].lstrip("-"), dashed, n=1):
                hint = f"did you mean {dashed[near[0]]}?"
            return f"fab: there is no option {unknown[1]}; {hint}"
        if example:
            return f"fab {task}: unexpected argument {unknown[1]}; {hint}"
        return f"fab: there is no task {unknown[1]}; `python -m provisioning --list` lists all"
    if missing := re.fullmatch(r"'(.+)' did not receive required positional arguments: (.+)", said):
        names = missing[2].replace("'", "")
        return f"fab {missing[1]}: {names} is missing; {hint}"
    return f"fab: {said}; {hint}"


def leave_at_once(program: Any) -> None:
    """Make fab exit as soon as its tasks have ended: Python's own cleanup of modules takes 0.06 s."""
    execute = program.execute

    def execute_and_leave() -> None:
        execute()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    program.execute = execute_and_leave
