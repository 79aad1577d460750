"""Labels by which what takes some is found again, and which kinds of resources take them. The rest has its name."""

from collections.abc import Mapping
from typing import Any

STACK = "llm-deploy-stack"
ID = "llm-deploy-id"
HOST = "llm-deploy-host"
FAMILY = "llm-deploy-family"
KEEP = "llm-deploy-keep"
"""On what `down` leaves in place because the stack file says so."""

LABELLED = frozenset(
    {
        "gcp:compute/address:Address",
        "gcp:compute/disk:Disk",
        "gcp:compute/instance:Instance",
        "gcp:storage/bucket:Bucket",
    }
)
"""Kinds that we make and that take labels; a test compares this with the SDK."""


def own_labels(stack: str, identity: str) -> dict[str, str]:
    """Return the labels of everything that belongs to a stack."""
    return {STACK: stack, ID: identity}


def with_labels(kind: str, props: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the inputs of a resource with `labels` beneath its own; as they are where none are taken."""
    if kind not in LABELLED:
        return dict(props)
    labelled = {**props, "labels": {**labels, **(props.get("labels") or {})}}
    disk = props.get("bootDisk")
    if disk:  # made with the instance; another label means another disk, so it carries none that people change
        params, own = disk["initializeParams"], {key: labels[key] for key in (STACK, ID)}
        labelled["bootDisk"] = {**disk, "initializeParams": {**params, "labels": {**own, **params["labels"]}}}
    return labelled
