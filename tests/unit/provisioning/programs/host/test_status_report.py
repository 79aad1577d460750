"""A host's report: memory of a container, the gateway's queue, GPUs; a broken part does not stop the others."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.paths import CHECKOUT
from provisioning.programs.host import status_report as report
from provisioning.programs.nvidia.llm_nvidia import main as driver
from tests.doubles.engine import ENGINE_KEY, EngineDouble, running_engine
from tests.doubles.running import running
from tests.gateways import RunningGateway, engine_pool, free_port, gateway_before, gateway_spec, wait_for
from tests.unit.provisioning.conftest import NewGateway

GIB = 1024**3
INFO = {"MemTotal": 64 * GIB, "MemAvailable": 50 * GIB}
V1_LIMIT = "memory/memory.limit_in_bytes"
V1 = {"memory/memory.usage_in_bytes": f"{GIB}\n", "memory/memory.stat": f"cache 9\ntotal_inactive_file {GIB // 4}\n"}
V2 = {"memory.current": f"{GIB}\n", "memory.stat": f"anon 9\ninactive_file {GIB // 4}\n"}

MEMORY = {
    "a host of its own": ({}, 64, 50),
    "container, version 1": ({**V1, V1_LIMIT: f"{4 * GIB}\n"}, 4, 3.25),
    "container, version 2": ({**V2, "memory.max": f"{4 * GIB}\n"}, 4, 3.25),
    "container without a limit, version 1": ({**V1, V1_LIMIT: "9223372036854771712\n"}, 64, 50),
    "container without a limit, version 2": ({**V2, "memory.max": "max\n"}, 64, 50),
    "host that has less left than the limit": ({**V2, "memory.max": f"{60 * GIB}\n"}, 60, 50),
}


def files(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(("texts", "total_gib", "free_gib"), MEMORY.values(), ids=MEMORY.keys())
def test_a_container_has_its_own_memory(
    tmp_path: Path, texts: dict[str, str], total_gib: float, free_gib: float
) -> None:
    seen = report.memory(INFO, files(tmp_path, texts))
    assert seen == {"total_bytes": total_gib * GIB, "free_bytes": free_gib * GIB}


KILLS = {
    "version 2": ({"memory.events": "low 0\noom 4\noom_kill 3\n"}, 3),
    "version 1": ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"}, 2),
    "no control group": ({}, 1),
}


@pytest.mark.parametrize(("texts", "kills"), KILLS.values(), ids=KILLS.keys())
def test_kills_for_lack_of_memory_are_counted(tmp_path: Path, texts: dict[str, str], kills: int) -> None:
    vmstat = files(tmp_path / "proc", {"vmstat": "pgfault 77\noom_kill 1\n"}) / "vmstat"
    assert report.oom_kills(files(tmp_path / "group", texts), vmstat) == kills


LINES = {
    "an unknown model": (
        "2026-11-21T19:00:00+0000 one vllm[99]: (APIServer pid=99) ERROR 11-21 19:00:00 [serving.py:300] "
        "Error with model error=ErrorInfo(message='The model `no-such-model` does not exist.', "
        "type='NotFoundError', param='model', code=404)",
        False,
    ),
    "a fault of the engine": (
        "2026-11-21T19:00:00+0000 one vllm[99]: ERROR 11-21 19:00:00 [serving.py:300] "
        "error=ErrorInfo(message='code=404)', type='InternalServerError', param=None, code=500)",
        True,
    ),
    "a traceback": ("2026-11-21T19:00:00+0000 one vllm[99]: RuntimeError: CUDA out of memory", True),
    "mtail's command line": (
        "2026-11-21T19:00:00+0000 one python3[7]: I1121 19:00:00.123456       8 main.go:114] Commandline: "
        '["mtail" "--logtostderr" "--stderrthreshold" "ERROR" "--progs" "/etc/llm/monitoring/access.mtail"]',
        False,
    ),
    "an error of mtail": (
        "2026-11-21T19:00:00+0000 one python3[7]: E1121 19:00:00.123456       8 main.go:70] error: no such file",
        True,
    ),
    "a warning": ("2026-11-21T19:00:00+0000 one vllm[99]: WARNING 11-21 19:00:00 Error: 1", False),
}


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES.keys())
def test_a_clients_mistake_is_not_a_fault_of_the_host(line: str, *, expected: bool) -> None:
    """Each smoke test, which asks for an unknown model, left an alarm in `status` for an hour."""
    assert report.tells_of_error(line) is expected


SMI = {
    "one": ("NVIDIA L4, 580.95.05, 20480, 23034, 97, 61\n", ["NVIDIA L4"]),
    "two": ("A, 1, 2, 3, 4, 5\nB, 1, 2, 3, 4, 5\n", ["A", "B"]),
    "driver and kernel differ": ("Failed to initialize NVML: Driver/library version mismatch\n", None),
}


@pytest.mark.parametrize(("said", "names"), SMI.values(), ids=SMI.keys())
def test_gpus_are_those_of_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, names: list[str] | None
) -> None:
    program = files(tmp_path, {"nvidia-smi": f"#!/bin/sh\ncat <<'END'\n{said}END\n"}) / "nvidia-smi"
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    seen = report.gpus()
    assert (seen if seen is None else [gpu["name"] for gpu in seen]) == names


@pytest.mark.parametrize("installed", [True, False], ids=["WSL 2", "no nvidia-smi at all"])
def test_nvidia_smi_is_found_where_wsl_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    """It is not on root's PATH: status would not show the WSL 2 GPU that the host computes on."""
    if installed:
        folder = files(tmp_path, {"nvidia-smi": "#!/bin/sh\necho NVIDIA RTX, 580.95.05, 1, 2, 3, 4\n"})
        (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(report, "WSL", str(tmp_path))
    seen = report.gpus()
    assert (seen if seen is None else [gpu["name"] for gpu in seen]) == (["NVIDIA RTX"] if installed else None)


def question(folder: Path, gateway: RunningGateway | None = None, *, port: int = 1) -> str:
    """Return the program's question for a host with its files in `folder`."""
    asked = {
        "units": ["no-such-unit-of-ours.service"],
        "engine": "vllm",
        "engine_unit": "no-such-unit-of-ours.service",
        "engine_port": port,
        "engine_env": str(folder / "engine.env"),
        "release_note": str(folder / "vllm.service.json"),
        "gateway_port": gateway.port if gateway else free_port(),
        "gateway_socket": gateway.places.admin_socket if gateway else str(folder / "admin.sock"),
        "gateway_servers": ["main/gpu-1"],
        "data_dir": str(folder / "not/there/yet"),
        "nft_rules": str(folder / "nft-rules"),
        "tables": [[str(folder / "a.nft"), "a"], [str(folder / "b.nft"), "b"]],
    }
    return json.dumps(asked)


def run(asked: str, **environment: str) -> dict[str, Any]:
    """Return the program's output, run by a shell's python as on a host."""
    argv = [sys.executable, "-I", str(CHECKOUT / "provisioning/programs/host/status_report.py"), asked]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    assert done.stderr == ""
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_engine_and_queue_are_those_of_the_moment(
    tmp_path: Path, new_gateway: NewGateway, engine: EngineDouble
) -> None:
    files(tmp_path, {"engine.env": f"VLLM_API_KEY={ENGINE_KEY}\n"})
    gateway = new_gateway(max_concurrency=2)
    with ThreadPoolExecutor(5) as clients:
        engine.hold.clear()
        body = b'{"model":"tiny"}'
        for _ in range(5):
            clients.submit(gateway.ask, "POST", "/v1/chat/completions", body=body)
        wait_for(lambda: engine.running == 2 and gateway.waiting() == 3, "two requests that run and three that wait")
        queue = report.queue(gateway.places.admin_socket, ["main/gpu-1"])
        with_new = report.queue(gateway.places.admin_socket, ["main/gpu-1", "main/gpu-2"])
        engine.hold.set()
    assert queue == {"running": 2, "waiting": 3, "engine": "UP", "hosts": {"gpu-1": "UP"}}
    assert with_new == {
        **queue,
        "hosts": {"gpu-1": "UP", "gpu-2": "UNKNOWN"},
    }  # `up` made it, and no provision followed
    seen = run(question(tmp_path, gateway, port=engine.port))
    assert seen["models"] == list(engine.models)
    assert list(seen["tokens"]["seconds"]) == list(engine.models)
    assert seen["tokens"]["problem"] == ""
    assert seen["certificate"]
    assert seen["unseen"] == {}
    assert ENGINE_KEY not in json.dumps(seen)


def test_hosts_of_all_pools_are_counted(tmp_path: Path, engine: EngineDouble) -> None:
    """Only the first pool was read: the hosts of the others were unknown, and their requests were not counted."""
    engine.models = ("large",)
    with running_engine() as other, running_engine() as dead:
        dead.models = ("large",)
        large = engine_pool({"h2": engine, "h3": dead}, names=("large",), name="large")
        pools = [engine_pool({"h1": other}, names=("tiny",)), large]
        with gateway_before(tmp_path, pools, gateway_spec()) as gateway, ThreadPoolExecutor(5) as clients:
            gateway.admin("disable health large/h3; set server large/h3 health down")
            engine.hold.clear()
            other.hold.clear()
            for body in [b'{"model":"tiny"}'] * 2 + [b'{"model":"large"}'] * 3:
                clients.submit(gateway.ask, "POST", "/v1/chat/completions", body=body)
            wait_for(lambda: (gateway.waiting(), gateway.waiting("large")) == (1, 2), "waiting requests in both pools")
            wait_for(lambda: (engine.running, other.running) == (1, 1), "running requests in both pools")
            queue = report.queue(gateway.places.admin_socket, ["main/h1", "large/h2", "large/h3", "new/h4"])
            engine.hold.set()
            other.hold.set()
    assert queue is not None
    assert (queue["running"], queue["waiting"], queue["engine"][:2]) == (2, 3, "UP")
    states = {name: state.split()[0] for name, state in queue["hosts"].items()}  # before its first check: UP 1/3
    assert states == {"h1": "UP", "h2": "UP", "h3": "DOWN", "h4": "UNKNOWN"}


OLLAMA = {
    "/v1/models": {"object": "list", "data": [{"id": "tiny:latest", "object": "model"}]},
    "/api/version": {"version": "0.24.0"},
    "/api/ps": {"models": [{"name": "tiny:latest", "size": 4 * GIB, "size_vram": GIB}]},
}


class _Ollama(BaseHTTPRequestHandler):
    """Answers like Ollama's API (docs/api.md of the project): only the requests of a status."""

    def do_GET(self) -> None:
        body = json.dumps(OLLAMA[self.path]).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Do not log."""


def test_ollama_says_what_it_has_loaded_and_where() -> None:
    with running(ThreadingHTTPServer(("127.0.0.1", 0), _Ollama)) as server:
        engine = report.Engine("ollama", server.server_port, "/no/key")
        seen = (engine.version(), engine.models(), engine.loaded())
    assert seen == ("0.24.0", ["tiny:latest"], [{"name": "tiny:latest", "bytes": 4 * GIB, "vram_bytes": GIB}])
    assert (engine.version(), engine.models(), engine.loaded()) == ("", None, [])  # it no longer answers


def test_an_engine_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        engine = report.Engine("ollama", hung.getsockname()[1], "/no/key")
        assert (engine.models(), engine.version(), engine.loaded()) == (None, "", [])
        hung.setblocking(False)
        hung.accept()[0].close()
        with pytest.raises(BlockingIOError):
            hung.accept()


def test_tables_that_the_kernel_lost_are_named(tmp_path: Path) -> None:
    """Only for files that exist: a host may have no firewall from this project."""
    program = tmp_path / "nft-rules"
    program.write_text('#!/bin/sh\necho "planned: load $2: table $3 is not in the kernel"; exit 1\n')
    program.chmod(0o755)
    assert run(question(tmp_path))["lost_tables"] == []
    (tmp_path / "b.nft").touch()
    assert run(question(tmp_path))["lost_tables"] == ["table b is not in the kernel"]


@pytest.mark.parametrize(
    ("fault", "work", "expected"),
    [
        ("computes_nothing", (5.0, 5.0), ("tiny: none within 1 s", False)),
        ("computes_nothing", (5.0, 6.0), ("tiny: none within 1 s", True)),
        ("overloaded", (5.0, 6.0), ("tiny: HTTP 503", False)),
        ("no_choices", (5.0, 6.0), ("tiny: an answer without choices", False)),
    ],
    ids=["stopped", "busy with others", "refuses", "answers something else"],
)
def test_an_engine_is_asked_for_a_token(
    monkeypatch: pytest.MonkeyPatch,
    engine: EngineDouble,
    fault: str,
    work: tuple[float, ...],
    expected: tuple[str, bool],
) -> None:
    """An engine with a stopped process passed the health check, and `status` showed a tick, for minutes."""
    looked = iter(work)
    monkeypatch.setattr(report.Engine, "_work", lambda *_: next(looked))
    engine.faults.add(fault)
    engine.faults.add("no_key_needed")
    seen = report.Engine("vllm", engine.port, "/no/key").tokens("vllm.service", budget_s=0.3)
    assert seen
    assert (seen["seconds"], seen["problem"], seen["busy"]) == ({}, *expected)


def test_ollama_is_tested_with_the_model_in_memory(monkeypatch: pytest.MonkeyPatch, engine: EngineDouble) -> None:
    """Another model would be loaded in place of it."""
    monkeypatch.setattr(report.Engine, "loaded", lambda _: [{"name": "contract"}])
    engine.faults.add("no_key_needed")
    seen = report.Engine("ollama", engine.port, "/no/key").tokens("ollama.service")
    assert seen
    assert list(seen["seconds"]) == ["contract"]


BROKEN: dict[str, tuple[dict[str, str], dict[str, Any], list[str]]] = {
    "bare host": ({}, {"models": None, "engine_version": "", "queue": None, "certificate": None, "units": []}, []),
    "note of releases cut off": ({"vllm.service.json": '{"good": {'}, {"release": None, "models": None}, ["release"]),
    "file in place of the gateway's socket": ({"admin.sock": ""}, {"queue": None}, []),
}


@pytest.mark.parametrize(("texts", "expected", "unseen"), BROKEN.values(), ids=BROKEN.keys())
def test_a_partly_broken_host_is_reported_part_by_part(
    tmp_path: Path, texts: dict[str, str], expected: dict[str, Any], unseen: list[str]
) -> None:
    seen = run(question(files(tmp_path, texts)), PATH="/nonexistent")
    assert {name: seen[name] for name in expected} == expected
    assert list(seen["unseen"]) == unseen
    assert [disk["path"] for disk in seen["disks"]] == ["/", str(tmp_path / "not/there/yet")]


def test_a_driver_for_the_next_boot_needs_a_reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the distribution's packages were checked, so a host without its driver looked complete."""
    assert report.DRIVER_NOTE == driver.REBOOT_NOTE
    note = tmp_path / "nvidia-reboot.json"
    monkeypatch.setattr(report, "DRIVER_NOTE", note)
    before = report.reboot_needed_by()
    monkeypatch.setattr(driver, "REBOOT_NOTE", note)
    facts = SimpleNamespace(boot_id=report.boot_id(), nouveau=True, loaded="", kernel="6.1.0")
    assert driver.ask_for_reboot({"version": "580.159.04"}, facts, "6.1.0") == driver.NEEDS_REBOOT
    assert report.reboot_needed_by() == [*(before or []), "NVIDIA driver 580.159.04"]
    monkeypatch.setattr(report, "boot_id", lambda: "the boot after")
    assert report.reboot_needed_by() == before


@pytest.mark.parametrize("state", ["activating", "deactivating"])
def test_an_engine_that_starts_or_stops_is_not_asked_for_a_token(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` reported that a stopping engine computes nothing."""
    monkeypatch.setattr(report, "units", lambda _: [{"ActiveState": state}])
    asked: list[str] = []
    engine: Any = SimpleNamespace(tokens=asked.append)
    assert report.tokens_of(engine, "vllm.service") is None
    assert asked == []


def test_a_stop_during_the_token_request_is_not_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["active", "deactivating"])
    monkeypatch.setattr(report, "units", lambda _: [{"ActiveState": next(states)}])
    asked: Any = SimpleNamespace(tokens=lambda _: {"seconds": {}, "problem": "tiny: Connection reset", "busy": False})
    assert report.tokens_of(asked, "vllm.service") is None


DROPPED = "one python[99]: ERROR 11-21 19:00:00 [serving.py:300] EngineDeadError: the request was dropped"


@pytest.mark.parametrize("name", ["vllm.service - vLLM serving tiny...", "vLLM serving tiny..."])
def test_requests_dropped_by_a_stop_are_not_a_fault(name: str) -> None:
    lines = [
        "one vllm[99]: ERROR before the stop",
        f"one systemd[1]: Stopping {name}",
        DROPPED,
        DROPPED.replace("python", "vllm"),
        "one haproxy[7]: [ALERT] of another unit",
        "one systemd[1]: vllm.service: Failed with result 'timeout'.",
        f"one systemd[1]: Stopped {name}",
        f"one systemd[1]: Started {name}",
        "one vllm[100]: ERROR after the start",
    ]
    assert report.without_stops(lines) == [line for line in lines if "was dropped" not in line]
