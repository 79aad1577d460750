"""Secrets: a string that does not print itself, and a reference that says where one is kept."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from core.errors import ConfigError
from core.files import others_can_read
from core.frozen import Frozen
from core.regular_files import read_small
from core.rules import SECRET, matching

VariableName = Annotated[
    str, matching(r"[A-Z_][A-Z0-9_]*", "is no name of an environment variable; write its name, e.g. HF_TOKEN")
]


class SecretRef(Frozen):
    """Where a secret is kept on the controlling machine; the secret itself is never written into a stack file."""

    env: VariableName | None = Field(
        default=None,
        json_schema_extra=SECRET,  # someone will write the secret itself here
        description="Environment variable that holds the secret, e.g. HF_TOKEN.",
    )
    file: Path | None = Field(
        default=None,
        json_schema_extra=SECRET,
        description="File that holds the secret on its first line, mode 0600.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> "SecretRef":
        if (self.env is None) == (self.file is None):
            raise ValueError("names no place or two; write env: HF_TOKEN or file: /path/to/secret")
        return self

    def read(self) -> SecretStr:
        """Return the secret. Raises ConfigError when it is missing or empty, or others can read the file."""
        if self.env is not None:
            value = os.environ.get(self.env, "")
            if not value:
                raise ConfigError("is not set", where=f"environment variable {self.env}", hint=f"export {self.env}=…")
            return SecretStr(value)
        path = Path(str(self.file)).expanduser()
        try:
            first = read_small(path).decode(errors="replace").splitlines()[:1]
            exposed = others_can_read(path)
        except OSError as error:
            raise ConfigError(
                f"cannot be read ({error.strerror})", where=str(path), hint="write the secret there, mode 0600"
            ) from error
        if exposed:
            raise ConfigError("others on this computer can read it", where=str(path), hint=f"run chmod 600 {path}")
        if not first or not first[0].strip():
            raise ConfigError("is empty", where=str(path), hint="write the secret on its first line")
        return SecretStr(first[0].strip())
