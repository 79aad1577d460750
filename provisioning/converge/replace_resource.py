"""Replaces one resource of a list, and the old id in other resources with the new one. Pure."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from provisioning.converge.resources import Resource

ID_FIELDS = ("after", "restart_on", "reload_on")
"""Fields that hold ids of other resources."""


def replace_resource(resources: Sequence[Resource], old: str, new: Resource) -> list[Resource]:
    """Return the list with `new` in place of the resource with the id `old`; the same list if there is none."""
    if not any(each.id == old for each in resources):
        return list(resources)
    return [new if each.id == old else _renamed(each, old, new.id) for each in resources]


def _renamed(resource: Resource, old: str, new: str) -> Resource:
    """Return the resource with one id in its lists of ids replaced."""
    changed: dict[str, Any] = {}
    for each in fields(resource):
        if each.name in ID_FIELDS and old in (value := getattr(resource, each.name)):
            changed[each.name] = tuple(new if word == old else word for word in value)
    return replace(resource, **changed) if changed else resource
