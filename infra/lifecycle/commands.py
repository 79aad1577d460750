"""The commands that create, show and remove the machines of a stack.

    python -m infra.lifecycle.commands preview|up|refresh|outputs|down --stack NAME
    eval "$(python -m infra.lifecycle.commands env --stack NAME)"      then use `pulumi` by hand on the same stack

A wrong config is reported before anything is created (exit 2). Installs nothing on a host: `fab` does that.
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
    """Show what `up` would create, change or remove."""
    say(f"preview: shows what `up` would do to stack {stack}; changes nothing")
    from infra.automation.stack import only_looking
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.lifecycle.preview.preview import preview as preview_stack

    config = load_stack(stack)
    cloud = cloud_of(config.cloud)
    cloud.refuse_too_large(config, stack)
    with only_looking(stack, config.cloud, kept_machines=lambda: cloud.kept_machines(stack)) as held:
        report, cost = preview_stack(config, stack, held)
    if not report.planned and not report.missing:
        say("  nothing to change on the machines")
    result = {"ok": True, "planned": report.planned, "gone": report.missing}
    write_result(stack, "preview.json", result | ({"cost": cost} if cost else {}))
    next_command(f"make up STACK={stack}")
    return 0


def up(stack: str) -> int:
    """Create the machines of a stack."""
    say(f"up: creates the machines of stack {stack}; safe to run again")
    from infra.automation.stack import hold
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.lifecycle.preflight.missing_secrets import refuse_missing_secrets
    from infra.lifecycle.saved import file_digest, note_file, save_outputs
    from infra.lifecycle.up import up as make_machines

    config = load_stack(stack)
    refuse_missing_secrets(config, stack)
    digest = file_digest(stack)
    cloud = cloud_of(config.cloud)
    cloud.prepare(config, stack)
    with (
        when_interrupted(f"`make down STACK={stack}` to undo"),
        hold(stack, config.cloud, kept_machines=lambda: cloud.kept_machines(stack)) as held,
    ):
        report, tried = make_machines(config, stack, held)
        outputs = save_outputs(stack, report.outputs)
        note_file(stack, digest)
    say(f"  {report.summary()}")
    for host in outputs.hosts:
        say(f"  {host.name}: {host.user}@{host.address}, {host.cpu_count} CPUs, {host.memory_gib:g} GiB")
    done = {"ok": True, "hosts": [host.name for host in outputs.hosts], "changes": report.done}
    places = [{"place": str(each.candidate), "outcome": each.outcome, "reason": each.reason} for each in tried]
    write_result(stack, "up.json", {**done, **({"places": places} if places else {})})
    next_command(f"make provision STACK={stack}", f"make down STACK={stack}")
    return 0


def refresh(stack: str) -> int:
    """Check whether the machines of a stack exist, and update the state."""
    say(f"refresh: checks the machines of stack {stack}, and updates the state")
    from infra.automation.stack import hold
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.lifecycle.placement.login import refuse_other_login
    from infra.lifecycle.placement.previous import known_placement

    config = load_stack(stack)
    cloud = cloud_of(config.cloud)
    with (
        step("check each machine"),
        hold(stack, config.cloud, kept_machines=lambda: cloud.kept_machines(stack)) as held,
    ):
        refuse_other_login(config.cloud, known_placement(config.cloud, stack, held))
        report = held.refresh()
    if report is None:
        say(f"  stack {stack} has no machines yet")
    elif report.missing:
        say(f"  {cloud.missing_words(', '.join(report.missing))}")
    else:
        say("  all machines exist")
    write_result(stack, "refresh.json", {"ok": True, "gone": report.missing if report else []})
    next_command(f"make up STACK={stack}")
    return 0


def outputs(stack: str) -> int:
    """Print hosts and serving spec as JSON on stdout."""
    say(f"outputs: prints the outputs of stack {stack} as JSON on stdout")
    from infra.config import load_stack
    from infra.lifecycle.known_outputs import bring_up_to_date

    load_stack(stack)
    bring_up_to_date(stack)
    if not outputs_file(stack).exists():
        raise DeployError("has no machines yet", where=f"stack {stack}", hint=f"run `make up STACK={stack}`")
    print(outputs_file(stack).read_text(), end="")
    return 0


def down(stack: str) -> int:
    """Destroy a stack and confirm that nothing remains."""
    say(f"down: removes everything of stack {stack}, then checks that nothing remains")
    from infra.config.reader import known_stacks
    from infra.lifecycle.down import tear_down

    result = tear_down(stack)
    for line in result.kept:
        say(f"  kept: {line}")
    if result.hosts_stay:
        say("  no resources were created; the hosts keep what was provisioned on them")
        say(f"  their keys are kept in {stack_state_dir(stack)}")
    elif not result.asked:
        say(f"  this checkout has no placement of stack {stack}, so the cloud could not be queried")
        say(f"  to find resources that another or a lost checkout created: make orphans CLOUD={result.cloud}")
    else:
        say(f"  {len(result.destroyed)} resource(s) removed; nothing {'else ' if result.kept else ''}remains")
    if stack in known_stacks():  # a stack whose file was deleted is not created again
        next_command(f"make up STACK={stack}")
    return 0


def env(stack: str) -> int:
    """Print shell commands with which `pulumi` uses the same CLI and backend.

    Plain `pulumi` may write a salt into the stack's file. Our own commands keep that file clean.
    """
    from infra.automation.backend import find_backend
    from infra.automation.cli_environment import cli_environment
    from infra.contract.stack_placement import read_placement
    from infra.lifecycle.down import cloud_name_of
    from infra.lifecycle.placement.login import provider_environment
    from tools.pulumi.cli import find_cli

    backend, placement = find_backend(), read_placement(stack)
    environment = cli_environment(find_cli(), backend)
    wanted = {name: value for name, value in environment.items() if name.startswith(("PULUMI_", "PATH"))}
    if placement is not None:
        wanted |= provider_environment(cloud_name_of(stack), placement.project)
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

WITHOUT_TARGET = ("outputs", "env")
"""The commands that make has no target for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command on one stack."""
    program = "python -m infra.lifecycle.commands"
    parser = Parser(prog=program, description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        words = (command.__doc__ or "").splitlines()[0]
        prog = f"{program} {name}" if name in WITHOUT_TARGET else f"make {name}"
        each = commands.add_parser(name, prog=prog, help=words, description=words)
        each.add_argument("--stack", default="local", help="name of the stack: stacks/Pulumi.NAME.yaml")
        each.set_defaults(parser=each)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return COMMANDS[options.command](options.stack)


if __name__ == "__main__":
    sys.exit(run_cli(main))
