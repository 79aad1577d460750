"""Hosts that are there already, from an inventory file. Makes nothing and removes nothing."""

from infra.clouds.existing.hosts import deploy

__all__ = ["deploy"]
