"""What fab does otherwise when it runs our tasks: how it ends, and what it says of wrong usage."""

import os
import re
import sys
from typing import Any

from invoke.exceptions import Exit, ParseError

from core.errors import UsageError


def end_wrong_usage_with_2(program: Any) -> None:
    """Let fab end with 2, not 1, for an option or a task that it does not know: it did not even begin."""
    parse = program.parse_tasks

    def parse_tasks() -> None:
        try:
            parse()
        except ParseError as error:
            raise Exit(f"error: {what_to_write(str(error))}", code=UsageError.exit_code) from None

    program.parse_tasks = parse_tasks


def what_to_write(said: str) -> str:
    """Return what invoke says of wrong usage as where, what and what to write instead."""
    if unknown := re.fullmatch(r"No idea what '(.+)' is!", said):
        if unknown[1].startswith("-"):
            return f"fab: there is no option {unknown[1]}; `fab --help TASK` has a task's options"
        return f"fab: there is no task {unknown[1]}; `fab -r provisioning --list` has all"
    if missing := re.fullmatch(r"'(.+)' did not receive required positional arguments: (.+)", said):
        names = missing[2].replace("'", "")
        return f"fab {missing[1]}: {names} is missing; write it behind the task, with make in ARGS=…"
    return f"fab: {said}; `fab --help TASK` has a task's options"


def leave_at_once(program: Any) -> None:
    """Let fab end as soon as its tasks have: Python takes 0.06 s to take apart modules that nobody needs any more."""
    execute = program.execute

    def execute_and_leave() -> None:
        execute()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    program.execute = execute_and_leave
