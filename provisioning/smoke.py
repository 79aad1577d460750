"""The smoke test of a stack, with what only its hosts can tell: that they compute on their GPUs. Changes nothing."""

from core.errors import CheckError
from provisioning.gpu_proof import prove
from provisioning.inventory import load
from provisioning.target import Target
from serving.endpoint import endpoint_file, read_endpoint
from serving.smoke import smoke as smoke_endpoint


def smoke(target: Target, *, wait_s: float, as_json: bool) -> int:
    """Check the endpoint that `provision` wrote, then its GPU hosts; return 1 when a check failed."""
    outputs = load(target)
    endpoint = read_endpoint(endpoint_file(outputs.stack), hint=target.command("provision"))
    hosts = {host.name: host for host in outputs.hosts}

    def look_at_gpu(name: str) -> str:
        if name not in hosts:
            raise CheckError(f"{target.name} has no host {name} any more; provision writes the endpoint anew")
        return prove(hosts[name], outputs.serving)

    return smoke_endpoint(endpoint, wait_s=wait_s, as_json=as_json, look_at_gpu=look_at_gpu)
