"""Where the Pulumi program puts a stack in a cloud: what `make up` handed over, else the same choice.

So plain `pulumi preview|up` needs no variable. The choice is the first that `make up` would try, and is noted in the
checkout. The program tries no second place: an update that finds no capacity fails, and `make up` tries the others.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import pulumi
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto.resource_pb2 import ResourceInvokeRequest
from pulumi.runtime.settings import get_monitor

from core.errors import DeployError
from core.waiting.deadline import Deadline
from infra.automation.backend import PROJECT, Backend, find_backend
from infra.automation.stack import ENGINE, MACHINE
from infra.clouds.candidates import is_bound
from infra.clouds.registry import ready_cloud
from infra.config import DeploymentConfig
from infra.contract.stack_placement import (
    KnownPlacement,
    Placement,
    Progress,
    placement_from_environ,
    write_placement,
)
from infra.lifecycle.placement.known import begun_again, recorded_placement
from infra.lifecycle.placement.lost_state import refuse_lost_state
from infra.lifecycle.placement.optional_parts import all_parts
from infra.lifecycle.placement.trying import first_shown

ASK_S = 10.0
PAUSE_S = 0.1


def own_placement(config: DeploymentConfig, stack: str) -> KnownPlacement:
    """Return where the program puts the stack.

    Raises ConfigError and UsageError as `make up` does, DeployError when the state is lost or no place is possible.
    """
    return placement_from_environ() or _settled(config, stack, own_state(stack), datetime.now(UTC))


@dataclass(frozen=True)
class OwnState:
    """The state of the stack that the program runs for, as the engine had it when the program began."""

    exported: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Any]]
    """By URN: `type` and `outputs`."""

    @property
    def backend(self) -> Backend:
        """Where the state is kept."""
        return find_backend()

    def outputs(self) -> Mapping[str, Any]:
        """Return the outputs of the last `up`; empty before the first."""
        return self.exported

    def known_ids(self) -> set[str]:
        """Return the URNs of the resources that a cloud made; what the engine makes by itself is not among them."""
        return {urn for urn, each in self.resources.items() if _is_made(str(each["type"]), each)}

    def has_machines(self) -> bool:
        """Return whether the state has a machine that a cloud made."""
        return any(str(each["type"]).endswith(MACHINE) for each in self.resources.values())


def _is_made(kind: str, resource: Mapping[str, Any]) -> bool:
    """Return whether a resource is one that a cloud made: it has outputs, and our components have none."""
    return not kind.startswith(ENGINE) and bool(resource.get("outputs"))


def own_state(stack: str) -> OwnState:
    """Ask the running engine for the state of its own stack. Raises DeployError when it cannot tell."""
    name = f"{pulumi.get_organization()}/{PROJECT}/{stack}"
    exported = _asked("pulumi:pulumi:readStackOutputs", "name", name)
    return OwnState(exported, _asked("pulumi:pulumi:readStackResourceOutputs", "stackName", name))


def _asked(token: str, key: str, stack: str) -> dict[str, Any]:
    """Return what the running Pulumi engine knows of its own stack.

    Asked again for some seconds: at the start of an update the engine writes the state, and reads it half written
    ("failed to load checkpoint: EOF"). Not by `pulumi.runtime.invoke`, with which one failed call fails the program.
    """
    arguments = Struct()
    arguments.update({key: stack})
    request, monitor = ResourceInvokeRequest(tok=token, args=arguments), get_monitor()
    if monitor is None:
        raise DeployError("no Pulumi engine runs this program", where=f"state of stack {stack}")
    end = Deadline.after(ASK_S)
    while True:
        try:
            answer = monitor.Invoke(request)
            return dict(MessageToDict(getattr(answer, "return")).get("outputs") or {})
        except grpc.RpcError as error:
            if end.left_s():
                time.sleep(PAUSE_S)
                continue
            what = f"the engine could not read it ({error.details() if hasattr(error, 'details') else error})"
            hint = "run the command again; `make up` reads it through the CLI"
            raise DeployError(what, where=f"state of stack {stack}", hint=hint) from None


def _settled(config: DeploymentConfig, stack: str, state: OwnState, now: datetime) -> KnownPlacement:
    """Return the place that `make up` would try first, and note it."""
    cloud = ready_cloud(config.cloud)
    previous, is_exported = recorded_placement(stack, state)
    if previous is not None:
        previous = refuse_lost_state(cloud, stack, previous, state)
        previous = begun_again(previous, state, now)
    first = first_shown(cloud.candidates(config, previous), previous, stack).placement
    placement = first.model_copy(update={"parts": all_parts(config, previous)})
    is_complete = previous is not None and previous.is_complete
    write_placement(stack, KnownPlacement.of(placement, None if is_complete else Progress()))
    if not is_exported:
        pulumi.log.info(placement_line(placement, stack, bound=is_bound(config, previous)))
    return KnownPlacement.of(placement)  # not as blank: nobody has proved that


def placement_line(placement: Placement, stack: str, *, bound: bool) -> str:
    """Return which place was chosen, and what to do when it has no capacity."""
    place = f"placement: {placement.machine_type} in {placement.zone}"
    return place if bound else f"{place}; if it has no capacity, `make up STACK={stack}` tries the next place"
