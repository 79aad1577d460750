"""What was settled when a rented stack was made, and stays so until it ends: who it is, since when, where, on what.

`make up` settles it before the Pulumi engine starts and hands it to the program; without that, the program settles it
itself (infra/lifecycle/own_placement.py). It exports it, so that the next person finds it in the state.
Asks no cloud: infra/clouds/aws and infra/clouds/gcp settle what only the cloud knows.
"""

import os
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, Field, ValidationError

from core.errors import UsageError
from core.files import write_atomically
from core.frozen import Frozen
from core.paths import placement_file

PLACEMENT_VARIABLE = "LLM_DEPLOY_LEASE"
"""Environment variable by which `up` and `preview` hand the lease to the program."""

ID = r"[0-9a-f]{8}"


class Placement(Frozen):
    """One rented stack. Written as a stack output, `lease`."""

    id: str = Field(pattern=rf"^{ID}$", description="Tells this stack from others of its name in the same account.")
    region: str = Field(description="Region that it lies in.")
    project: str | None = Field(default=None, description="GCP project that it lies in; none elsewhere.")
    account: str | None = Field(
        default=None, description="AWS account that it lies in; none elsewhere, and in a lease of before it was noted."
    )
    began_at: AwareDatetime = Field(description="When its lifetime began to count.")
    image_name: str = Field(description="The image as the stack file names it.")
    image: str = Field(description="The image's id, looked up once: a newer one replaces no host unasked.")
    machine_type: str = Field(description="The type that was in stock.")
    zone: str = Field(description="The zone that had it.")
    zones: tuple[str, ...] = Field(min_length=1, description="Zones that the network spans.")
    subnets: dict[str, str] = Field(default={}, description="Subnet of an existing network by zone.")
    keeps_end: bool = Field(
        default=False, description="Whether GCP ends the hosts when they shall end; how it writes that is no change."
    )
    parts: tuple[str, ...] | None = Field(
        default=None,
        description="Optional parts that the stack may have (infra/lifecycle/optional_parts.py). None: all of them.",
    )
    stands: bool = Field(
        default=True, description="Whether an `up` went through; false only in the note of a stack's first attempts."
    )
    lacks_stock: bool = Field(
        default=False, description="Whether the place had no machine; only in the note of a stack's first attempts."
    )
    blank_at: str = Field(
        default="",
        description="Time of a state in which no host was ever made, so that data volumes hold nothing"
        " (infra/lifecycle/blank_volumes.py); empty: they may. Only in the note of a stack's first attempts.",
    )

    def is_first_try_of(self, placement: "Placement") -> bool:
        """Return whether this is the note of an attempt at `lease`, of a stack that does not stand yet."""
        settled = self.model_copy(update={"stands": True, "lacks_stock": False, "blank_at": ""})
        return not self.stands and settled == placement

    def ends_at(self, ttl_hours: float) -> datetime:
        """Return when the machines end themselves, to the second."""
        return (self.began_at + timedelta(hours=ttl_hours)).astimezone(UTC).replace(microsecond=0)


def write_placement(stack: str, placement: Placement) -> None:
    """Note the lease, before the engine starts: an `up` that fails exports nothing."""
    write_atomically(placement_file(stack), placement.model_dump_json(indent=2) + "\n", mode=0o600)


def forget_placement(stack: str) -> None:
    """Remove the note of a lease whose things are gone."""
    placement_file(stack).unlink(missing_ok=True)


def read_placement(stack: str) -> Placement | None:
    """Return the lease that this checkout noted; None when there is none, or what is there is no lease.

    Raises UsageError when the file cannot be read.
    """
    path = placement_file(stack)
    try:
        return Placement.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    except OSError as error:
        hint = "let yourself read it"
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from None


def placement_from_environ() -> Placement | None:
    """Return the lease that `make up` or `make preview` handed over; None: the program was started without one.

    Raises UsageError for a value that is not a lease.
    """
    text = os.environ.get(PLACEMENT_VARIABLE)
    if not text:
        return None
    try:
        return Placement.model_validate_json(text)
    except ValidationError:
        where = f"environment variable {PLACEMENT_VARIABLE}"
        raise UsageError("does not hold a placement", where=where, hint=f"unset {PLACEMENT_VARIABLE}") from None
