"""The NVIDIA driver on a real machine with systemd, apt and a signed repository; only driver and GPU are stand-ins."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import CheckError
from infra.contract.outputs import Gpu
from provisioning.apply.reboots import bring as bring_with_reboot
from provisioning.apply.reboots import reboot_and_wait
from provisioning.converge.result import Progress
from provisioning.operate.gpu_proof import prove
from provisioning.roles.host.nvidia import DRIVER_ID, KEY, METRICS_PORT
from serving.spec.models import ServingSpec
from tests.machine.converge_host import poll
from tests.machine.machines import making_machines
from tests.machine.nvidia.host import L4, NEWER, NEWEST, PINNED, URI, GpuHost, with_repository
from tests.machine.nvidia.repository import FACTS, KERNEL
from tests.unit.provisioning.records import SERVING


@pytest.fixture(scope="module")
def gpu_host(machine_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuHost]:
    """A machine for this module only; each test sets its facts first."""
    with making_machines(machine_state) as make:
        yield with_repository(make("gpu"), tmp_path_factory.mktemp("standin"))


def only_failure(host: GpuHost, **changed: object) -> str:
    """Return why the driver cannot be installed; its dependants are skipped, and no package is installed."""
    result = host.bring(host.desired(**changed)).result
    assert [failed.id for failed in result.failed] == [DRIVER_ID]
    assert "\n" not in result.failed[0].error
    assert host.run("dpkg-query -W -f '${db:Status-Status}' nvidia-driver-cuda 2>/dev/null || true") in (
        "",
        "not-installed",
    )
    return result.failed[0].error


def test_hosts_that_cannot_have_a_driver_report_why_in_one_line(gpu_host: GpuHost) -> None:
    gpu_host.becomes(gpus=0)
    assert only_failure(gpu_host).startswith("no NVIDIA GPU is on the PCI bus, and 1 x L4 should be; choose a machine")
    gpu_host.becomes(secure_boot=True)
    assert "Secure Boot is on: the kernel would refuse" in only_failure(gpu_host)
    gpu_host.becomes(kernel="6.6.0-custom")
    assert only_failure(gpu_host).startswith("kernel 6.6.0-custom has no headers in apt (linux-headers-6.6.0-custom)")
    gpu_host.becomes()
    assert only_failure(gpu_host, virtualization="container").startswith("this container has no NVIDIA driver")


def test_a_repository_that_another_key_signed_is_refused(gpu_host: GpuHost) -> None:
    """NVIDIA did not sign the stand-ins; the role installs NVIDIA's key unless a test sets another."""
    gpu_host.becomes()
    trusting_nvidia = replace(gpu_host, setup=replace(gpu_host.setup, key=""))
    result = trusting_nvidia.bring(trusting_nvidia.desired()).result
    assert [failed.id for failed in result.failed] == [DRIVER_ID]
    assert "is not signed" in result.failed[0].detail
    assert gpu_host.driver() == ""


def test_the_pinned_driver_is_installed_without_a_reboot_and_stays(gpu_host: GpuHost) -> None:
    """One run; held and pinned against newer versions of the same repository; metrics on loopback only."""
    gpu_host.becomes()
    first = gpu_host.bring().result
    assert first.ok, [(each.id, each.error, each.detail) for each in (*first.failed, *first.skipped)]
    assert (first.reboot, first.round_trips, gpu_host.driver()) == (None, 1, PINNED)
    again = gpu_host.bring().result
    assert (again.changed, again.round_trips) == ((), 1)
    held = gpu_host.run("apt-mark showhold").split()
    assert {"libcuda1", "nvidia-driver-cuda", "nvidia-kernel-open-dkms"} <= set(held)
    gpu_host.run("apt-mark unhold '*nvidia*' libcuda1; apt-get -q -y dist-upgrade")
    assert gpu_host.driver() == PINNED
    assert [each.id for each in gpu_host.bring().result.changed] == [DRIVER_ID]
    assert gpu_host.run("apt-mark showhold").split() == held
    assert "linux-headers-standin-amd64" in gpu_host.run("dpkg-query -W -f '${Package}\\n' 'linux-headers-*'")
    assert gpu_host.run(f"ss -Hltn sport = :{METRICS_PORT}").split()[3] == f"127.0.0.1:{METRICS_PORT}"
    assert gpu_host.run("systemctl is-active nvidia-persistenced nvidia-dcgm").split() == ["active", "active"]


def test_a_driver_in_use_is_replaced_by_a_reboot_that_may_be_cut_off(gpu_host: GpuHost) -> None:
    """Upgrade and roll back. Until the reboot each run requests it again; afterwards only the rest is done."""
    gpu_host.becomes()
    assert gpu_host.bring().result.ok
    gpu_host.run(f"touch {FACTS}/in-use")
    newer = gpu_host.pinned_to(NEWER)
    for _ in range(2):  # cut off before the reboot, and run again
        waiting = newer.bring().result
        assert not waiting.ok
        assert waiting.reboot, waiting.failed
        assert waiting.reboot.reboot == f"driver {NEWER} is installed, and driver {PINNED} in use until a reboot"
        assert "unit:nvidia-persistenced.service" in {each.id for each in waiting.skipped}
    reboot_and_wait(newer.record, lambda _: None)  # as an interrupted run would have left it
    poll(lambda: newer.driver() == NEWER)  # loaded by the boot itself
    assert DRIVER_ID not in {each.id for each in newer.bring().result.changed}

    older = gpu_host.bring().result  # like a colleague with an older checkout: the newer driver stays silently
    assert older.ok
    assert (DRIVER_ID in {each.id for each in older.changed}, gpu_host.driver()) == (False, NEWER)
    newer.run(f"touch {FACTS}/in-use")
    said: list[str] = []
    record = gpu_host.record.model_copy(update={"cloud": "local"})
    with_word = gpu_host.desired(gpu=Gpu.model_validate({**L4, "replace_driver": True}))
    rolled_back = bring_with_reboot(
        record,
        with_word,
        dry_run=False,
        on_event=lambda _, event: said.append(event.text) if isinstance(event, Progress) else None,
    )
    assert rolled_back.ok
    assert rolled_back.reboot is None
    assert "waiting for the host to come back" in said
    assert f"driver {PINNED} is installed, and driver {NEWER} in use until a reboot" in {
        words for each in rolled_back.changed if each.id == "reboot" for words in each.changes
    }
    assert gpu_host.driver() == PINNED
    assert gpu_host.bring(with_word).result.changed == ()


def test_a_foreign_driver_that_needs_a_reboot_is_not_changed(gpu_host: GpuHost) -> None:
    """The owner's newer driver was downgraded to the pinned one, and its module unloaded."""
    gpu_host.becomes()
    debs = f"*nvidia*_{PINNED}-1.deb libcuda1_{PINNED}-1.deb linux-headers-{KERNEL}_1.deb"
    gpu_host.run(f"cd /srv/repository && dpkg -i {debs} && modprobe nvidia")
    upgraded = f"*nvidia*_{NEWEST}-1.deb libcuda1_{NEWEST}-1.deb"
    gpu_host.run(f"cd /srv/repository && dpkg -i {upgraded}")
    packages = gpu_host.run("dpkg-query -W '*nvidia*' libcuda1")
    assert "version mismatch" in gpu_host.driver()
    waiting = gpu_host.bring().result
    assert waiting.reboot, waiting.failed
    assert waiting.reboot.reboot == f"driver {NEWEST} is installed, and driver {PINNED} in use until a reboot"
    assert gpu_host.run("dpkg-query -W '*nvidia*' libcuda1") == packages
    assert gpu_host.run(f"cat {FACTS}/sys/module/nvidia/version") == PINNED
    assert "llm-deploy-nvidia\n" not in gpu_host.run("ls /etc/apt/preferences.d; apt-mark showhold")
    gpu_host.run(f"rm -r {FACTS}/sys/module/nvidia")  # as the reboot would: the next boot loads what is installed
    last = gpu_host.bring().result
    assert last.ok, [(each.id, each.error) for each in last.failed]
    assert gpu_host.driver() == NEWEST


DEAD = "deb http://127.0.0.9:9/gone jammy main"
"""At a separate address: after one port of an address has refused apt, it tries no other port there."""

UNSIGNED = f"deb {URI}foreign/ ./"


def test_dead_foreign_sources_do_not_stop_the_role(gpu_host: GpuHost) -> None:
    """Any source that apt could not read stopped the role: an unreachable one, and an unsigned one."""
    gpu_host.becomes()
    gpu_host.run(
        f"mkdir -p /srv/repository/foreign; printf '{DEAD}\n{UNSIGNED}\n' > /etc/apt/sources.list.d/foreign.list"
    )
    try:
        first = gpu_host.bring().result
        said = [words for each in first.changed if each.id == DRIVER_ID for words in each.changes]
    finally:
        gpu_host.run("rm /etc/apt/sources.list.d/foreign.list; rmdir /srv/repository/foreign")
    assert first.ok, "".join(f"{each.id}: {each.error}\n{each.detail}" for each in first.failed)
    assert gpu_host.driver() == PINNED
    assert any(words.startswith("warning: apt-get update: E: The repository") and "foreign" in words for words in said)


def test_existing_hosts_are_not_rebooted_and_no_reboot_is_requested_twice(gpu_host: GpuHost) -> None:
    gpu_host.becomes()
    gpu_host.run(f"mkdir -p {FACTS}/sys/module/nouveau")
    boot_id = gpu_host.run("cat /proc/sys/kernel/random/boot_id")
    record = gpu_host.record.model_copy(update={"cloud": "existing"})
    result = bring_with_reboot(record, gpu_host.desired(), dry_run=False, on_event=lambda *_: None)
    assert [each.id for each in result.failed] == [DRIVER_ID]
    assert "nouveau in use until a reboot; existing hosts are not rebooted automatically" in result.failed[0].error
    assert gpu_host.run("cat /proc/sys/kernel/random/boot_id") == boot_id
    assert "blacklist nouveau" in gpu_host.run("cat /etc/modprobe.d/*")
    gpu_host.run(f"sed -i 's/{boot_id.strip()}/an-earlier-boot/' /var/lib/llm-deploy/nvidia-reboot.json")
    (failed,) = gpu_host.bring().result.failed
    assert "does not work even after a reboot" in failed.error


def test_a_kernel_without_headers_gets_the_driver_for_the_next_kernel(gpu_host: GpuHost) -> None:
    """The running kernel has been replaced and its headers removed: the next kernel gets the driver.

    A machine with NVSwitch also gets the manager without which CUDA would not start.
    """
    gpu_host.becomes(kernel="6.1.0-98-standin-amd64", switches=1)
    gpu_host.run(f"dpkg -i /srv/repository/linux-image-{KERNEL}_1.deb")
    waiting = gpu_host.bring().result
    assert waiting.reboot, waiting.failed
    assert "kernel 6.1.0-98-standin-amd64 in use until a reboot" in waiting.reboot.reboot
    gpu_host.run(f"echo {KERNEL} > {FACTS}/proc/sys/kernel/osrelease")  # like a boot of the newer kernel
    assert gpu_host.bring().result.ok
    assert gpu_host.driver().splitlines()[0] == PINNED
    assert gpu_host.run("systemctl is-active nvidia-fabricmanager") == "active\n"


ENGINE = f"""\
[Service]
ExecStart=/usr/bin/python3 -uc "print('... device_config=cuda, ...'); import time; time.sleep(99999)" --model /srv/model
ExecStartPost=/bin/sh -c 'echo "GPU-a, $MAINPID, 20000" > {FACTS}/compute-apps'
[Install]
WantedBy=multi-user.target
"""


def test_an_engine_on_the_gpu_is_proved_and_one_beside_it_is_not_also_after_a_reboot(gpu_host: GpuHost) -> None:
    gpu_host.becomes()
    assert gpu_host.bring().result.ok
    gpu_host.run(
        "mkdir -p /srv/model; truncate -s 15G /srv/model/model.safetensors\n"
        f"cat > /etc/systemd/system/vllm.service <<'END'\n{ENGINE}END\n"
        "systemctl daemon-reload; systemctl enable --now vllm"
    )
    serving = ServingSpec.model_validate(SERVING)
    words = f"19.5 GiB of VRAM for 15.0 GiB of weights on 1 x L4, driver {PINNED}, vLLM says cuda"
    assert prove(gpu_host.record, serving) == words
    reboot_and_wait(gpu_host.record, lambda _: None)
    poll(lambda: gpu_host.run(f"cat {FACTS}/compute-apps 2>/dev/null || true") and gpu_host.driver())
    assert prove(gpu_host.record, serving) == words
    gpu_host.run(f"sed -i 's/, .*,/, 1,/' {FACTS}/compute-apps")  # another program has the memory
    # On a machine that is not a container it says "computes on the CPU":
    # tests/unit/provisioning/operate/test_gpu_proof.py
    with pytest.raises(CheckError, match=r"cannot be proved here: nvidia-smi lists no processes in a container"):
        prove(gpu_host.record, serving)


def test_apt_does_not_change_a_foreign_driver(gpu_host: GpuHost) -> None:
    """NVIDIA's repository, added for the metrics, let the next upgrade replace libraries under a loaded module."""
    gpu_host.becomes()
    debs = f"*nvidia*_{NEWER}-1.deb libcuda1_{NEWER}-1.deb linux-headers-{KERNEL}_1.deb"
    gpu_host.run(f"cd /srv/repository && dpkg -i {debs} && modprobe nvidia")
    seen = gpu_host.bring().result
    assert seen.ok, [(each.id, each.error, each.detail) for each in (*seen.failed, *seen.skipped)]
    assert gpu_host.bring().result.changed == ()
    gpu_host.run("apt-get -q update && apt-get -q -y dist-upgrade")
    assert gpu_host.driver() == NEWER
    assert gpu_host.run("apt-mark showhold") == ""


@pytest.mark.parametrize("version", [NEWEST, "580.65.06"])
def test_a_driver_that_is_good_enough_is_not_changed(gpu_host: GpuHost, version: str) -> None:
    """From an image, with or without packages; with its own entry of the repository, which apt accepts only once."""
    gpu_host.becomes()
    program = f"#!/bin/sh\necho {version}\n"
    gpu_host.run(f"printf '{program}' > /usr/local/bin/nvidia-smi; chmod 755 /usr/local/bin/nvidia-smi")
    gpu_host.run(f"echo 'deb [signed-by={KEY}] {URI} /' > /etc/apt/sources.list.d/cuda.list")
    seen = gpu_host.bring(
        [each for each in gpu_host.desired() if "persistence" not in each.id and "dcgm" not in each.id]
    )
    assert seen.statuses[DRIVER_ID] == "ok"
    assert seen.result.failed == ()
    assert gpu_host.run("ls /etc/apt/preferences.d; apt-mark showhold; ls /etc/apt/sources.list.d") == "cuda.list\n"
