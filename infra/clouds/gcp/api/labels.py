"""The labels that find resources again, and the types that take labels. Other types are found by name."""

from collections.abc import Mapping
from typing import Any

STACK = "llm-deploy-stack"
ID = "llm-deploy-id"
HOST = "llm-deploy-host"
FAMILY = "llm-deploy-family"
KEEP = "llm-deploy-keep"
"""On resources that the stack file tells `down` to keep."""

LABELLED = frozenset(
    {
        "gcp:compute/address:Address",
        "gcp:compute/disk:Disk",
        "gcp:compute/instance:Instance",
        "gcp:storage/bucket:Bucket",
    }
)
"""Types that a stack creates and that take labels; a test compares this list with the SDK."""


def own_labels(stack: str, identity: str) -> dict[str, str]:
    """Return the labels of all resources of a stack."""
    return {STACK: stack, ID: identity}


def with_labels(kind: str, props: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a resource's inputs with `labels` added, unless its type has no labels. Its own labels are kept."""
    if kind not in LABELLED:
        return dict(props)
    labelled = {**props, "labels": {**labels, **(props.get("labels") or {})}}
    disk = props.get("bootDisk")
    if disk:  # created with the instance; a changed label replaces the disk, so it has none that people change
        params, own = disk["initializeParams"], {key: labels[key] for key in (STACK, ID)}
        labelled["bootDisk"] = {**disk, "initializeParams": {**params, "labels": {**own, **params["labels"]}}}
    return labelled
