"""A machine that looks like a GPU host: kernel facts in a separate folder, a repository on its loopback."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import File, Resource, Tree, Unit
from provisioning.roles.host.nvidia import nvidia
from provisioning.roles.host.nvidia_driver import Repository, Setup
from serving.spec.models import ServingSpec
from tests.machine.converge_host import Seen, bring, moved, remote
from tests.machine.nvidia.repository import FACTS, KERNEL, build, driver, kernel, meta, metrics
from tests.unit.provisioning.records import SERVING

L4 = {"model": "L4", "count": 1, "vram_gib": 22.35}
PINNED, NEWER, NEWEST = "580.159.04", "580.200.01", "595.71.05"

PORT = 8099
URI = f"http://127.0.0.1:{PORT}/"
PACKAGES = ("nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced", "nvidia-modprobe")

EFIVAR = f"{FACTS}/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

SERVER = f"""\
[Service]
ExecStart=/usr/bin/python3 -m http.server {PORT} --bind 127.0.0.1 --directory /srv/repository
[Install]
WantedBy=multi-user.target
"""

FORGET = """
exec 2>/dev/null
apt-mark unhold '*nvidia*' libcuda1
dpkg --purge --force-depends $(dpkg-query -W -f '${Package} ' '*nvidia*' libcuda1 'linux-headers-*' 'linux-image-*')
rm -rf /var/lib/apt/lists/* /var/lib/llm-deploy/nvidia-reboot.json /usr/local/bin/nvidia-smi
rm -f /etc/apt/preferences.d/llm-deploy-nvidia* /etc/apt/sources.list.d/llm-deploy-nvidia.sources
rm -f /etc/apt/sources.list.d/cuda.list
"""


@dataclass(frozen=True)
class GpuHost:
    """The machine, and the role's input about it."""

    record: HostRecord
    setup: Setup

    def becomes(self, *, gpus: int = 1, kernel: str = KERNEL, secure_boot: bool = False, switches: int = 0) -> None:
        """Give the machine these facts, now and after a reboot, and remove every driver."""
        facts = {f"{FACTS}/proc/sys/kernel/osrelease": kernel}
        for index, kind in enumerate(["0x030200"] * gpus + ["0x068000"] * switches):
            device = f"{FACTS}/sys/bus/pci/devices/0000:00:{index:02x}.0"
            facts |= {f"{device}/vendor": "0x10de", f"{device}/class": kind}
        lines = [f"f+ {path} 0644 - - - {content}" for path, content in facts.items()]
        value = base64.b64encode(bytes((6, 0, 0, 0, int(secure_boot)))).decode()
        lines.append(f"f+~ {EFIVAR} 0644 - - - {value}")
        remote(
            self.record,
            f"( {FORGET} )\nrm -rf {FACTS}\ncat > /etc/tmpfiles.d/gpu.conf <<'END'\n"
            + "\n".join(lines)
            + "\nEND\nsystemd-tmpfiles --create gpu.conf",
        )

    def desired(self, **changed: object) -> list[Resource]:
        """Return the role's list."""
        record = moved(self.record, **changed) if changed else self.record
        return nvidia(record, ServingSpec.model_validate(SERVING), self.setup)

    def bring(self, resources: Sequence[Resource] | None = None) -> Seen:
        """Run the list."""
        return bring(self.record, self.desired() if resources is None else resources)

    def pinned_to(self, version: str) -> "GpuHost":
        """Return the host with another driver as the pinned one."""
        return replace(self, setup=replace(self.setup, version=version))

    def run(self, command: str) -> str:
        """Return what a command prints."""
        return remote(self.record, command)

    def driver(self) -> str:
        """Return nvidia-smi's driver version; empty if it does not answer."""
        return self.run("nvidia-smi --query-gpu=driver_version --format=csv,noheader || true").strip()


def with_repository(machine: HostRecord, folder: Path) -> GpuHost:
    """Copy the stand-in repository to `machine` without adding it to apt: the role does that."""
    packages = [*driver(PINNED), *driver(NEWER), *driver(NEWEST), *metrics(), *kernel(KERNEL), meta("1")]
    repository = folder / "repository"
    key = build(repository, packages)
    served: list[Resource] = [
        Tree(path="/srv/repository", source=repository),
        File(path="/etc/systemd/system/repository.service", content=SERVER),
        File(path="/etc/apt/sources.list", content="# Nothing of what is installed here comes from elsewhere.\n"),
        File(path="/etc/apt/apt.conf.d/99direct", content='Acquire::http::Proxy::127.0.0.1 "DIRECT";\n'),
        Unit(name="repository.service"),
    ]
    assert bring(machine, served).result.ok
    known = Repository(uri=URI, packages=PACKAGES, switch_packages=("nvidia-fabricmanager-580",))
    gpu = HostRecord.model_validate({**json.loads(machine.model_dump_json()), "gpu": L4, "virtualization": "vm"})
    return GpuHost(gpu, Setup(version=PINNED, key=key, repositories={"debian-12": known}, root=FACTS))
