"""The smoke test of a stack, with a check on its hosts that no GPU is idle. Changes nothing."""

from catalog.clouds import ON_THIS_COMPUTER
from core.errors import CheckError
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from provisioning.hosts.topology import HostRole, Topology
from provisioning.operate.gpu_proof import prove, prove_none
from serving.endpoint import endpoint_file, read_endpoint
from serving.smoke.run import smoke as smoke_endpoint


def smoke(target: Target, *, wait_s: float, as_json: bool) -> int:
    """Check the endpoint that `provision` wrote, then the engines' hosts; return 1 if a check failed.

    A host whose record has no GPU may still have one, idle, so it is checked too. A local machine has no GPU.
    """
    outputs = load(target)
    endpoint = read_endpoint(endpoint_file(outputs.stack), hint=f"run `{target.command('provision')}`, which writes it")
    hosts = {host.name: host for host in Topology(outputs).hosts_with(HostRole.ENGINE)}
    asked = (*endpoint.gpu_hosts, *(name for name, host in hosts.items() if host.cloud not in ON_THIS_COMPUTER))
    endpoint = endpoint.model_copy(update={"gpu_hosts": tuple(dict.fromkeys(asked))})

    def look_at_gpu(name: str) -> str:
        if name not in hosts:
            raise CheckError(
                f"{target.name} no longer has an engine on {name}; run provision, which updates the endpoint"
            )
        host = hosts[name]
        return prove(host, outputs.serving_of(host)) if host.gpu else prove_none(host)

    def next_commands(ok: bool) -> list[str]:
        passed = ("status", "down") if target.stack else ("status",)
        return [target.command(each) for each in (passed if ok else ("logs", "provision"))]

    try:
        return smoke_endpoint(
            endpoint,
            wait_s=wait_s,
            as_json=as_json,
            look_at_gpu=look_at_gpu,
            next_commands=next_commands,
            bring_key=f"`{target.command('provision')}`",
        )
    except CheckError as error:
        hint = f"see `{target.command('status')}` and `{target.command('logs')}`"
        raise CheckError(error.what, where=error.where, hint=hint) from error
