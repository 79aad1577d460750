"""Where a stack was put in a cloud, and how far its first `up` came. Queries no cloud.

The program exports `Placement`, so that other people find it in the state. `Progress` is only in this checkout's note.
`make up` chooses the placement before the Pulumi engine starts and hands it to the program. Otherwise the program
chooses it (infra/lifecycle/placement/of_program.py). infra/clouds/aws and infra/clouds/gcp look up what only the cloud
knows.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from core.errors import UsageError
from core.files import write_atomically
from core.paths import old_placement_file, placement_file
from core.reading.frozen import Frozen
from serving.spec.pool_name import MAIN

PLACEMENT_VARIABLE = "LLM_DEPLOY_PLACEMENT"
"""Environment variable by which `make up` and `make preview` hand the placement to the program."""

OLD_PLACEMENT_VARIABLE = "LLM_DEPLOY_LEASE"
"""Its name in 0.1.0. Accepted until 0.3.0."""

ID = r"[0-9a-f]{8}"

FLAGS_OF_0_1 = ("stands", "lacks_stock", "blank_at")
"""Keys that a placement had before 0.2.0. They are in Progress now."""


class GatewayPlacement(Frozen):
    """What the gateway's own machine is made of. It is in the zone of the other machines."""

    machine_type: str = Field(description="Machine type.")
    image: str = Field(description="Id of the image, looked up only once.")


class PoolPlacement(Frozen):
    """What the machines of a pool beside main are made of. They are in the zone of the other machines."""

    machine_type: str = Field(description="Machine type: the first one that the cloud had in stock.")
    image_name: str = Field(description="The image as the stack file names it.")
    image: str = Field(description="Id of the image, looked up only once.")


class Placement(Frozen):
    """Where one stack was put in a cloud, and which stack it is. The program exports it as `placement`."""

    id: str = Field(pattern=rf"^{ID}$", description="Tells this stack from others of its name in the same account.")
    region: str = Field(description="Region of the stack.")
    project: str | None = Field(default=None, description="GCP project of the stack. None on other clouds.")
    account: str | None = Field(
        default=None, description="AWS account of the stack. None on other clouds, and for stacks of older releases."
    )
    began_at: AwareDatetime = Field(description="When its lifetime began.")
    image_name: str = Field(description="The image as the stack file names it.")
    image: str = Field(
        description="Id of the image, looked up only once, so that a newer image does not replace hosts."
    )
    machine_type: str = Field(description="Machine type of the hosts: the first one that the cloud had in stock.")
    zone: str = Field(description="Zone of the hosts.")
    zones: tuple[str, ...] = Field(min_length=1, description="Zones that the network spans.")
    subnets: dict[str, str] = Field(default={}, description="Subnet of an existing network by zone.")
    keeps_end: bool = Field(
        default=False, description="Whether GCP itself ends the hosts. GCP may write the same time in another form."
    )
    writes_notices: bool = Field(
        default=False,
        description="Whether GCP's machines were made with the scope for buckets. A change of scopes stops them.",
    )
    gateway: GatewayPlacement | None = Field(
        default=None, description="The gateway's own machine. None: each machine has a gateway."
    )
    pools: dict[str, PoolPlacement] = Field(default={}, description="The pools beside main, by name.")
    parts: tuple[str, ...] | None = Field(
        default=None,
        description="Optional parts that the stack may have (lifecycle/placement). None: all of them.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_older_releases(cls, value: Any) -> Any:
        """Accept what stacks exported before 0.2.0: a placement with flags, which were the same for all of them."""
        if not isinstance(value, dict):
            return value
        return {key: each for key, each in value.items() if key not in FLAGS_OF_0_1}

    def of_pool(self, name: str) -> Self | None:
        """Return the placement as if `name` were the pool main and the only one. None: it has no machines yet."""
        if name == MAIN:
            return self
        pool = self.pools.get(name)
        return None if pool is None else self.model_copy(update={**pool.model_dump(), "gateway": None, "pools": {}})

    def ends_at(self, ttl_hours: float) -> datetime:
        """Return when the machines end themselves, to the second."""
        return (self.began_at + timedelta(hours=ttl_hours)).astimezone(UTC).replace(microsecond=0)


class Progress(Frozen):
    """How far the first `up` of a stack came, while no `up` has completed."""

    holds_nothing: bool = Field(
        default=False, description="Whether the stack has no resources: no machine was in stock, or it was destroyed."
    )
    blank_at: str = Field(
        default="",
        description="Time of a state in which no host was ever created. It proves that the data volumes are blank"
        " (infra/lifecycle/placement/blank_volumes.py). Empty: they may hold data.",
    )


class KnownPlacement(Placement):
    """A placement with what this checkout knows about the first `up`. Kept in the checkout's note."""

    progress: Progress | None = Field(default=None, description="Of a stack whose first `up` never completed.")

    @classmethod
    def of(cls, placement: Placement, progress: Progress | None = None) -> "KnownPlacement":
        """Return a placement with this progress. None: an `up` completed."""
        return cls(**_fields(placement), progress=progress)

    @model_validator(mode="before")
    @classmethod
    def _of_older_releases(cls, value: Any) -> Any:
        """Accept the notes of releases before 0.2.0, in which the progress was three flags."""
        if not isinstance(value, dict) or not set(FLAGS_OF_0_1) & set(value):
            return value
        rest = {key: each for key, each in value.items() if key not in FLAGS_OF_0_1}
        if value.get("stands", True):
            return rest
        progress = {"holds_nothing": value.get("lacks_stock", False), "blank_at": value.get("blank_at", "")}
        return {**rest, "progress": progress}

    @property
    def placement(self) -> Placement:
        """The placement alone, as the program exports it."""
        return Placement(**_fields(self))

    @property
    def is_complete(self) -> bool:
        """Whether an `up` of the stack completed."""
        return self.progress is None

    @property
    def holds_nothing(self) -> bool:
        """Whether the stack has no machine and no data."""
        return self.progress is not None and self.progress.holds_nothing

    @property
    def blank_at(self) -> str:
        """Time of the state that proves the data volumes blank. Empty: they may hold data."""
        return self.progress.blank_at if self.progress is not None else ""


def types_of(placement: Placement) -> tuple[str, ...]:
    """Return the machine types of all pools, each once."""
    return tuple(dict.fromkeys([placement.machine_type, *(each.machine_type for each in placement.pools.values())]))


def _fields(placement: Placement) -> dict[str, Any]:
    return {name: getattr(placement, name) for name in Placement.model_fields}


def exported_placement(outputs: Mapping[str, Any]) -> Any:
    """Return the placement in a stack's outputs as JSON, unchecked. None: its cloud rents no machines.

    Stacks made before 0.2.0 export it as `lease`.
    """
    return outputs.get("placement", outputs.get("lease"))


def write_placement(stack: str, placement: KnownPlacement) -> None:
    """Write the checkout's note. `up` does so before the Pulumi engine starts: an `up` that fails exports nothing."""
    write_atomically(placement_file(stack), placement.model_dump_json(indent=2) + "\n", mode=0o600)
    old_placement_file(stack).unlink(missing_ok=True)


def forget_placement(stack: str) -> None:
    """Remove the note of a stack whose resources no longer exist."""
    for path in (placement_file(stack), old_placement_file(stack)):
        path.unlink(missing_ok=True)


def read_placement(stack: str) -> KnownPlacement | None:
    """Return the placement that this checkout noted. None: there is no note, or it does not hold a placement.

    Raises UsageError when the file cannot be read.
    """
    path = placement_file(stack)
    if not path.exists() and old_placement_file(stack).exists():
        path = old_placement_file(stack)
    try:
        return KnownPlacement.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    except OSError as error:
        hint = "let your user read it"
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from None


def placement_from_environ() -> KnownPlacement | None:
    """Return the placement that `make up` or `make preview` handed over. None: the program was started without one.

    Raises UsageError for a value that is not a placement.
    """
    name = PLACEMENT_VARIABLE if os.environ.get(PLACEMENT_VARIABLE) else OLD_PLACEMENT_VARIABLE
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return KnownPlacement.model_validate_json(text)
    except ValidationError:
        where = f"environment variable {name}"
        raise UsageError("does not hold a placement", where=where, hint=f"unset {name}") from None
