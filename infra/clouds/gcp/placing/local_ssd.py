"""Hosts with local SSDs: GCP does not stop them, so an existing host cannot change its machine type."""

from catalog.gcp_shapes import accelerator_type, family
from catalog.machines import find_machine
from core.errors import ConfigError
from infra.clouds.candidates import Place
from infra.clouds.gcp.placing.replacements import engine_instances
from infra.contract.stack_placement import Placement
from serving.spec.pool_name import MAIN


def without_stops(places: list[Place], previous: Placement, pool: str = MAIN) -> list[Place]:
    """Return `places` without those for which the plugin would stop a host with local SSDs. It would fail half-way.

    A type of another family stays in the list, because it replaces the host. Raises ConfigError if no place remains.
    """
    before = previous.machine_type
    row = find_machine("gcp", before)
    if row is None or not row.local_ssd_gb or all(_is_free(before, each) for _zone, each in places):
        return places
    if not engine_instances(previous, pool):
        return places
    kept = [(zone, each) for zone, each in places if _is_free(before, each)]
    if not kept:
        what = (
            f"{places[0][1]}: the host is {before} with local SSDs, and GCP cannot stop such a host to change its type"
        )
        hint = f"write {before} or a type of another family, or run `make down` first"
        raise ConfigError(what, where="machine.type", hint=hint)
    return kept


def _is_free(before: str, after: str) -> bool:
    """Return whether a host gets the other type without being stopped and changed."""
    model_stays = (family(before), accelerator_type(before)) == (family(after), accelerator_type(after))
    return before == after or not model_stays
