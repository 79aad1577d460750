"""Whether a stack is of the kind that `make deploy-cpu`, `deploy-gpu` or `deploy-gpu-spot` names; asks no cloud.

python -m infra.lifecycle.preflight.expect_kind gpu --stack NAME        an error and status 2 if it is not
"""

import sys
from collections.abc import Sequence

from core.arguments import Parser
from core.console import say
from core.errors import UsageError, run_cli

KINDS = ("cpu", "gpu", "gpu-spot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 for a stack of the kind. Raises UsageError for another one."""
    parser = Parser(
        prog="python -m infra.lifecycle.preflight.expect_kind", description=(__doc__ or "").partition(";")[0]
    )
    parser.add_argument("kind", choices=KINDS, help="what the stack should be")
    parser.add_argument("--stack", required=True, help="name of the stack: stacks/Pulumi.NAME.yaml")
    options = parser.parse_args(arguments)
    say(f"deploy-{options.kind}: up, provision and smoke for stack {options.stack}")
    refuse_other_kind(options.stack, options.kind)
    return 0


def refuse_other_kind(stack: str, kind: str) -> None:
    """Raise UsageError if a machine of the stack has not the processor or the market that `kind` names.

    Machines of all pools count: `deploy-gpu-spot` must not make one on demand, which costs more.
    """
    from infra.clouds.registry import cloud_of
    from infra.config import load_stack
    from infra.config.models.pool import machine_key

    config = load_stack(stack)
    for machine, has_gpu in cloud_of(config.cloud).processors(config):
        if has_gpu is not None and has_gpu != (kind != "cpu"):
            what = f"{machine} has {'a GPU' if has_gpu else 'no GPU'}"
            raise UsageError(what, where=_where(stack, kind), hint=f"deploy it as it is: make deploy STACK={stack}")
    for pool, each in config.machines.items():
        if kind == "gpu-spot" and each.market != "spot":
            what = f"{f'pool {pool}' if config.pools else 'it'} is not on the spot market"
            hint = f"write {machine_key(pool)}.market: spot, or run: make deploy-gpu STACK={stack}"
            raise UsageError(what, where=_where(stack, kind), hint=hint)


def _where(stack: str, kind: str) -> str:
    return f"deploy-{kind}: stack {stack}"


if __name__ == "__main__":
    sys.exit(run_cli(main))
