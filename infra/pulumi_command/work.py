"""Around `pulumi preview|up|refresh|destroy` typed by a person: what the stack needs before, and what is noted after.

Before: a checked config, what this computer lacks, the stack's lock, the stack itself. After `up`: the outputs for
`make provision`; after `destroy`: a note with which `make down` can ask the cloud. The engine is the person's to steer.
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
from infra.clouds.registry import rented_cloud
from infra.config import DeploymentConfig, load_stack
from infra.contract.stack_placement import KnownPlacement, Placement, Progress, read_placement, write_placement
from infra.lifecycle.down import cloud_name_of
from infra.lifecycle.placement.login import provider_environment
from infra.lifecycle.placement.previous import known_placement
from infra.lifecycle.recovery import recover
from infra.lifecycle.saved import file_digest, note_file, save_outputs
from infra.pulumi_command.arguments import Work
from infra.pulumi_command.stack_files import kept_as_written
from serving.endpoint import endpoint_file


def work(verb: Work, reference: str, words: Sequence[str], *, own_config: bool) -> int:
    """Run `pulumi` with `words`, which name `verb` and, as `reference`, a stack. Return its exit status.

    Raises ConfigError for a wrong stack file before anything runs, DeployError when another command works on the stack.
    """
    stack = reference.rpartition("/")[2]
    if verb == "destroy":
        cloud = cloud_name_of(stack)
    else:
        config = load_stack(stack)
        cloud = config.cloud
        if verb == "up":
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
    """Return the hold on the stack. A preview leaves nothing behind except the placement of a cloud stack."""
    if verb == "preview" and cloud not in RENTED:
        return only_looking(stack, cloud)
    return hold(stack, cloud, reference=reference)


def _after_up(config: DeploymentConfig, stack: str, typed: Typed, digest: str) -> None:
    """Note what an update came to: outputs and placement, or that the place has no capacity."""
    if typed.status:
        _tell_failure(config, stack, typed)
        return
    try:
        outputs = save_outputs(stack, typed.report.outputs)
    except ConfigError:  # with --target, say, only part of the program's outputs is there
        outputs_file(stack).unlink(missing_ok=True)  # the next command reads them from the state
        return
    note_file(stack, digest)
    if outputs.placement is not None:
        write_placement(stack, KnownPlacement.of(outputs.placement))
    next_command(f"make provision STACK={stack}", f"pulumi destroy -s {stack}")


def _tell_failure(config: DeploymentConfig, stack: str, typed: Typed) -> None:
    """Say what to do about an error of the cloud, above all one that another place may mend."""
    cloud, text = rented_cloud(config.cloud), "\n".join(typed.report.errors)
    if cloud is None:
        return
    noted = read_placement(stack)
    if cloud.out_of_stock(text) is not None:
        if noted is not None and not noted.is_complete:
            write_placement(stack, KnownPlacement.of(noted, Progress(holds_nothing=True, blank_at=noted.blank_at)))
        where = f"{noted.machine_type} in {noted.zone}" if noted else "this place"
        say(f"  no capacity for {where}; `make up STACK={stack}` tries the file's other zones and types")
    elif hint := cloud.hint_for(text):
        say(f"  {hint}")


def _after_destroy(stack: str, held: Stack, placement: Placement | None) -> None:
    """Note that nothing is known to be left; `make down` confirms it with the cloud."""
    next_command(f"make down STACK={stack}, which checks that nothing remains")
    if held.known_ids():
        return
    outputs_file(stack).unlink(missing_ok=True)
    endpoint_file(stack).unlink(missing_ok=True)  # its address may be somebody else's tomorrow
    if placement is not None:
        write_placement(stack, KnownPlacement.of(placement, Progress(holds_nothing=True)))
