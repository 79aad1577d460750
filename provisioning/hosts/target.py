"""The hosts that the command line names: a stack, or an inventory file. Reads neither."""

from dataclasses import dataclass

from core.errors import UsageError


@dataclass(frozen=True)
class Target:
    """A stack or an inventory. Raises UsageError for neither or both."""

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
        """Return the make command for `target` on the same hosts, with `words` such as DO=plan."""
        where = f"STACK={self.stack}" if self.stack else f"INVENTORY={self.inventory}"
        return " ".join(("make", target, *words, where))
