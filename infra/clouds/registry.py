"""From the name of a cloud to its class: the only way into a cloud's folder.

The module of cloud NAME is infra/clouds/NAME/cloud.py, and its object is CLOUD. It is imported when it is needed: the
modules of one cloud need the SDKs of that cloud only.
"""

import importlib

from catalog.clouds import CLOUDS, RENTED
from infra.automation.sdk import ensure_sdk
from infra.clouds.cloud import Cloud
from infra.contract.stack_placement import Placement


def cloud_of(name: str) -> Cloud:
    """Return a cloud by its name. Its SDKs may be missing: call only what calls no API and no Pulumi."""
    if name not in CLOUDS:
        raise ValueError(f"{name} is not a cloud: {', '.join(CLOUDS)}")
    cloud: Cloud = importlib.import_module(f"infra.clouds.{name}.cloud").CLOUD
    return cloud


def ready_cloud(name: str) -> Cloud:
    """Return a cloud by its name, with its SDKs installed."""
    ensure_sdk(name)
    return cloud_of(name)


def rented_cloud(name: str) -> Cloud | None:
    """Return a cloud in `RENTED` by its name, with its SDKs installed; None for the others."""
    return ready_cloud(name) if name in RENTED else None


def holder_of(name: str, placement: Placement | None) -> tuple[Cloud, Placement] | None:
    """Return the cloud and the placement to ask it about. None, without installing SDKs, if there is nothing to ask."""
    cloud = rented_cloud(name) if placement else None
    return (cloud, placement) if cloud and placement else None
