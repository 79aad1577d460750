"""Check a cloud before anything is created there: python -m infra.lifecycle.preflight.command --stack NAME."""

import sys
from collections.abc import Sequence
from dataclasses import asdict

from core.arguments import Parser
from core.console import next_command, say
from core.errors import run_cli
from core.runs import write_result

MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings and write preflight.json. Return 0 if there is no error."""
    parser = Parser(prog="make preflight", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--stack", required=True, help="name of the stack: stacks/Pulumi.NAME.yaml")
    stack = parser.parse_args(arguments).stack
    say(f"preflight: checks what stack {stack} needs; creates nothing")
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.contract.stack_placement import read_placement
    from infra.lifecycle.preflight.checks import findings, refuse
    from infra.lifecycle.preflight.missing_secrets import refuse_missing_secrets

    config = load_stack(stack)
    cloud = cloud_of(config.cloud)
    refuse_missing_secrets(config, stack)
    cloud.refuse_too_large(config, stack)
    found = findings(config, stack, read_placement(stack))
    for each in found:
        say(f"  {MARKS[each.level]} {each}")
    if cloud.looked_at:
        say(f"  ✓ {cloud.looked_at}: no problem found")
    ok = all(each.level != "error" for each in found)
    write_result(stack, "preflight.json", {"stack": stack, "ok": ok, "findings": [asdict(each) for each in found]})
    refuse(found, stack)
    next_command(f"make up STACK={stack}")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
