"""What the person named on the command line: a stack, or an inventory file. Reads neither, so it costs no time."""

from dataclasses import dataclass

from core.errors import UsageError


@dataclass(frozen=True)
class Target:
    """One of the two. Raises UsageError for none or both."""

    stack: str = ""
    inventory: str = ""

    def __post_init__(self) -> None:
        if bool(self.stack) == bool(self.inventory):
            raise UsageError("name either a stack or an inventory", hint="write --stack NAME or --inventory FILE")

    @property
    def name(self) -> str:
        """The stack's name, or the file's."""
        return self.stack or self.inventory

    def command(self, task: str) -> str:
        """Return what a person types to run `task` on the same hosts."""
        if self.stack:
            return f"make {task} STACK={self.stack}"
        return self.fab(task)

    def fab(self, task: str) -> str:
        """Return the same for a task that is no target of the Makefile."""
        which = f"--stack {self.stack}" if self.stack else f"--inventory {self.inventory}"
        return f"fab -r provisioning {task} {which}"
