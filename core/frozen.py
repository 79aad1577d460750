"""The base of every model that is read from a file: frozen, and unknown keys are refused."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

_NUMBERS = (int, float, int | None, float | None)


class Frozen(BaseModel):
    """Cannot be changed after it was read; a key that no field takes is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any) -> Any:
        """Turn `count: true`, which pydantic would read as 1, into text, which a number's field refuses."""
        if not isinstance(value, dict) or not any(isinstance(each, bool) for each in value.values()):
            return value
        numbers = {name for name, field in cls.model_fields.items() if field.annotation in _NUMBERS}
        return {
            key: str(each).lower() if isinstance(each, bool) and key in numbers else each for key, each in value.items()
        }
