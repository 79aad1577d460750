"""A stack's outputs as a file, so that provisioning never has to ask the engine for them."""

from typing import Any

from pydantic import ValidationError

from core.files import write_atomically
from core.paths import outputs_file
from core.words import words
from infra.outputs import StackOutputs


def save_outputs(stack: str, values: dict[str, Any]) -> StackOutputs:
    """Check what the program exported, write it, and return it. Raises ConfigError for a value that is wrong.

    Defaults are left out: some are refused when they are written where they do not apply.
    """
    try:
        outputs = StackOutputs.model_validate(values)
    except ValidationError as error:
        raise words(error, f"outputs of stack {stack}", StackOutputs) from None
    write_atomically(outputs_file(stack), outputs.model_dump_json(indent=2, exclude_unset=True) + "\n", mode=0o600)
    return outputs
