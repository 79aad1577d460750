"""What fab does otherwise when it runs our tasks: how it ends, and what it says of wrong usage."""

import os
import re
import sys
from typing import Any

from invoke.exceptions import Exit, ParseError

from core.errors import UsageError

EXAMPLES = {
    "adapters:entry": "make adapters DO=entry ARGS=FOLDER",
    "adapters:promote": "make adapters DO=promote ARGS=contract@4",
    "adapters:rollback": "make adapters DO=rollback ARGS=contract",
    "ssh": "make ssh ARGS=\"--command 'uptime -p'\"",
}
"""What to write where a task wants words of its own, which are easily forgotten, or written where it hears none."""


def end_wrong_usage_with_2(program: Any) -> None:
    """Let fab end with 2, not 1, for an option or a task that it does not know: it did not even begin."""
    parse = program.parse_tasks

    def parse_tasks() -> None:
        try:
            parse()
        except ParseError as error:
            task = error.context.name if error.context else None
            raise Exit(f"error: {what_to_write(str(error), task)}", code=UsageError.exit_code) from None

    program.parse_tasks = parse_tasks


def what_to_write(said: str, task: str | None = None) -> str:
    """Return what invoke says of wrong usage, of `task` where it had read one, as where, what and what to write."""
    example = EXAMPLES.get(task or "")
    hint = f"write it like `{example}`" if example else "`fab --help TASK` lists a task's options"
    if unknown := re.fullmatch(r"No idea what '(.+)' is!", said):
        if unknown[1].startswith("-"):
            return f"fab: there is no option {unknown[1]}; {hint}"
        if example:
            return f"fab {task}: unexpected argument {unknown[1]}; {hint}"
        return f"fab: there is no task {unknown[1]}; `fab -r provisioning --list` lists all"
    if missing := re.fullmatch(r"'(.+)' did not receive required positional arguments: (.+)", said):
        names = missing[2].replace("'", "")
        return f"fab {missing[1]}: {names} is missing; {hint}"
    return f"fab: {said}; {hint}"


def leave_at_once(program: Any) -> None:
    """Let fab end as soon as its tasks have: Python takes 0.06 s to take apart modules that nobody needs any more."""
    execute = program.execute

    def execute_and_leave() -> None:
        execute()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    program.execute = execute_and_leave
