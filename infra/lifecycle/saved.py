"""A stack's outputs as a file, so that provisioning does not need the Pulumi engine."""

from typing import Any

from pydantic import ValidationError

from core.files import sha256_of, write_atomically
from core.paths import STACKS_DIR, outputs_file, stack_file_digest
from core.reading.words import words
from infra.contract.outputs import StackOutputs


def save_outputs(stack: str, values: dict[str, Any]) -> StackOutputs:
    """Check the outputs that the program exported, write and return them. Raises ConfigError for a wrong value.

    Writes no defaults: some keys are refused where they do not apply, even with the default.
    """
    try:
        outputs = StackOutputs.model_validate(values)
    except ValidationError as error:
        raise words(error, f"outputs of stack {stack}", StackOutputs) from None
    write_atomically(outputs_file(stack), outputs.model_dump_json(indent=2, exclude_unset=True) + "\n", mode=0o600)
    return outputs


def file_digest(stack: str) -> str:
    """Return the SHA-256 of the stack's file as it is now. Raises OSError."""
    return sha256_of(STACKS_DIR / f"Pulumi.{stack}.yaml")


def note_file(stack: str, digest: str) -> None:
    """Note that the stack's outputs come from the file with this digest."""
    write_atomically(stack_file_digest(stack), digest + "\n", mode=0o600)


def file_differs(stack: str) -> bool:
    """Return whether the stack's file has changed since the last `up`. False if that `up` noted no digest."""
    try:
        return stack_file_digest(stack).read_text().strip() != file_digest(stack)
    except (OSError, ValueError):
        return False
