"""The engine's role: the engine that the stack file names, with its GPU driver. It replaces another engine."""

from dataclasses import replace

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Resource, Unit
from provisioning.roles.engine.ollama import ollama
from provisioning.roles.engine.vllm import vllm
from provisioning.roles.host.layout import ENGINE_UNIT
from provisioning.roles.host.nvidia import with_driver
from serving.sources.resolve import ResolvedSources
from serving.spec.models import ServingSpec

ENGINES = {"vllm": vllm, "ollama": ollama}


def engine(
    host: HostRecord, serving: ServingSpec, sources: ResolvedSources, *, allow_downgrade: bool
) -> list[Resource]:
    """Return the resources that make the engine serve on `host`. The previous engine stops when this one can start."""
    listed = ENGINES[serving.engine](host, serving, sources, allow_downgrade=allow_downgrade)
    return with_driver(host, serving, _with_others_stopped(listed, ENGINE_UNIT[serving.engine]))


def _with_others_stopped(listed: list[Resource], unit_name: str) -> list[Resource]:
    """Return the list with the units of all other engines stopped just before `unit_name` starts."""
    unit = next(each for each in listed if isinstance(each, Unit) and each.name == unit_name)
    others = [
        Unit(name=name, enabled=False, running=False, after=unit.after)
        for name in ENGINE_UNIT.values()
        if name != unit_name
    ]
    start = replace(unit, after=(*unit.after, *(other.id for other in others)))
    place = listed.index(unit)
    return [*listed[:place], *others, start, *listed[place + 1 :]]
