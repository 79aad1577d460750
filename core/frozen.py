"""The base of every model that is read from a file: frozen, and unknown keys are refused."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Cannot be changed after it was read; a key that no field takes is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
