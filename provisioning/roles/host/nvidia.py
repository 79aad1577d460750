"""The NVIDIA driver of a host with GPUs: driver, persistence daemon, metrics.

Keeps an installed driver that is good enough for the engine. Does not install CUDA: the engines bring their own.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from catalog.clouds import MADE
from core.errors import ConfigError
from core.reading.rules import Problem
from infra.capacity.gpu_features import OLLAMA_CAPABILITY, VLLM_CAPABILITY, Capability, Chip, unfit, unfit_on_cpu
from infra.contract.outputs import Gpu, HostRecord
from provisioning.converge.resources import Command, File, Packages, Resource, Unit
from provisioning.hosts.gpu_names import capability_on, lacks_cuda
from provisioning.programs import modules, program
from provisioning.roles.host.layout import CONFIG_DIR, DEVICES_UNIT, ENGINE_UNIT, LIB_DIR
from provisioning.roles.host.nvidia_driver import NVIDIA, OLLAMA_OLD_BELOW, Setup, minimum_driver
from serving.spec.models import ServingSpec

DRIVER_PROGRAM = f"{LIB_DIR}/nvidia-driver"
WANTED = f"{CONFIG_DIR}/nvidia.json"
KEY = "/usr/share/keyrings/llm-deploy-nvidia.asc"
NEEDS_REBOOT = 75
TURING: Capability = (7, 5)
"""The first generation that the open kernel module supports."""
INSTALL_TIMEOUT_S = 3600

REPOSITORY_ID = "command:nvidia-repository"
DRIVER_ID = "command:nvidia-driver"
FABRIC_ID = "command:nvidia-fabric"
DEVICES_ID = f"file:/etc/systemd/system/{DEVICES_UNIT}"
"""An engine on a GPU waits for the last three."""

DEVICES = """\
# Written by llm-deploy (nvidia role). systemd looks up the engine's devices in /proc/devices when the engine's unit
# begins, before its first command: a module that is loaded later is not among them, and CUDA finds no GPU.
[Unit]
Description=NVIDIA modules and device nodes for the engine
After=systemd-modules-load.service systemd-udevd.service nvidia-persistenced.service

[Service]
Type=oneshot
ExecStart=-/bin/sh -c 'exec modprobe -a nvidia nvidia-uvm nvidia-modeset'
ExecStart=-/bin/sh -c 'exec nvidia-modprobe -u {minors}'
ExecStart=-/bin/sh -c 'exec nvidia-modprobe -m'
"""

METRICS_PORT = 9400
METRICS_PACKAGES = ("datacenter-gpu-manager-4-core", "datacenter-gpu-manager-exporter")
"""From NVIDIA's repository in their newest versions: serving does not depend on them."""

NO_NOUVEAU = """\
# Written by llm-deploy (nvidia role): the kernel's own driver holds the GPU otherwise.
blacklist nouveau
options nouveau modeset=0
"""

LEFT_TO_PEOPLE = """\
// Written by llm-deploy (nvidia role). A library that is upgraded under a loaded module breaks CUDA until a reboot.
// Modules that Ubuntu built are another list's, as they are not on every host.
Unattended-Upgrade::Package-Blacklist {
    "nvidia-"; "libnvidia-"; "libcuda1"; "libnvcuvid1"; "cuda-drivers"; "firmware-nvidia-";
};
"""
"""Prefixes of names, as unattended-upgrades reads them; they cover drivers of every origin."""

KERNEL_LEFT_TO_PEOPLE = """\
// Written by llm-deploy (nvidia role). linux-modules-nvidia-* needs the very driver that is left to people, so it stays
// as it is: a newer kernel would come up without a module, and the GPU would be gone after the next reboot.
Unattended-Upgrade::Package-Blacklist { "linux-(image|headers|modules|generic|aws|gcp)"; };
"""

KERNEL_LIST = f"{CONFIG_DIR}/nvidia-kernel.conf"
KERNEL_LISTED = "/etc/apt/apt.conf.d/54llm-deploy-nvidia-kernel"

IF_PREBUILT = """if dpkg-query -W -f '${db:Status-Abbrev}\n' 'linux-modules-nvidia-*' 2>/dev/null | grep -q '^[hi]i'"""
LIST_KERNEL = IF_PREBUILT + '; then install -m 0644 "$0" "$1"; else rm -f "$1"; fi'
KERNEL_IS_LISTED = IF_PREBUILT + '; then cmp -s "$0" "$1"; else test ! -e "$1"; fi'

PERSISTENCE_UNIT = "nvidia-persistenced.service"
PERSISTENCE = """\
# Written by llm-deploy (nvidia role). In place of the package's unit, which on Ubuntu starts without persistence mode.
[Unit]
Description=NVIDIA persistence daemon: the driver stays ready while no program uses the GPU

[Service]
Type=forking
PIDFile=/run/nvidia-persistenced/nvidia-persistenced.pid
RuntimeDirectory=nvidia-persistenced
ExecStart=/usr/bin/nvidia-persistenced --persistence-mode --verbose
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""

MANAGER_UNIT = "nvidia-dcgm.service"
EXPORTER_UNIT = "nvidia-dcgm-exporter.service"
EXPORTER = f"""\
# Written by llm-deploy (nvidia role): metrics are for this host's loopback.
[Service]
ExecStart=
ExecStart=/usr/bin/dcgm-exporter -f /etc/dcgm-exporter/default-counters.csv --address 127.0.0.1:{METRICS_PORT}
"""


def nvidia(host: HostRecord, serving: ServingSpec, setup: Setup = NVIDIA) -> list[Resource]:
    """Return the resources that make the GPUs of `host` work, before the engine's; empty for a host without GPUs.

    A container has the driver of its machine: that driver is checked, and nothing is installed.

    Raises ConfigError if `serving` asks for what the host cannot compute.
    """
    check_processor(host, serving)
    if host.gpu is None:
        return []
    driver = [*_devices(host.gpu), *_driver(host, host.gpu, serving, setup)]
    if host.virtualization == "container":
        return driver
    return [*_kernel(), *_upgrades(), *driver, *_kernel_upgrades(), *_persistence(), *_metrics()]


def with_driver(host: HostRecord, serving: ServingSpec, engine: Sequence[Resource]) -> list[Resource]:
    """Return the engine's resources, on a GPU host after those of the driver that it waits for."""
    driver = nvidia(host, serving)
    awaited = tuple(each.id for each in driver if each.id in (DRIVER_ID, FABRIC_ID, DEVICES_ID))
    units = ENGINE_UNIT.values()
    waiting = (
        replace(each, after=(*each.after, *awaited)) if isinstance(each, Unit) and each.name in units else each
        for each in engine
    )
    return [*driver, *waiting]


def without_repository(resources: Sequence[Resource]) -> list[Resource]:
    """Return a list for a host without network: apt gets its packages from a bundle, so no repository is added."""
    return [
        _from_bundle(replace(each, after=tuple(needed for needed in each.after if needed != REPOSITORY_ID)))
        for each in resources
        if each.id != REPOSITORY_ID
    ]


def installs_driver(resources: Sequence[Resource]) -> bool:
    """Return whether a list installs a driver if there is none; a container's list does not."""
    return any(each.id == FABRIC_ID for each in resources)


def has_old_gpus(resources: Sequence[Resource]) -> bool:
    """Return whether a list is for GPUs before Turing, as far as is known."""
    found = (each for each in resources if isinstance(each, File) and each.path == WANTED)
    return any(json.loads(str(each.content))["before_turing"] for each in found)


def _from_bundle(resource: Resource) -> Resource:
    """Return the driver program's file without its address, and any other resource unchanged."""
    if not isinstance(resource, File) or resource.path != WANTED:
        return resource
    wanted = json.loads(str(resource.content))
    for repository in wanted["repositories"].values():
        repository["uri"] = ""
    return replace(resource, content=_wanted_text(wanted))


def _wanted_text(wanted: Mapping[str, object]) -> str:
    return json.dumps(wanted, indent=2) + "\n"


def check_processor(host: HostRecord, serving: ServingSpec) -> None:
    """Raise ConfigError if `serving` asks for what the host cannot compute; an unknown GPU model passes."""
    name = f"host {host.name}"
    for problem in unfit_on_cpu(serving, name) if host.gpu is None else _unfit_on(host.gpu, serving, name):
        raise ConfigError(problem.what, where=problem.key, hint=problem.hint)


def _unfit_on(gpu: Gpu, serving: ServingSpec, name: str) -> Iterator[Problem]:
    """Yield each demand of the spec that `gpu` cannot meet."""
    if lacks_cuda(gpu.model):
        hint = "give the machine a vGPU profile that ends in C or Q"
        yield Problem("gpu.model", f"{gpu.model} of {name} is a vGPU profile that runs no CUDA program", hint)
    capability = capability_on(gpu)
    if capability is not None:
        yield from unfit(serving, Chip(gpu.model, capability), name, "use another host")


def _kernel() -> list[Resource]:
    """Return the resource that keeps the kernel from loading nouveau."""
    return [File(path="/etc/modprobe.d/llm-deploy-nouveau.conf", content=NO_NOUVEAU)]


def _upgrades() -> list[Resource]:
    """Return the resource that keeps unattended upgrades away from any NVIDIA driver."""
    return [File(path="/etc/apt/apt.conf.d/53llm-deploy-nvidia", content=LEFT_TO_PEOPLE)]


def _kernel_upgrades() -> list[Resource]:
    """Return the resources that keep unattended upgrades away from a kernel with NVIDIA modules of the distribution."""
    kept = File(path=KERNEL_LIST, content=KERNEL_LEFT_TO_PEOPLE)
    words = (KERNEL_LIST, KERNEL_LISTED)
    listed = Command(
        name="nvidia-kernel-upgrades",
        argv=("sh", "-c", LIST_KERNEL, *words),
        check=("sh", "-c", KERNEL_IS_LISTED, *words),
        after=(kept.id, DRIVER_ID),
    )
    return [kept, listed]


def _driver(host: HostRecord, gpu: Gpu, serving: ServingSpec, setup: Setup) -> list[Resource]:
    """Return the repository and the driver."""
    wanted = {
        "engine": serving.engine,
        "capability": VLLM_CAPABILITY if serving.engine == "vllm" else OLLAMA_CAPABILITY,
        "minimum": minimum_driver(serving.engine),
        "old_gpus": _minimum_of_old_gpus(serving),
        "before_turing": (capability_on(gpu) or TURING) < TURING,
        "replace": gpu.replace_driver,
        "replace_hint": _replace_hint(host),
        "version": setup.version,
        "gpu": gpu.model,
        "gpus": gpu.count,
        "container": host.virtualization == "container",
        "repositories": {name: asdict(repository) for name, repository in setup.repositories.items()},
        "key": KEY,
        "root": setup.root,
    }
    files = [
        File(path=DRIVER_PROGRAM, content=program("nvidia/nvidia_driver"), mode=0o755),
        *(
            File(path=f"{LIB_DIR}/llm_nvidia/{name}", content=text)
            for name, text in modules("nvidia/llm_nvidia").items()
        ),
        File(path=KEY, content=setup.public_key),
        File(path=WANTED, content=_wanted_text(wanted)),
    ]
    run = ("python3", DRIVER_PROGRAM, WANTED)
    after = tuple(each.id for each in files)
    repository = Command(
        name="nvidia-repository", argv=(*run, "repository"), check=(*run, "check-repository"), after=after
    )
    driver = Command(
        name="nvidia-driver",
        argv=(*run, "install"),
        check=(*run, "check"),
        timeout_s=INSTALL_TIMEOUT_S,
        reboot_status=NEEDS_REBOOT,
        after=after,
    )
    fabric = Command(
        name="nvidia-fabric", argv=(*run, "fabric"), check=(*run, "check-fabric"), after=(*after, driver.id)
    )
    return [*files, driver] if wanted["container"] else [*files, repository, driver, fabric]


def _minimum_of_old_gpus(serving: ServingSpec) -> list[dict[str, object]]:
    """Return the driver from which the engine uses GPUs below a compute capability, if it differs."""
    if serving.engine != "ollama":
        return []
    return [{"below": OLLAMA_OLD_BELOW, "minimum": minimum_driver("ollama", OLLAMA_CAPABILITY)}]


def _replace_hint(host: HostRecord) -> str:
    """Return a hint how to replace this host's driver."""
    if host.cloud not in MADE:
        return f"write gpu.replace_driver: true for host {host.name}, which installs the pinned one in its place"
    return "use an image without a driver, so that the pinned one is installed"


def _devices(gpu: Gpu) -> list[Resource]:
    """Return the unit that loads modules and makes device nodes before the engine's unit starts."""
    minors = " ".join(f"-c {index}" for index in range(gpu.count))
    return [File(path=f"/etc/systemd/system/{DEVICES_UNIT}", content=DEVICES.format(minors=minors))]


def _persistence() -> list[Resource]:
    """Return the daemon that keeps the driver loaded: without it the first request after a pause waits for seconds."""
    path = f"/etc/systemd/system/{PERSISTENCE_UNIT}"
    return [
        File(path=path, content=PERSISTENCE),
        Unit(name=PERSISTENCE_UNIT, restart_on=(f"file:{path}",), after=(DRIVER_ID,)),
    ]


def _metrics() -> list[Resource]:
    """Return NVIDIA's data-centre GPU manager and its exporter for Prometheus, on loopback."""
    packages = Packages(name="gpu-metrics", present=METRICS_PACKAGES, after=(REPOSITORY_ID, DRIVER_ID))
    drop_in = File(path=f"/etc/systemd/system/{EXPORTER_UNIT}.d/50-llm-deploy.conf", content=EXPORTER)
    return [
        packages,
        drop_in,
        Unit(name=MANAGER_UNIT, after=(packages.id,)),
        Unit(name=EXPORTER_UNIT, restart_on=(drop_in.id,), after=(packages.id,)),
    ]
