"""The steps before and after a `pulumi preview|up|refresh|destroy` that a person types.

Before: check the config, install what this computer lacks, lock the stack, create it. After `up`: save the outputs for
`make provision`. After `destroy`: save a note with which `make down` can query the cloud. The options for the Pulumi
engine are passed on as typed.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from catalog.clouds import RENTED
from core.console import next_command, say
from core.errors import ConfigError
from core.paths import outputs_file
from infra.automation.pulumi_cli import Typed
from infra.automation.stack import Stack, hold, only_looking
from infra.clouds import registry
from infra.clouds.program.naming import gateway_name
from infra.clouds.registry import rented_cloud
from infra.config import DeploymentConfig, load_stack
from infra.contract.stack_placement import (
    KnownPlacement,
    Placement,
    Progress,
    read_placement,
    types_of,
    write_placement,
)
from infra.lifecycle.down import cloud_name_of
from infra.lifecycle.orphans.recovery import recover
from infra.lifecycle.placement.login import provider_environment
from infra.lifecycle.placement.previous import known_placement
from infra.lifecycle.placement.trying import GATEWAY_LATER
from infra.lifecycle.preflight.missing_secrets import refuse_missing_secrets
from infra.lifecycle.saved import file_digest, note_file, save_outputs
from infra.pulumi_command.arguments import Work
from infra.pulumi_command.stack_files import kept_as_written
from serving.endpoint import endpoint_file


def work(verb: Work, reference: str, words: Sequence[str], *, own_config: bool) -> int:
    """Run `pulumi` with `words` and return its exit status. `verb` and the stack `reference` are parsed from `words`.

    Raises ConfigError for a wrong stack file before anything runs, DeployError if another command works on the stack.
    """
    stack = reference.rpartition("/")[2]
    if verb == "destroy":
        cloud = cloud_name_of(stack)
    else:
        config = load_stack(stack)
        cloud = config.cloud
        if verb == "up":
            refuse_missing_secrets(config, stack)
            registry.cloud_of(cloud).prepare(config, stack)
        else:
            registry.cloud_of(cloud).refuse_too_large(config, stack)
    with _held(verb, stack, cloud, reference if reference != stack else "") as held, kept_as_written():
        placement = known_placement(cloud, stack, held)
        if placement is None and verb != "destroy":
            for name, value in provider_environment(cloud, config.project).items():
                held.hand_over(name, value)
        if verb in ("up", "destroy"):
            recover(cloud, stack, held)
        digest = file_digest(stack) if verb == "up" else ""
        made = verb in ("up", "preview") and held.create()
        try:
            typed = held.typed(words, config=not own_config)
        finally:
            if made and verb == "preview":
                held.remove()
        if verb == "up" and typed.changed:
            _after_up(config, stack, typed, digest)
        if verb == "destroy" and typed.changed:
            _after_destroy(stack, held, placement)
    return typed.status


def _held(verb: Work, stack: str, cloud: str, reference: str) -> AbstractContextManager[Stack]:
    """Return the locked stack. For a preview on this computer, a new folder of the stack is removed afterwards."""
    if verb == "preview" and cloud not in RENTED:
        return only_looking(stack, cloud)
    return hold(stack, cloud, reference=reference)


def _after_up(config: DeploymentConfig, stack: str, typed: Typed, digest: str) -> None:
    """Save the outputs and the placement of an update, or report its failure."""
    if typed.status:
        _tell_failure(config, stack, typed)
        return
    try:
        outputs = save_outputs(stack, typed.report.outputs)
    except ConfigError:  # e.g. with --target, the program has only a part of its outputs
        outputs_file(stack).unlink(missing_ok=True)  # the next command reads them from the state
        return
    note_file(stack, digest)
    if outputs.placement is not None:
        write_placement(stack, KnownPlacement.of(outputs.placement))
    next_command(f"make provision STACK={stack}", f"pulumi destroy -s {stack}")


def _tell_failure(config: DeploymentConfig, stack: str, typed: Typed) -> None:
    """Print what to do about an error of the cloud, especially if another zone or machine type may help."""
    cloud, text = rented_cloud(config.cloud), "\n".join(typed.report.errors)
    if cloud is None:
        return
    noted = read_placement(stack)
    if cloud.out_of_stock(text) is not None:
        if noted is not None and not noted.is_complete:
            write_placement(stack, KnownPlacement.of(noted, Progress(holds_nothing=True, blank_at=noted.blank_at)))
        lacks_gateway = typed.report.failed == [gateway_name(stack)]
        own = noted.gateway.machine_type if noted and noted.gateway else "the gateway's machine"
        machine = own if lacks_gateway else " or ".join(types_of(noted)) if noted else "the machines"
        what = f"no capacity for {machine} in {noted.zone if noted else 'this place'}"
        if lacks_gateway and noted is not None and noted.is_complete:
            say(f"  {what}; {GATEWAY_LATER}")
        else:
            say(f"  {what}; `make up STACK={stack}` tries the file's other zones and types")
    elif hint := cloud.hint_for(text):
        say(f"  {hint}")


def _after_destroy(stack: str, held: Stack, placement: Placement | None) -> None:
    """Note that the state has no more resources; `make down` confirms that with the cloud."""
    next_command(f"make down STACK={stack}, which checks that nothing remains")
    if held.known_ids():
        return
    outputs_file(stack).unlink(missing_ok=True)
    endpoint_file(stack).unlink(missing_ok=True)  # its address may soon belong to somebody else
    if placement is not None:
        write_placement(stack, KnownPlacement.of(placement, Progress(holds_nothing=True)))
