"""Which hosts, and what they serve: from a stack's outputs, or from an inventory file of hosts that exist already.

Reads files only. Does not ask the Pulumi engine (`up` wrote the outputs) and reaches no host.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.console import say
from core.errors import ConfigError, UsageError
from core.paths import STACKS_DIR, outputs_file
from core.reading.rules import one_of
from core.reading.strict_yaml import read_yaml
from core.reading.words import words
from infra.automation.lock import has_unfinished
from infra.contract.outputs import HostRecord, StackOutputs
from infra.lifecycle.known_outputs import bring_up_to_date
from infra.lifecycle.saved import file_differs
from provisioning.hosts.target import Target
from provisioning.hosts.topology import HostRole, Topology
from serving.adapters.manifest import read_releases, shown
from serving.spec.rules import gateway_fits_servings

OWN_NAMESPACE = "llm-deploy:"
"""As in infra/config/reader.py, which takes too long to import here."""


def load(target: Target) -> StackOutputs:
    """Return the hosts of `target` and what they serve, with the adapters of the manifest if there is one.

    Raises UsageError if there is no such stack, machine or file, ConfigError for a wrong value.
    """
    return _with_adapters(target, load_outputs(target))


def load_to_look(target: Target) -> StackOutputs:
    """Like `load`, but only warn about a wrong manifest and ignore it: hosts run without it."""
    outputs = load_outputs(target)
    try:
        return _with_adapters(target, outputs)
    except ConfigError as error:
        say(f"! {error}")
        say("! the adapters of this manifest are left out below")
        return outputs


def mention_changed_file(target: Target) -> None:
    """Warn if the stack file was edited since the last `up`. An inventory has no `up`."""
    if file_has_changed(target):
        say(f"! stacks/Pulumi.{target.stack}.yaml was edited after the last `up`; `{target.command('up')}` applies it")


def file_has_changed(target: Target) -> bool:
    """Return whether the stack's file was edited since the last `up`; False for an inventory, which has no `up`."""
    return bool(target.stack) and file_differs(target.stack)


def _with_adapters(target: Target, outputs: StackOutputs) -> StackOutputs:
    """Return `outputs` with the adapters of the manifest, if there is one.

    Raises ConfigError for adapters that do not fit what the stack serves, or its gateway.
    """
    releases = read_releases(adapter_manifest(target, outputs.stack))
    if releases is None:
        return outputs
    main, pools = releases.servings(outputs.serving, outputs.pools)
    complete = outputs.model_copy(update={"serving": main, "pools": pools})
    for problem in gateway_fits_servings(complete.by_key, complete.gateway):
        where = f"{shown(releases.path)}: with its adapters"
        raise ConfigError(f"{problem.key}: {problem.what}", where=where, hint=problem.hint)
    return complete


def adapter_manifest(target: Target, stack: str) -> Path:
    """Return the path of the stack's adapter manifest: beside the stack files, or beside the inventory."""
    return (STACKS_DIR if target.stack else Path(target.inventory).parent) / "adapters" / f"{stack}.yaml"


def load_outputs(target: Target) -> StackOutputs:
    """Return the hosts of `target` and what they serve, without the adapters of a manifest."""
    if target.stack:
        return _load_stack(target.stack)
    path = Path(target.inventory)
    try:
        content = read_yaml(path, shown_as=target.inventory)  # JSON works too: it is YAML
    except FileNotFoundError:
        raise UsageError("there is no such file", where=target.inventory, hint="name a YAML or JSON file") from None
    outputs = _checked(content, target.inventory)
    return outputs.model_copy(update={"hosts": tuple(host.at_home(path.parent) for host in outputs.hosts)})


def choose(outputs: StackOutputs, names: Sequence[str]) -> tuple[HostRecord, ...]:
    """Return the hosts called `names`, or all if `names` is empty. Raises UsageError for an unknown one."""
    known = [host.name for host in outputs.hosts]
    for name in names:
        if name not in known:
            raise UsageError(f"{outputs.stack} has no host {name}", where="--host", hint=one_of(known, name))
    return tuple(host for host in outputs.hosts if not names or host.name in names)


def choose_engines(outputs: StackOutputs, names: Sequence[str]) -> tuple[HostRecord, ...]:
    """Return the hosts called `names`, or all with an engine. Raises UsageError for one without."""
    engine_hosts = Topology(outputs).hosts_with(HostRole.ENGINE)
    if not names:
        return engine_hosts
    hosts = choose(outputs, names)
    for host in hosts:
        if host not in engine_hosts:
            hint = f"write HOST={engine_hosts[0].name}, the host with the engine"
            raise UsageError(f"{host.name} has no engine", where="--host", hint=hint)
    return hosts


def _load_stack(stack: str) -> StackOutputs:
    """Return the outputs of the last `up`, be it `make up` or plain `pulumi up`."""
    bring_up_to_date(stack)
    path = outputs_file(stack)
    try:
        content = read_yaml(path, shown_as=str(path))
    except FileNotFoundError:
        # Late: it loads every model of the config, a tenth of the time before a provision reaches its hosts.
        from infra.config.reader import known_stacks

        known = known_stacks()
        if stack not in known:
            where = f"stacks/Pulumi.{stack}.yaml"
            raise UsageError(f"there is no stack {stack}", where=where, hint=one_of(known, stack)) from None
        raise _no_machines(stack) from None
    return _checked(content, str(path))


def _no_machines(stack: str) -> UsageError:
    """Return the error that `up` has not ended, or was never run."""
    if has_unfinished(stack):
        hint = f"run `make up STACK={stack}` again, or `make down STACK={stack}` to undo"
        return UsageError("`up` is running, was interrupted, or failed", where=f"stack {stack}", hint=hint)
    return UsageError("has no machines yet", where=f"stack {stack}", hint=f"run `make up STACK={stack}`")


def _checked(content: Any, where: str) -> StackOutputs:
    """Return `content` as outputs; `where` names the file in errors."""
    if isinstance(content, dict) and any(str(key).startswith(OWN_NAMESPACE) for key in content.get("config") or ()):
        stack = re.fullmatch(r"Pulumi\.(.+)\.yaml", Path(where).name)
        hint = f"write STACK={stack[1] if stack else 'NAME'} in place of INVENTORY"
        raise ConfigError("is a stack file, not an inventory", where=where, hint=hint)
    if not isinstance(content, dict):
        raise ConfigError("is not a mapping", where=where, hint="write stack, hosts and serving; see docs/inventory.md")
    try:
        return StackOutputs.model_validate(content)
    except ValidationError as error:
        raise words(error, where, StackOutputs) from None
