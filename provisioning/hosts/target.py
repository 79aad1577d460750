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
            hint = "write --stack NAME or --inventory FILE"
            raise UsageError("which hosts? name either a stack or an inventory", where="fab", hint=hint)

    @property
    def name(self) -> str:
        """The stack's name, or the file's."""
        return self.stack or self.inventory

    def command(self, target: str, *words: str) -> str:
        """Return what a person types to make `target` with `words` (DO=plan, say) on the same hosts."""
        where = f"STACK={self.stack}" if self.stack else f"INVENTORY={self.inventory}"
        return " ".join(("make", target, *words, where))
