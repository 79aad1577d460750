"""The commands that make, show and remove a stack's machines.

    python -m infra.lifecycle.commands preview|up|refresh|outputs|down --stack NAME
    eval "$(python -m infra.lifecycle.commands env --stack NAME)"      then use `pulumi` by hand on the same stack

A wrong config is told before anything is made (exit 2). Installs nothing on a host: that is for `fab`.
"""

import shlex
import sys
from collections.abc import Callable, Sequence

from core.arguments import Parser
from core.console import next_command, say, step
from core.errors import DeployError, run_cli, when_interrupted
from core.paths import outputs_file, stack_state_dir
from core.runs import write_result


def preview(stack: str) -> int:
    """Show what `up` would make, change or remove."""
    say(f"preview: what `up` would do to stack {stack}; nothing is changed")
    from infra.automation.stack import only_looking
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.lifecycle.preview import preview as preview_stack

    config = load_stack(stack)
    cloud_of(config.cloud).refuse_too_large(config, stack)
    with only_looking(stack, config.cloud) as held:
        report, cost = preview_stack(config, stack, held)
    if not report.planned and not report.missing:
        say("  nothing to change")
    result = {"ok": True, "planned": report.planned, "gone": report.missing}
    write_result(stack, "preview.json", result | ({"cost": cost} if cost else {}))
    next_command(f"make up STACK={stack}")
    return 0


def up(stack: str) -> int:
    """Make the machines of a stack."""
    say(f"up: makes the machines of stack {stack}; safe to run again")
    from infra.automation.stack import hold
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.lifecycle.saved import file_digest, note_file, save_outputs
    from infra.lifecycle.up import up as make_machines

    config = load_stack(stack)
    digest = file_digest(stack)
    cloud_of(config.cloud).prepare(config, stack)
    with when_interrupted(f"`make down STACK={stack}` to undo"), hold(stack, config.cloud) as held:
        report, tried = make_machines(config, stack, held)
        outputs = save_outputs(stack, report.outputs)
        note_file(stack, digest)
    say(f"  {report.summary()}")
    for host in outputs.hosts:
        say(f"  {host.name}: {host.user}@{host.address}, {host.cpu_count} CPUs, {host.memory_gib:g} GiB")
    done = {"ok": True, "hosts": [host.name for host in outputs.hosts], "changes": report.done}
    places = [{"place": str(each.candidate), "outcome": each.outcome, "told": each.told} for each in tried]
    write_result(stack, "up.json", {**done, **({"places": places} if places else {})})
    next_command(f"make provision STACK={stack}", f"make down STACK={stack}")
    return 0


def refresh(stack: str) -> int:
    """Find out what has become of a stack's machines."""
    say(f"refresh: asks what has become of the machines of stack {stack}, and notes it in the state")
    from infra.automation.stack import hold
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.lifecycle.login import refuse_other_login
    from infra.lifecycle.previous import known_placement

    config = load_stack(stack)
    with step("ask for each machine"), hold(stack, config.cloud) as held:
        refuse_other_login(config.cloud, known_placement(config.cloud, stack, held))
        report = held.refresh()
    if report is None:
        say(f"  stack {stack} has no machines yet")
    elif report.missing:
        say(f"  {cloud_of(config.cloud).missing_words(', '.join(report.missing))}")
    else:
        say("  all of them are there")
    write_result(stack, "refresh.json", {"ok": True, "gone": report.missing if report else []})
    next_command(f"make up STACK={stack}")
    return 0


def outputs(stack: str) -> int:
    """Print hosts and serving spec as JSON on stdout."""
    say(f"outputs: what stack {stack} hands on to provisioning, as JSON on stdout")
    from infra.config import load_stack
    from infra.lifecycle.known_outputs import bring_up_to_date

    load_stack(stack)
    bring_up_to_date(stack)
    if not outputs_file(stack).exists():
        raise DeployError("has no machines yet", where=f"stack {stack}", hint=f"make up STACK={stack}")
    print(outputs_file(stack).read_text(), end="")
    return 0


def down(stack: str) -> int:
    """Destroy a stack and confirm that nothing is left."""
    say(f"down: removes all of stack {stack}, then looks whether anything is left")
    from infra.config.reader import known_stacks
    from infra.lifecycle.down import tear_down

    result = tear_down(stack)
    for line in result.kept:
        say(f"  kept: {line}")
    if result.hosts_stay:
        say("  nothing of ours was made; the hosts keep what was provisioned on them")
        say(f"  their keys are kept in {stack_state_dir(stack)}")
    elif not result.asked:
        say(f"  this checkout has no lease of stack {stack}, so there was nothing to ask the cloud for")
        say(f"  what another checkout made, or a lost one, is found by: make orphans CLOUD={result.cloud}")
    else:
        say(f"  {len(result.destroyed)} resource(s) removed; nothing {'else ' if result.kept else ''}is left")
    if stack in known_stacks():  # whose file was deleted is not to be made again
        next_command(f"make up STACK={stack}")
    return 0


def env(stack: str) -> int:
    """Print shell commands that make `pulumi` by hand use the same CLI and backend.

    By hand it notes the stack's salt in the stack's file, as it does for everybody; our own commands keep that clean.
    """
    from infra.automation.backend import find_backend
    from infra.automation.pulumi_cli import cli_environment
    from infra.contract.stack_placement import read_placement
    from infra.lifecycle.down import cloud_of
    from infra.lifecycle.login import provider_environment
    from tools.pulumi.cli import find_cli

    backend, placement = find_backend(), read_placement(stack)
    environment = cli_environment(find_cli(), backend)
    wanted = {name: value for name, value in environment.items() if name.startswith(("PULUMI_", "PATH"))}
    if placement is not None:
        wanted |= provider_environment(cloud_of(stack), placement.project)
    for name in (name for name, value in backend.settings.items() if value is None):
        print(f"unset {name}")
    for name, value in wanted.items():
        print(f"export {name}={shlex.quote(value)}")
    say(f"env: state is kept in {backend.shown}")
    return 0


COMMANDS: dict[str, Callable[[str], int]] = {
    "preview": preview,
    "up": up,
    "refresh": refresh,
    "outputs": outputs,
    "down": down,
    "env": env,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command on one stack."""
    parser = Parser(prog="python -m infra.lifecycle.commands", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        each = commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0])
        each.add_argument("--stack", default="local", help="name of the stack: stacks/Pulumi.NAME.yaml")
    options = parser.parse_args(arguments)
    return COMMANDS[options.command](options.stack)


if __name__ == "__main__":
    sys.exit(run_cli(main))
