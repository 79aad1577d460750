"""The base class of every model that is read from a file: immutable, and strict about unknown keys."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

_NUMBERS = (int, float, int | None, float | None)


class Frozen(BaseModel):
    """A model that cannot change. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any) -> Any:
        """Turn `count: true` into text, which a number field rejects; pydantic would read it as 1."""
        if not isinstance(value, dict) or not any(isinstance(each, bool) for each in value.values()):
            return value
        numbers = {name for name, field in cls.model_fields.items() if field.annotation in _NUMBERS}
        return {
            key: str(each).lower() if isinstance(each, bool) and key in numbers else each for key, each in value.items()
        }
