"""Error lines for pydantic's errors. The cases with real models are in tests/unit/infra/config."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import Problem, refuse
from core.reading.secret import SecretRef
from core.reading.words import words


class Fox(Frozen):
    kind: Literal["fox"]
    tail_cm: float = Field(gt=0, description="Length of the tail.")


class Hen(Frozen):
    kind: Literal["hen"]
    eggs: int = Field(default=0, ge=0, le=3, description="Eggs a day.")


class Barn(Frozen):
    doors: int = 1
    roof: Literal["tiles", "straw"] = "tiles"


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("is odd; write an even number")
    return value


class Farm(Frozen):
    name: str = Field(description="What it is called.")
    animals: tuple[Annotated[Fox | Hen, Field(discriminator="kind")], ...] = Field(default=(), max_length=2)
    barn: Barn | None = None
    rooms: Annotated[int, AfterValidator(_even)] = Field(default=2, description="How many rooms.")
    since: AwareDatetime | None = Field(default=None, description="When it began, e.g. 2026-01-31T00:00:00Z.")
    deeds: Path | None = None
    notes: dict[str, str] = Field(default={}, description="Anything else.")
    height_m: float | None = Field(default=None, lt=9, description="Height.")
    lock: SecretRef | None = Field(default=None, description="Where the lock's number is stored.")

    @model_validator(mode="after")
    def _no_fox_with_hens(self) -> Self:
        kinds = [animal.kind for animal in self.animals]
        refuse(
            Problem(f"animals[{index}].kind", "fox eats the hens", "build another farm")
            for index, kind in enumerate(kinds)
            if kind == "fox" and "hen" in kinds
        )
        return self


FOX, HEN = {"kind": "fox", "tail_cm": 40}, {"kind": "hen"}

LINES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["name: is missing; write it: What it is called"]),
    ({"name": 3}, ["name: 3 is not text; put it in quotes"]),
    ({"name": None}, ["name: is empty; write it: What it is called"]),
    ({"nmae": "x"}, ["name: is missing; write it: What it is called", "nmae: is not a known key; did you mean name?"]),
    ({"name": "x", "roof": "straw"}, ["roof: is not a known key; did you mean barn.roof?"]),
    ({"name": "x", "barn": {"deeds": "x"}}, ["barn.deeds: is not a known key; did you mean deeds?"]),
    ({"name": "x", "animals": [{"kind": "fxo"}]}, ["animals[0].kind: fxo is not known; did you mean fox?"]),
    ({"name": "x", "animals": [{}]}, ["animals[0].kind: is missing; write it: see docs/config.md"]),
    ({"name": "x", "animals": [HEN, {"kind": "hen", "eggs": 4}]}, ["animals[1].eggs: 4 is out of range; write 0 to 3"]),
    ({"name": "x", "animals": [{"kind": "hen", "tail_cm": 4}]},
     ["animals[0].tail_cm: is not a known key; write one of kind, eggs"]),
    ({"name": "x", "animals": [{"kind": "fox", "tail_cm": -1}]},
     ["animals[0].tail_cm: -1 is out of range; write more than 0"]),
    ({"name": "x", "animals": [HEN, HEN, HEN]}, ["animals: has 3 entries; write at most 2"]),
    ({"name": "x", "animals": [HEN, FOX]}, ["animals[1].kind: fox eats the hens; build another farm"]),
    ({"name": "x", "rooms": 3}, ["rooms: 3 is odd; write an even number"]),
    ({"name": "x", "height_m": 10}, ["height_m: 10 is out of range; write less than 9"]),
    ({"name": "x", "since": "soon"}, ["since: soon is not a time; write it: When it began, e.g. 2026-01-31T00:00:00Z"]),
    ({"name": "x", "since": "2026-01-31T00:00:00"},
     ["since: 2026-01-31T00:00:00 is not a time with a time zone; write it: When it began, e.g. 2026-01-31T00:00:00Z"]),
    ({"name": "x", "deeds": 4}, ["deeds: 4 is not a path; write it: see docs/config.md"]),
    ({"name": "x", "notes": {"a": 1}}, ["notes.a: 1 is not text; put it in quotes"]),
    ({"name": "x", "rooms": "y" * 100}, [f"rooms: {'y' * 59}… is not a whole number; write a number"]),
    ({"name": "x", "rooms": "two rooms"}, ["rooms: 'two rooms' is not a whole number; write a number"]),
    ({"name": "x", "lock": "hunter2"},
     ["lock: the value (not shown) is not a mapping; write keys below it: env, file"]),
    ({"name": "x", "lock": 4711}, ["lock: the value (not shown) is not a mapping; write keys below it: env, file"]),
    ({"name": "x", "rooms": True}, ["rooms: true is not a whole number; write a number"]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "lines"), LINES)
def test_each_error_is_a_line_with_key_value_and_hint(value: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        Farm.model_validate(value)
    error = words(refused.value, "farm.yaml", Farm)
    shown = [str(error), *error.detail.splitlines()]
    assert [line.removeprefix("error: ") for line in shown] == [f"farm.yaml: {line}" for line in lines]


def test_no_line_contains_pydantics_wording() -> None:
    for value, _ in LINES:
        with pytest.raises(ValidationError) as refused:
            Farm.model_validate(value)
        error = words(refused.value, "farm.yaml", Farm)
        assert "should" not in f"{error}{error.detail}".lower()
        assert "pydantic" not in f"{error}{error.detail}"
