"""The placement that the Pulumi program uses: the one that `make up` passes in, else the first that it would try.

So plain `pulumi preview|up` needs no variable. The program notes its choice in the checkout. It tries no second place:
an update that finds no capacity fails, and `make up` tries the other places.
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
from infra.clouds.candidates import Candidate, is_bound
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
    return placement_from_environ() or _chosen(config, stack, own_state(stack), datetime.now(UTC))


@dataclass(frozen=True)
class OwnState:
    """The state of the stack that the program runs for, as the Pulumi engine had it when the program began."""

    exported: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Any]]
    """`type` and `outputs` of each resource, by URN."""

    @property
    def backend(self) -> Backend:
        """Where the state is kept."""
        return find_backend()

    def outputs(self) -> Mapping[str, Any]:
        """Return the outputs of the last `up`; empty before the first."""
        return self.exported

    def known_ids(self) -> set[str]:
        """Return the URNs of the resources that a cloud created, without those of the Pulumi engine itself."""
        return {urn for urn, each in self.resources.items() if _is_made(str(each["type"]), each)}

    def has_machines(self) -> bool:
        """Return whether the state has a machine of a cloud."""
        return any(str(each["type"]).endswith(MACHINE) for each in self.resources.values())


def _is_made(kind: str, resource: Mapping[str, Any]) -> bool:
    """Return whether a cloud created the resource. Such a resource has outputs; our components have none."""
    return not kind.startswith(ENGINE) and bool(resource.get("outputs"))


def own_state(stack: str) -> OwnState:
    """Return the state of the stack, from the running Pulumi engine. Raises DeployError if that cannot read it."""
    name = f"{pulumi.get_organization()}/{PROJECT}/{stack}"
    exported = _asked("pulumi:pulumi:readStackOutputs", "name", name)
    return OwnState(exported, _asked("pulumi:pulumi:readStackResourceOutputs", "stackName", name))


def _asked(token: str, key: str, stack: str) -> dict[str, Any]:
    """Return the answer of the running Pulumi engine about its stack.

    Repeats a failed call for ASK_S seconds: at the start of an update the Pulumi engine writes the state, and may read
    it half-written ("failed to load checkpoint: EOF"). Does not use `pulumi.runtime.invoke`, because one failed call of
    that fails the program.
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
            what = f"the Pulumi engine could not read it ({error.details() if hasattr(error, 'details') else error})"
            hint = "run the command again; `make up` reads it through the CLI"
            raise DeployError(what, where=f"state of stack {stack}", hint=hint) from None


def _chosen(config: DeploymentConfig, stack: str, state: OwnState, now: datetime) -> KnownPlacement:
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
    return KnownPlacement.of(placement)  # without `blank_at`: it is not proven that volumes are blank


def placement_line(placement: Placement, stack: str, *, bound: bool) -> str:
    """Return a line with the chosen place, and what to do if it has no capacity."""
    place = f"placement: {Candidate(placement)}"
    return place if bound else f"{place}; if it has no capacity, `make up STACK={stack}` tries the next place"
