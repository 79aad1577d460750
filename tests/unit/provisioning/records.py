"""Hosts and stacks as tests need them: whole and valid, with what a test cares about changed."""

from typing import Any

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.ssh.target import SshTarget

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPY59RKhKeW0ulxNA5FpsHvgFWcGJlkk1IqszDHIC2Rr"

SERVING: dict[str, Any] = {"model": {"name": "tiny", "source": {"kind": "tiny", "name": "llama"}}}


def host_values(name: str = "one", **changed: Any) -> dict[str, Any]:
    """Return a host as an inventory holds it."""
    values = {"name": name, "address": "203.0.113.7", "user": "admin", "host_keys": [HOST_KEY]}
    return {**values, "cpu_count": 2, "memory_gib": 32, **changed}


def stack_values(*hosts: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Return a stack as an inventory holds it."""
    return {"stack": "test", "hosts": list(hosts or [host_values()]), "serving": SERVING, **changed}


def host(name: str = "one", **changed: Any) -> HostRecord:
    """Return a host."""
    return HostRecord.model_validate(host_values(name, **changed))


def ssh_target(name: str = "one", **changed: Any) -> SshTarget:
    """Return how a host is reached."""
    return SshTarget.of(host(name, **changed))


def stack(*hosts: dict[str, Any], **changed: Any) -> StackOutputs:
    """Return a stack."""
    return StackOutputs.model_validate(stack_values(*hosts, **changed))
