"""What counts as proof that an engine computes on its GPUs, and every way to seem so without."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import CheckError
from infra.contract.outputs import Gpu
from provisioning.hosts.facts import HostFacts
from provisioning.operate import gpu_proof
from provisioning.operate.gpu_proof import GIB, GpuReport, judge, prove_none
from provisioning.programs.nvidia import gpu_report
from serving.spec.models import ServingSpec
from tests.slowness import patient
from tests.unit.provisioning.existing.test_verdict import MACHINE
from tests.unit.provisioning.records import SERVING, host

TWO_L4 = Gpu(model="L4", count=2, vram_gib=22.35)

VLLM: dict[str, Any] = {
    "drivers": ["580.159.04", "580.159.04"],
    "apps": [
        {"gpu": "GPU-a", "pid": 11, "mib": 20000},
        {"gpu": "GPU-b", "pid": 12, "mib": 20000},
        {"gpu": "GPU-b", "pid": 99, "mib": 1000},
    ],
    "engine_pids": [10, 11, 12],
    "weights_bytes": 15 * GIB,
    "platform": "cuda",
    "container": "",
    "models": [],
}
MODEL = {"name": "tiny:latest", "size": 6 * GIB, "vram": 6 * GIB, "file": 5 * GIB}
OLLAMA: dict[str, Any] = {
    **VLLM,
    "apps": [{"gpu": "GPU-a", "pid": 11, "mib": 6200}],
    "weights_bytes": 0,
    "platform": "",
    "models": [MODEL],
}


def judged(seen: dict[str, Any], engine: str = "vllm") -> str:
    return judge(GpuReport.read(seen), TWO_L4, ServingSpec.model_validate({**SERVING, "engine": engine}))


def test_proof_names_the_numbers() -> None:
    assert judged(VLLM) == ("39.1 GiB of VRAM for 15.0 GiB of weights on 2 x L4, driver 580.159.04, vLLM says cuda")
    assert judged(OLLAMA, "ollama").endswith("on 1 x L4, driver 580.159.04, Ollama says 100% GPU")


@pytest.mark.parametrize(
    ("engine", "changed", "words"),
    [
        ("vllm", {"drivers": []}, "nvidia-smi reports 0 GPUs, not 2 x L4"),
        ("vllm", {"drivers": ["580.159.04"]}, "nvidia-smi reports 1 GPUs"),
        ("vllm", {"engine_pids": []}, "vllm.service does not run"),
        ("vllm", {"apps": []}, "no process of vllm.service is on a GPU, so the engine computes on the CPU"),
        ("vllm", {"apps": [{"gpu": "GPU-a", "pid": 99, "mib": 20000}]}, "the engine computes on the CPU"),
        ("vllm", {"apps": [], "container": "wsl"}, "cannot be proved here: nvidia-smi lists no processes in WSL 2"),
        ("ollama", {"apps": [], "container": "lxc"}, "nvidia-smi lists no processes in a container (lxc)"),
        ("vllm", {"apps": [{"gpu": "GPU-a", "pid": 11, "mib": 300}]}, "so the CPU computes part of the model"),
        ("vllm", {"apps": [{"gpu": "GPU-a", "pid": 11, "mib": None}]}, "0.0 GiB of VRAM for 15.0 GiB"),
        ("vllm", {"apps": [{"gpu": "GPU-a", "pid": 11, "mib": 20000}]}, "vLLM uses 1 of 2 GPUs"),
        ("vllm", {"weights_bytes": 0}, "the engine has no weights loaded"),
        ("vllm", {"platform": "cpu"}, "vLLM's platform is not cuda (cpu)"),
        ("vllm", {"platform": ""}, "none in the journal of this start"),
        ("ollama", {"models": [{**MODEL, "vram": 3 * GIB}]}, "Ollama has 50% of tiny:latest on the GPU, not 100%"),
        (
            "ollama",
            {"apps": [], "models": [{**MODEL, "vram": 0}]},
            "no process of ollama.service is on a GPU, so the engine comp",
        ),
        ("ollama", {"models": [{**MODEL, "vram": 0}]}, "Ollama has 0% of tiny:latest on the GPU, not 100%"),
        ("ollama", {"models": []}, "the engine has no weights loaded"),
    ],
)
def test_contradiction_is_reported(engine: str, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckError) as caught:
        judged({**(VLLM if engine == "vllm" else OLLAMA), **changed}, engine)
    assert words in str(caught.value)


SEEN_BY_ITS_DRIVER = {"gpus": [{"name": "NVIDIA L4", "memory_mib": 23034, "driver": "580.95.05"}]}


@pytest.mark.parametrize(
    ("facts", "idle"),
    [
        ({}, False),
        ({"amd_pci": 1}, False),
        ({"nvidia_pci": 1}, True),
        ({"nvidia_pci": 1, "nvidia_smi": SEEN_BY_ITS_DRIVER}, True),
        ({"nvidia_pci": 1, "container": "systemd-nspawn"}, False),
        ({"nvidia_pci": 1, "container": "systemd-nspawn", "nvidia_smi": SEEN_BY_ITS_DRIVER}, True),
        ({"kernel": "5.15.167.4-microsoft-standard-WSL2", "nvidia_smi": SEEN_BY_ITS_DRIVER}, True),
    ],
    ids=["none", "amd", "no-driver", "driver", "container-beside-it", "container-with-it", "wsl"],
)
def test_gpu_without_a_record_is_idle(facts: dict[str, Any], idle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_proof, "look", lambda _: HostFacts(**MACHINE | facts))
    if not idle:
        assert prove_none(host()) == "the host has no NVIDIA GPU"
        return
    with pytest.raises(CheckError, match="1 NVIDIA GPU is idle: the engine computes on the CPU"):
        prove_none(host())


def test_a_gpu_that_is_left_idle_on_purpose_is_not_looked_for() -> None:
    assert prove_none(host(ignore_gpu=True)) == "computes on the CPU, as ignore_gpu says"


def test_the_report_of_a_host_without_gpu_or_engine_proves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, gpu_report.__file__, "no-such-unit.service", "vllm", "1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=patient(60),
    )
    with pytest.raises(CheckError):
        judged(json.loads(done.stdout))


def test_processes_that_the_driver_cannot_tell_apart_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """In WSL 2 and in containers nvidia-smi may answer with words instead of processes."""
    said = "GPU-a, 11, 300\nGPU-b, 12, [N/A]\nGPU-b, [Not Found], 700\n[Not Supported]\n"
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(gpu_report, "output", lambda *_: said)
    assert gpu_report.processes_on_gpus() == [
        {"gpu": "GPU-a", "pid": 11, "mib": 300},
        {"gpu": "GPU-b", "pid": 12, "mib": None},
    ]


def test_weights_are_those_of_the_kind_that_the_engine_loads(tmp_path: Path) -> None:
    """A repository that holds the same weights twice is not taken for a model of twice the size."""
    (tmp_path / "model.safetensors").write_bytes(b"x" * 300)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 900)
    program = [sys.executable, "-c", "print('runs', flush=True); input()", "--model", str(tmp_path)]
    engine = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert engine.stdout
        engine.stdout.readline()  # before it runs, its command line is still ours
        assert gpu_report.vllm_weights(str(engine.pid)) == 300
    finally:
        engine.kill()
        engine.communicate()
    assert gpu_report.vllm_weights(str(engine.pid)) == 0
