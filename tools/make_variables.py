"""The variables that each make target uses. A variable that the target does not use is rejected before anything runs.

python3 tools/make_variables.py TARGET… NAME=VALUE…      prints why make must stop; nothing when it may run

The Makefile calls this for every command, in a fresh checkout with the system's Python. So it needs nothing but
Python 3.8.
A variable that nothing reads is dangerous: `make reboot HSOT=gpu2` would reboot every host.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

_ON_HOSTS = ("STACK", "INVENTORY")
_ON_SOME_HOSTS = (*_ON_HOSTS, "HOST")

USES: Mapping[str, Sequence[str]] = {
    "help": (),
    "demo": ("ENGINE",),
    "deploy-cpu": ("STACK", "CLOUD"),
    "deploy-gpu": ("STACK", "CLOUD"),
    "deploy-gpu-spot": ("STACK", "CLOUD"),
    "deploy": ("STACK",),
    "preflight": ("STACK",),
    "preview": ("STACK",),
    "up": ("STACK",),
    "plan": _ON_SOME_HOSTS,
    "provision": _ON_SOME_HOSTS,
    "smoke": _ON_HOSTS,
    "refresh": ("STACK",),
    "down": ("STACK",),
    "orphans": ("CLOUD",),
    "leftovers": ("CLOUD",),  # the old name of `orphans`
    "adopt": ("INVENTORY", "HOST"),
    "bundle": _ON_SOME_HOSTS,
    "status": _ON_SOME_HOSTS,
    "top": _ON_SOME_HOSTS,
    "spend": _ON_SOME_HOSTS,
    "adapters": (*_ON_HOSTS, "DO"),
    "logs": _ON_SOME_HOSTS,
    "ssh": _ON_SOME_HOSTS,
    "restart": _ON_SOME_HOSTS,
    "reboot": _ON_SOME_HOSTS,
    "upgrade-engine": _ON_SOME_HOSTS,
    "rotate-key": (*_ON_HOSTS, "CLIENT"),
    "ask": ("STACK", "PROVIDER", "Q"),
    "dashboards": (),
    "setup": (),
    "test": ("WORKERS",),
    "test-unit": ("WORKERS",),
    "fuzz": ("WORKERS", "EXAMPLES"),
    "check": (),
    "format": (),
    "bench-start": (),
    "bench-preview": (),
    "bench-up-down": (),
    "bench-converge": (),
    "bench-gateway": (),
    "bench-watcher": ("STACK",),
}
"""Target and the variables it uses; every target also uses ARGS."""

VARIABLES = sorted({name for names in USES.values() for name in names} | {"ARGS"})

_CLOUDS = ("aws", "gcp")
_REQUIRED = {
    "adopt": ("HOST", "which host? write HOST=user@address"),
    "orphans": ("CLOUD", "which cloud? write CLOUD=aws or CLOUD=gcp"),
    "rotate-key": ("CLIENT", "whose key? write CLIENT=name, one of gateway.clients"),
}
_ADAPTER_TASKS = ("list", "entry", "manifest", "plan", "apply", "promote", "rollback", "prune")


def uses(target: str) -> tuple[str, ...]:
    """Return the variables that `target` uses."""
    return (*USES[target], "ARGS")


def refusal(targets: Iterable[str], typed: Mapping[str, str], exported: Mapping[str, str]) -> str:
    """Return why make must not run `targets`; empty when it may.

    `typed` are the variables of the command line, `exported` those of the shell.
    """
    first, *words = [*targets, ""]
    if first == "ask":  # the words after it are the question, but make would also run those that are targets
        for word in words:
            if word in USES:
                return f'ask: {word} is also a target; write the question as Q="…"'
        targets = [first]
    for target in targets:
        for problem in _problems(target, typed, exported):
            return problem
    return ""


def _problems(target: str, typed: Mapping[str, str], exported: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each mistake in a command for one target."""
    if target not in USES:
        yield f"there is no target {target}; {_did_you_mean(target, USES) or 'run make for the list'}"
        return
    used = uses(target)
    everything = {**exported, **typed}
    given = {name: value for name, value in everything.items() if value}
    # With CLOUD alone, `make down CLOUD=aws` would act on the default stack, which is local.
    if given.get("CLOUD") and "STACK" in used and "CLOUD" not in used and not _has(given, "STACK", "INVENTORY"):
        yield f"{target}: which stack? write STACK=name, e.g. STACK={given['CLOUD']}-gpu"
    for name in _unused(used, typed, exported):
        yield _unused_variable(target, name, given[name], is_typed=name in typed)
    if "STACK" in used and everything.get("STACK") == "" and not _has(given, "INVENTORY", "CLOUD"):
        yield f"{target}: STACK is empty; write STACK=name, e.g. STACK=local"
    if "STACK" in used and _has(given, "STACK") and _has(given, "INVENTORY"):
        yield f"{target}: write STACK or INVENTORY, not both"
    if "CLOUD" in used and _has(given, "CLOUD") and given["CLOUD"] not in _CLOUDS:
        hint = _did_you_mean(given["CLOUD"], _CLOUDS) or _one_of(_CLOUDS)
        yield f"{target}: CLOUD={given['CLOUD']} is unknown; {hint}"
    if target.startswith("deploy-"):
        yield from _deploy_problems(target, given)
    required, hint = _REQUIRED.get("orphans" if target == "leftovers" else target, ("", ""))
    if required and not given.get(required):
        yield f"{target}: {hint}"
    task = given.get("DO", "list")
    if target == "adapters" and task not in _ADAPTER_TASKS:
        yield f"adapters: DO={task} is unknown; {_did_you_mean(task, _ADAPTER_TASKS) or _one_of(_ADAPTER_TASKS)}"


def _unused(used: Sequence[str], typed: Mapping[str, str], exported: Mapping[str, str]) -> Iterator[str]:
    """Yield the variables that the person set and the target does not use.

    A name with _ is for the environment of the programs (AWS_PROFILE=…). Of exported variables only those count that
    name hosts, and only for a target that works on hosts: some shells set HOST themselves.
    """
    for name, value in typed.items():
        if value and "_" not in name and name not in used:
            yield name
    for name in ("INVENTORY", "HOST"):
        if exported.get(name) and name not in typed and name not in used and "STACK" in used:
            yield name


def _unused_variable(target: str, name: str, value: str, *, is_typed: bool) -> str:
    """Return the line about a variable that `target` does not use."""
    shell = "" if is_typed else f" (exported by your shell: unset {name})"
    if target == "ask" and not name.isupper():
        return 'ask: a question with = in it must be written as Q="…"'
    near = "" if name in VARIABLES else _did_you_mean(name.upper(), uses(target))
    return f"{target} does not use {name}={value}{shell}; {near or 'it uses ' + ' '.join(uses(target))}"


def _deploy_problems(target: str, given: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each mistake about the stack of `make deploy-KIND`."""
    if _has(given, "CLOUD") and _has(given, "STACK"):
        yield f"{target}: write CLOUD or STACK, not both"
    # The default stack is a local machine, which has no GPU.
    if target != "deploy-cpu" and not _has(given, "CLOUD", "STACK"):
        yield f"{target}: which stack? write CLOUD=aws, CLOUD=gcp or STACK=name"


def _has(given: Mapping[str, str], *names: str) -> bool:
    """Return whether one of `names` is set."""
    return any(given.get(name) for name in names)


def _did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a hint with the name nearest to `wrong`; empty when none is near."""
    import difflib  # a fifth of this program's time, and only errors need it

    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _one_of(known: Sequence[str]) -> str:
    """Return a hint with all names."""
    return f"write one of {', '.join(known)}"


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Print why make must stop, as one line; nothing when it may run."""
    typed = dict(each.split("=", 1) for each in arguments if "=" in each)
    targets = [each for each in arguments if "=" not in each and each != ".venv/.ready"]
    exported = {name: environment[name] for name in VARIABLES if name in environment}
    print(refusal(targets, typed, exported))


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
