"""Whether an existing host can be provisioned: reasons against it, restrictions, and notes for the user.

Pure: facts in, text out. docs/existing-hosts.md has the same as a table.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from core.ports import (
    AGENT_PORT,
    GRAFANA_PORT,
    MONITORING_PORTS,
    OVERFLOW_METRICS_PORT,
    OVERFLOW_PORT,
    SSH_PORT,
    WATCH_METRICS_PORT,
)
from core.reading.rules import Problem
from provisioning.hosts.facts import GATEWAY_PORTS, GIB, HostFacts, Listener
from provisioning.hosts.gpu_names import lacks_cuda
from provisioning.programs.firewall import other_firewalls
from provisioning.programs.firewall.check_firewall import matters
from serving.spec.rules import METRICS_PORT

SUPPORTED = ("debian-12", "ubuntu-22.04", "ubuntu-24.04")
SUPPORTED_WORDS = "Debian 12, Ubuntu 22.04 or Ubuntu 24.04"
ARCHITECTURES = ("x86_64",)
VLLM_PYTHON = (3, 11)
"""The locks in provisioning/locks are for this version; Ubuntu 22.04 has 3.10."""

LITTLE_DISK_GIB = 20
LITTLE_MEMORY_GIB = 4

ENGINE_PORTS = {"vllm": (8000, 8001, 8002, 8003), "ollama": (11434, 11435, 11436)}

SSH_PROGRAMS = ("sshd", "systemd")
"""On Ubuntu 24.04 systemd itself listens on port 22 until the first connection."""

SERVICE_PORTS = (AGENT_PORT, WATCH_METRICS_PORT, OVERFLOW_PORT, OVERFLOW_METRICS_PORT)
"""Where our services listen. Behind a gateway's host the watcher listens beyond loopback; the role opens its port."""

OURS = {
    "haproxy": GATEWAY_PORTS,
    "vllm": ENGINE_PORTS["vllm"],
    "python": ENGINE_PORTS["vllm"] + SERVICE_PORTS,
    "prometheus": MONITORING_PORTS,
    "mtail": MONITORING_PORTS,
    "grafana": (GRAFANA_PORT,),
    "ollama": ENGINE_PORTS["ollama"],
    "sshd": ENGINE_PORTS["vllm"] + ENGINE_PORTS["ollama"],  # the server end of a tunnel
}
"""Programs that an earlier provision may have started, with their ports: these ports count as free."""

VLLM_WORKER = "VLLM::"
"""How vLLM's own processes are called. They talk to each other on ports of loopback that they choose."""

SYSTEMD_IN_WSL = (
    "write `[boot]` and `systemd=true` as two lines into /etc/wsl.conf there, run `wsl --shutdown` in Windows, "
    "open the distribution again and adopt it once more"
)


@dataclass(frozen=True)
class Plan:
    """The values of the inventory that are chosen, not found on the host."""

    engine: str
    gateway_port: int
    engine_port: int


def refusals(facts: HostFacts) -> Iterator[Problem]:
    """Yield the reasons why no role can work on this host, each with a remedy."""
    if facts.wsl == 1:
        yield Problem("", "is WSL 1, which has no Linux kernel", "run `wsl --set-version DISTRIBUTION 2` in Windows")
    elif not facts.has_systemd:
        yield _no_systemd(facts)
    if facts.os_release not in SUPPORTED:
        yield Problem("", f"runs {facts.os_name or facts.os_release}", f"install {SUPPORTED_WORDS}")
    if facts.arch not in ARCHITECTURES:
        yield Problem(
            "", f"is {facts.arch}", f"take a host with {' or '.join(ARCHITECTURES)}: the pinned wheels are for it"
        )
    if not facts.may_set_network:
        yield Problem(
            "",
            "is a container that may not set up a firewall (no CAP_NET_ADMIN)",
            "give it that capability, or adopt the host around it",
        )


def _no_systemd(facts: HostFacts) -> Problem:
    if facts.wsl == 2:  # noqa: PLR2004
        return Problem("", "is WSL 2 without systemd", SYSTEMD_IN_WSL)
    if facts.is_runpod or facts.container:
        name = "a RunPod pod" if facts.is_runpod else f"a container ({facts.container})"
        return Problem(
            "",
            f"is {name} with {facts.init} as process 1, not systemd: nothing would restart engine and gateway",
            "take a virtual machine or a bare host, or an image that starts systemd",
        )
    return Problem("", f"has {facts.init} as process 1, not systemd", "boot it with systemd")


def plan(facts: HostFacts) -> Plan:
    """Return the engine that works there, and free ports."""
    engine = "vllm" if _version(facts.python) >= VLLM_PYTHON else "ollama"
    return Plan(engine, _free(facts, GATEWAY_PORTS), _free(facts, ENGINE_PORTS[engine]))


def notes(facts: HostFacts, plan: Plan) -> Iterator[str]:
    """Yield notes for a person before the first `provision`; none of them prevents it."""
    if plan.engine == "ollama":
        yield f"its Python {facts.python} is too old for vLLM's environment (3.11), so the inventory names Ollama"
    if facts.wsl:
        yield "WSL: Windows keeps clock, swap and kernel, and ends the machine when nobody uses it; see the docs"
    elif facts.virtualization == "container":
        yield f"a container ({facts.container}): the host around it keeps clock, swap and kernel settings"
    if facts.password_logins:
        yield "sshd takes passwords: `provision` turns that off; `password_logins: true` in the inventory keeps it"
    yield from _gpu_notes(facts)
    if facts.memory_gib < LITTLE_MEMORY_GIB:
        yield f"only {facts.memory_gib} GiB of memory: an engine whose model does not fit does not start"
    if facts.disk_free_bytes < LITTLE_DISK_GIB * GIB:
        yield f"{facts.disk_free_bytes / GIB:.0f} GiB of disk are free; vLLM's environment alone takes about 10"
    yield from _already_serving(facts, plan)
    shut = (each for each in facts.closed_ports if each.port == plan.gateway_port)
    yield from (other_firewalls.words(**each.model_dump()) for each in shut)


def _gpu_notes(facts: HostFacts) -> Iterator[str]:
    """Yield notes about the GPUs."""
    if facts.gpus_without_driver:
        words = f" (nvidia-smi: {facts.nvidia_smi.error})" if facts.nvidia_smi.error else ""
        seen = f"{facts.nvidia_pci} NVIDIA GPU on the PCI bus, but no loaded driver sees it{words}"
        if "mismatch" in facts.nvidia_smi.error:
            yield "its NVIDIA driver was upgraded and the previous one is still loaded: reboot it, then adopt it again"
        yield f"{seen}: fill in `gpu` of the inventory, or write `ignore_gpu: true`; the file is invalid until then"
    elif facts.nvidia_pci and facts.gpu is None:
        yield f"{facts.nvidia_pci} NVIDIA GPU on the PCI bus, but this container has no access to it: not used"
    if facts.amd_pci:
        yield f"{facts.amd_pci} AMD GPU: not used, the engine computes on the CPU"
    models = {each.name for each in facts.nvidia_smi.gpus}
    if any(each.mig_slices for each in facts.nvidia_smi.gpus) and facts.gpu is not None:
        yield f"MIG is on: the engine sees one slice, {facts.gpu.model} with {facts.gpu.vram_gib} GiB"
    elif facts.gpu is not None and lacks_cuda(facts.gpu.model):
        yield f"{facts.gpu.model} is a vGPU for desktops, which cannot run CUDA: take a profile that ends in C or Q"
    if facts.gpu is not None and len(models) > 1:
        taken = f"{facts.gpu.count} x {facts.gpu.model}"
        yield f"GPUs of several models ({', '.join(sorted(models))}): the inventory has {taken}"


def kept_open(facts: HostFacts, ssh_port: int) -> dict[str, str]:
    """Return the ports of other programs beyond loopback, as the inventory writes them, with the programs' names.

    sshd is among them if it listens on a port that the firewall does not open anyway.
    """
    found: dict[str, str] = {}
    for each in facts.listeners:
        by_ssh = each.program in SSH_PROGRAMS and each.port in (SSH_PORT, ssh_port)
        by_gateway = each.program == "haproxy" and each.port in GATEWAY_PORTS
        by_watcher = each.program.startswith("python") and each.port == AGENT_PORT
        if each.loopback or (each.protocol == "tcp" and (by_ssh or by_gateway or by_watcher)):
            continue
        if matters(each.protocol, each.port, each.program, facts.ephemeral_ports):
            found.setdefault(f"{each.port}/{each.protocol}", each.program)
    return found


def _free(facts: HostFacts, candidates: tuple[int, ...]) -> int:
    """Return the first port that is free or used by an earlier provision; the first candidate if there is none."""
    others = {each.port for each in facts.listeners if each.protocol == "tcp" and not _may_be_ours(each)}
    return next((port for port in candidates if port not in others), candidates[0])


def _may_be_ours(listener: Listener) -> bool:
    return any(listener.program.lower().startswith(name) and listener.port in ports for name, ports in OURS.items())


def _already_serving(facts: HostFacts, plan: Plan) -> Iterator[str]:
    """Yield the other programs that listen on the host, and what a provision does about them."""
    others = [each for each in facts.listeners if each.program not in SSH_PROGRAMS and not _may_be_ours(each)]
    others = [each for each in others if each.port != METRICS_PORT and each.protocol == "tcp"]
    others = [each for each in others if not (each.loopback and each.program.startswith(VLLM_WORKER))]
    if inside := [each for each in others if each.loopback]:
        yield f"already serving on loopback: {_names(inside)}; not touched"
    if outside := kept_open(facts, SSH_PORT):
        names = ", ".join(f"{port} ({program or 'the kernel, e.g. WireGuard'})" for port, program in outside.items())
        yield f"already serving: {names}; the firewall keeps these ports open; to close one, move it to closed_ports"
    usual = {"gateway": GATEWAY_PORTS[0], "engine": ENGINE_PORTS[plan.engine][0]}
    for what, port in (("gateway", plan.gateway_port), ("engine", plan.engine_port)):
        if port != usual[what]:
            yield f"the {what} gets port {port}, because another program uses {usual[what]}"


def _names(listeners: list[Listener]) -> str:
    return ", ".join(f"{each.program or 'an unknown program'} on {each.port}" for each in listeners)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
