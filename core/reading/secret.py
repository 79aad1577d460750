"""A reference to a secret: the environment variable or the file that contains it."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from core.errors import ConfigError
from core.files import others_can_read
from core.reading.frozen import Frozen
from core.reading.regular_files import read_small
from core.reading.rules import SECRET, matching

VariableName = Annotated[
    str, matching(r"[A-Z_][A-Z0-9_]*", "is not the name of an environment variable; write a name, e.g. HF_TOKEN")
]


class SecretRef(Frozen):
    """Where the controlling machine keeps a secret. A stack file never contains the secret itself."""

    env: VariableName | None = Field(
        default=None,
        json_schema_extra=SECRET,  # some users write the secret itself here
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
            raise ValueError("must name one place; write env: NAME or file: /path/to/secret")
        return self

    def read(self) -> SecretStr:
        """Return the secret. Raises ConfigError if it is missing or empty, or if other users can read the file."""
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
            raise ConfigError("other users can read it", where=str(path), hint=f"run chmod 600 {path}")
        if not first or not first[0].strip():
            raise ConfigError("is empty", where=str(path), hint="write the secret on its first line")
        return SecretStr(first[0].strip())
