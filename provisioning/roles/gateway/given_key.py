"""The engine key of a host whose gateway is on another host: given by the controller, not made on the host."""

from collections.abc import Sequence

from provisioning.converge.replace_resource import replace_resource
from provisioning.converge.resources import File, GeneratedSecret, Resource, Secret
from provisioning.roles.host.layout import ENGINE_ENV, ENGINE_ENV_TEMPLATE


def engine_env(key: Secret) -> File:
    """Return the file with a given engine key."""
    return File(path=ENGINE_ENV, content=Secret(ENGINE_ENV_TEMPLATE.format(secret=key.value)), mode=0o600)


def with_engine_key(resources: Sequence[Resource], key: Secret) -> list[Resource]:
    """Return the list with a given engine key in place of one that the host makes."""
    return replace_resource(resources, GeneratedSecret(path=ENGINE_ENV).id, engine_env(key))
