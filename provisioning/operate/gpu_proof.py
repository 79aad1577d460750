"""Checks that an engine computes on its host's GPUs, by what driver and kernel report about its processes.

The most frequent silent failure: the CPU computes, and you pay for an idle GPU. Sends no request to the engine, because
the caller has just sent one.
"""

from dataclasses import dataclass
from typing import Any

from core.errors import CheckError, HostError, UsageError
from infra.contract.outputs import Gpu, HostRecord
from provisioning.hosts.look import look
from provisioning.roles.host.layout import ENGINE_UNIT
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget
from serving.spec.models import ServingSpec

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class GpuReport:
    """What the program gpu_report printed. Sizes in bytes."""

    drivers: tuple[str, ...]
    """The driver's version, once for each GPU that answers."""
    engine_gpus: int
    """Number of GPUs that the engine's processes use."""
    engine_vram: int
    engine_runs: bool
    weights: int
    platform: str
    """The device that vLLM logged at its start."""
    container: str
    """As systemd-detect-virt prints it, e.g. wsl; empty if the driver sees all processes."""
    models: tuple[dict[str, Any], ...]
    """The models that Ollama has loaded."""

    @classmethod
    def read(cls, seen: dict[str, Any]) -> "GpuReport":
        """Return the report; memory that the driver does not report counts as 0."""
        apps = [app for app in seen["apps"] if app["pid"] in seen["engine_pids"]]
        return cls(
            drivers=tuple(seen["drivers"]),
            engine_gpus=len({app["gpu"] for app in apps}),
            engine_vram=sum((app["mib"] or 0) * MIB for app in apps),
            engine_runs=bool(seen["engine_pids"]),
            weights=seen["weights_bytes"] or sum(model["file"] for model in seen["models"]),
            platform=seen["platform"],
            container=seen["container"],
            models=tuple(seen["models"]),
        )


def prove(host: HostRecord, serving: ServingSpec) -> str:
    """Return the proof that `host` computes on its GPUs. Raises CheckError if something contradicts it."""
    assert host.gpu is not None  # noqa: S101 (asked of GPU hosts only)
    try:
        with connect(SshTarget.of(host)) as connection:
            unit = ENGINE_UNIT[serving.engine]
            said = ask_program(
                connection, SshTarget.of(host), "nvidia/gpu_report", unit, serving.engine, str(serving.port)
            )
    except HostError as error:
        raise CheckError(f"could not be checked: {error}") from error
    return judge(GpuReport.read(said), host.gpu, serving)


def prove_none(host: HostRecord) -> str:
    """Return the proof that `host`, whose record has no GPU, has none. Raises CheckError for an idle GPU."""
    if host.ignore_gpu:
        return "computes on the CPU, as ignore_gpu says"
    try:
        facts = look(SshTarget.of(host))
    except (HostError, UsageError) as error:
        raise CheckError(f"could not be checked: {error}") from error
    if not (idle := facts.gpus_without_driver or len(facts.nvidia_smi.gpus)):
        return "the host has no NVIDIA GPU"
    gpus = "GPU is" if idle == 1 else "GPUs are"
    hint = f"write `gpu:` or `ignore_gpu: true` into the inventory of {host.name}"
    raise CheckError(f"{idle} NVIDIA {gpus} idle: the engine computes on the CPU", hint=hint)


def judge(report: GpuReport, gpu: Gpu, serving: ServingSpec) -> str:
    """Return the proof in words. Raises CheckError with the first contradiction."""
    unit = ENGINE_UNIT[serving.engine]
    if len(report.drivers) < gpu.count:
        raise CheckError(f"nvidia-smi reports {len(report.drivers)} GPUs, not {gpu.count} x {gpu.model}")
    if not report.engine_runs:
        raise CheckError(f"{unit} does not run")
    if not report.engine_gpus:
        raise CheckError(_no_process(unit, report.container))
    if not report.weights:
        raise CheckError("the engine has no weights loaded")
    sizes = f"{report.engine_vram / GIB:.1f} GiB of VRAM for {report.weights / GIB:.1f} GiB of weights"
    if report.engine_vram < report.weights:
        raise CheckError(f"{unit} holds {sizes}, so the CPU computes part of the model")
    platform = _vllm(report, gpu) if serving.engine == "vllm" else _ollama(report)
    return f"{sizes} on {report.engine_gpus} x {gpu.model}, driver {report.drivers[0]}, {platform}"


def _no_process(unit: str, container: str) -> str:
    """Return the error if no process of the engine is on a GPU.

    In a container the driver never lists processes, so an empty list proves nothing.
    """
    if not container:
        return f"no process of {unit} is on a GPU, so the engine computes on the CPU"
    place = "WSL 2" if container == "wsl" else f"a container ({container})"
    return f"whether {unit} uses the GPU cannot be proved here: nvidia-smi lists no processes in {place}"


def _vllm(report: GpuReport, gpu: Gpu) -> str:
    """Return vLLM's report as words. vLLM must be on all GPUs of the host, because it spreads a model over them."""
    if report.platform != "cuda":
        named = report.platform or "none in the journal of this start"
        raise CheckError(f"vLLM's platform is not cuda ({named}); `make restart` makes vLLM log it again")
    if report.engine_gpus < gpu.count:
        raise CheckError(f"vLLM uses {report.engine_gpus} of {gpu.count} GPUs")
    return "vLLM says cuda"


def _ollama(report: GpuReport) -> str:
    """Return Ollama's report as words. Each loaded model must be wholly in VRAM."""
    for model in report.models:
        if model["vram"] < model["size"]:
            raise CheckError(f"Ollama has {model['vram'] / model['size']:.0%} of {model['name']} on the GPU, not 100%")
    return "Ollama says 100% GPU"
