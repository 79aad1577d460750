"""A host's report becomes a status: what is missing, how long the certificate is valid, what needs attention."""

import base64
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import HostError
from core.paths import CHECKOUT, state_dir
from core.processes import Process
from infra.clouds.local import machine
from infra.clouds.local.parts import record
from infra.clouds.local.parts.runner import SupervisorRunner
from infra.config import load_stack
from infra.config.models.lifetime import WeeklySchedule
from provisioning.hosts.target import Target
from provisioning.operate import expected_hours
from provisioning.operate import status as module
from provisioning.operate.host_report import read_report
from provisioning.operate.host_status import HostStatus, unseen, with_reasons
from provisioning.operate.status_screen import screen
from provisioning.ssh.connection import LoginError, NoAnswerError, OtherHostError
from services.engine_watch.notices import Notice
from services.engine_watch.report import Report, status_line
from tests.unit.provisioning.records import SERVING, host, host_values, stack

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GIB = 1024**3


def certificate(days: float) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
    builder = builder.public_key(key.public_key()).serial_number(1).not_valid_before(NOW - timedelta(days=400))
    made = builder.not_valid_after(NOW + timedelta(days=days)).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def unit(name: str, state: str = "active", sub: str = "running", restarts: int = 0) -> dict[str, str]:
    return {"Id": name, "ActiveState": state, "SubState": sub, "NRestarts": str(restarts), "InvocationID": "ab"}


def report(**changed: Any) -> dict[str, Any]:
    whole = {
        "boot_id": "1234",
        "kernel": "6.1.0",
        "time": NOW.timestamp() + 0.4,
        "engine_version": "0.32.0",
        "loaded": [],
        "release": {"good": "0.32.0", "former": ""},
        "queue": {"running": 2, "waiting": 0, "engine": "UP", "hosts": {"one": "UP"}},
        "swap": {"free_bytes": 0, "total_bytes": 0},
        "oom_kills": 0,
        "gpus": None,
        "unseen": {},
        "units": [unit("vllm.service"), unit("haproxy.service"), unit("llm-firewall.service", sub="exited")],
        "models": ["tiny"],
        "certificate": certificate(80.5),
        "disks": [
            {"path": "/", "device": 1, "free_bytes": 9 * GIB, "total_bytes": 10 * GIB},
            {"path": "/var/lib/llm", "device": 1, "free_bytes": 9 * GIB, "total_bytes": 10 * GIB},
        ],
        "memory": {"free_bytes": 3 * GIB, "total_bytes": 4 * GIB},
        "reboot_needed_by": None,
        "errors": [],
        "lost_tables": [],
    }
    return {**whole, **changed}


def status(**changed: Any) -> HostStatus:
    return read_report(report(**changed), stack(), host(), now=NOW)


def test_a_host_without_its_firewall_does_not_pass() -> None:
    """After `nft flush ruleset` its unit is still active, and status was ✓."""
    seen = status(lost_tables=["table llm_deploy is not in the kernel"])
    assert not seen.serves
    assert seen.missing == "firewall: table llm_deploy is not in the kernel"


def test_a_host_where_all_works_serves() -> None:
    seen = status()
    assert seen.serves
    assert seen.missing == ""
    assert seen.certificate_days == 80
    assert [each.name for each in seen.space] == ["/", "memory"]


@pytest.mark.parametrize(
    ("model", "licence"),
    [({}, ""), ({"licence": "apache-2.0"}, "apache-2.0"), ({"accept_licence": "exaone-1.1-nc"}, "exaone-1.1-nc")],
)
def test_the_licence_of_the_base_model_is_shown_where_the_config_names_it(model: dict[str, str], licence: str) -> None:
    outputs = stack(serving={"model": {**SERVING["model"], **model}})
    seen = read_report(report(), outputs, host(), now=NOW)
    assert seen.as_json()["licence"] == licence
    assert [line.split()[1:] for line in screen(seen).splitlines() if "licence" in line] == [[licence]] * bool(licence)


def test_a_drained_host_is_shown_with_its_reason() -> None:
    """HAProxy does not keep what an agent says with `drain`; the host's own watcher does."""
    hosts = {"p-1": "UP", "p-2": "DRAIN"}
    queue = {"running": 0, "waiting": 0, "engine": "UP", "hosts": hosts}
    engines = [host_values(name, address=f"203.0.113.{name[-1]}") for name in ("p-1", "p-2")]
    outputs = stack(*engines, host_values("p-gateway"), gateway_host="p-gateway")
    said = status_line(Report(0, works=True), Notice("the engine is about to stop", "host"))
    watcher = {**unit("llm-engine-watch.service"), "StatusText": said}
    drained = read_report(report(queue=None, units=[watcher]), outputs, outputs.hosts[1], now=NOW)
    gateway = read_report(report(queue=queue, units=[]), outputs, outputs.hosts[2], now=NOW)
    shown = screen(with_reasons([drained, gateway])[1])
    assert "! p-2                takes no new requests: the engine is about to stop" in shown
    assert "  p-1                takes requests\n" in shown


def test_a_certificate_serves_to_its_last_hour_and_no_longer() -> None:
    assert status(certificate=certificate(0.5)).serves
    assert not status(certificate=certificate(-0.5)).serves


def test_a_busy_engine_serves_and_what_came_is_shown() -> None:
    busy = status(tokens={"seconds": {}, "problem": "tiny: none within 20 s", "busy": True})
    assert busy.serves
    assert "! token              tiny: none within 20 s; the engine is busy with other requests" in screen(busy)
    quick = status(tokens={"seconds": {"tiny": 0.053}, "problem": "", "busy": False})
    assert "  token              tiny 0.05 s" in screen(quick)


GPU = {
    "name": "NVIDIA L4",
    "driver_version": "580.95.05",
    "memory.used": "20480",
    "memory.total": "23034",
    "utilization.gpu": "97",
    "temperature.gpu": "61",
}

STOPPED = {"seconds": {}, "problem": "tiny: none within 20 s", "busy": False}

MISSING = {
    "engine computes nothing": ({"tokens": STOPPED}, "no token from tiny: none within 20 s"),
    "engine loads": ({"models": None}, "the engine does not answer yet"),
    "adapter is missing": ({"models": []}, "the engine does not list tiny"),
    "adapter is refused": (
        {"refused": {"a@1": "vLLM does not support PiSSA"}},
        "the engine refuses a@1: vLLM does not support PiSSA",
    ),
    "unit is down": ({"units": [unit("vllm.service", "failed", "failed")]}, "vllm.service is failed (failed)"),
    "unit gave up": (
        {"units": [{**unit("vllm.service", "failed", "failed", 5), "Result": "exit-code", "ExecMainStatus": "3"}]},
        "vllm.service is failed (failed), ended with status 3, systemd gave up after 5 starts",
    ),
    "unit ran out of memory": (
        {"units": [{**unit("vllm.service", "activating", "auto-restart", 1), "Result": "oom-kill"}]},
        "vllm.service is activating (auto-restart), killed for lack of memory, restarted by systemd once",
    ),
    "unit came back": (
        {"units": [unit("vllm.service", "activating", "start", 2)]},
        "vllm.service is activating (start), restarted by systemd 2 times",
    ),
    "gateway is silent": ({"certificate": None}, "the gateway does not answer yet"),
    "engine not admitted yet": (  # a smoke test right after a reboot met 503
        {"queue": {"running": 0, "waiting": 0, "engine": "DOWN (agent)", "hosts": {"one": "DOWN (agent)"}}},
        "the gateway does not let requests in yet",
    ),
}


@pytest.mark.parametrize(("changed", "words"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_is_said(changed: dict[str, Any], words: str) -> None:
    seen = status(**changed)
    assert seen.missing == words
    assert not seen.serves


def test_a_host_without_engine_misses_nothing_and_serves_nothing() -> None:
    seen = status(units=[unit("llm-firewall.service")], models=None, certificate=None)
    assert seen.missing == ""
    assert not seen.serves
    assert "! engine             not installed" in screen(seen).splitlines()


@pytest.mark.parametrize(
    ("days", "serves", "mark"),
    [(80.5, True, " "), (13.5, True, "!"), (-0.5, False, "!")],
    ids=["long", "soon", "ended"],
)
def test_a_certificate_that_ends_is_marked_in_time(days: float, serves: bool, mark: str) -> None:
    seen = status(certificate=certificate(days))
    assert seen.serves is serves
    line = next(line for line in screen(seen).splitlines() if "certificate" in line)
    assert line.startswith(mark)


MARKED = {
    "engine that stops": (
        {"units": [unit("vllm.service", "deactivating", "stop-sigterm")]},
        "! engine             is stopping: running requests finish first",
    ),
    "engine that starts": (
        {"units": [unit("vllm.service", "activating", "start-post")], "models": None},
        "! engine             is starting: it loads its models",
    ),
    "engine that died": (
        {"units": [unit("vllm.service", "activating", "auto-restart", 1)], "models": None},
        "! engine             died; systemd starts it again in a moment",
    ),
    "full disk": (
        {"disks": [{"path": "/", "device": 1, "free_bytes": GIB // 2, "total_bytes": 10 * GIB}]},
        "! /                  0.5 of 10.0 GiB free",
    ),
    "little memory": (
        {"memory": {"free_bytes": GIB // 8, "total_bytes": 4 * GIB}},
        "! memory             0.1 of 4.0 GiB free",
    ),
    "memory ran out": ({"oom_kills": 2}, "! memory             ran out: 2 processes killed since the last boot"),
    "reboot": ({"reboot_needed_by": []}, "! reboot             pending, for updates"),
    "reboot with its reason": (
        {"reboot_needed_by": ["libc6", "linux-image-amd64"]},
        "! reboot             pending, for libc6, linux-image-amd64",
    ),
    "clock ahead": ({"time": NOW.timestamp() + 2 * 86_400}, "! clock              2.0 days ahead"),
    "clock behind": ({"time": NOW.timestamp() - 45}, "! clock              45 seconds behind"),
    "firewall that was flushed": (
        {"lost_tables": ["table llm_deploy is not in the kernel"]},
        "! firewall           table llm_deploy is not in the kernel; `make provision` loads it again",
    ),
    "engine guard that was flushed": (  # once shown as the firewall's
        {"lost_tables": ["table llm_engine is not in the kernel"]},
        "! engine guard       table llm_engine is not in the kernel; `make provision` loads it again",
    ),
    "no gateway": ({"queue": None}, "! queue              no gateway is running"),
    "engine out of the gateway": (
        {"queue": {"running": 0, "waiting": 3, "engine": "DRAIN", "hosts": {"one": "DRAIN"}}},
        "! queue              0 of 16 running, 3 of 64 waiting; the gateway reports the engine as DRAIN",
    ),
    "alert that fires": (
        {"alerts": [{"name": "DiskFull", "severity": "warning", "summary": "one has 3% left.", "do": "`df -h`."}]},
        "! alert              DiskFull (warning): one has 3% left. `df -h`.",
    ),
    "GPU that fell off": (
        {"gpus": [{**GPU, "memory.used": "[GPU is lost]", "utilization.gpu": "[N/A]", "temperature.gpu": "[N/A]"}]},
        "! gpu                NVIDIA L4: ? of 22.5 GiB used, driver 580.95.05",
    ),
    "error": ({"errors": ["12:00 vllm: ERROR out of memory"]}, "! error              12:00 vllm: ERROR out of memory"),
    "part that could not be looked at": (
        {"disks": None, "unseen": {"disks": "OSError: Input/output error"}},
        "! disks              could not be checked: OSError: Input/output error",
    ),
}


@pytest.mark.parametrize(("changed", "line"), MARKED.values(), ids=MARKED.keys())
def test_what_needs_attention_is_marked(changed: dict[str, Any], line: str) -> None:
    assert line in screen(status(**changed)).splitlines()


def test_a_long_name_of_a_unit_widens_the_column() -> None:
    seen = status(units=[unit("vllm.service"), unit("prometheus-node-exporter.service")])
    _, *lines = screen(seen).splitlines()
    assert {line[: len("  prometheus-node-exporter ")][-1] for line in lines} == {" "}
    assert {line[len("  prometheus-node-exporter ")] for line in lines}.isdisjoint({" "})


SHOWN = {
    "unit that came back": (
        {"units": [{**unit("vllm.service", restarts=1), "StateChangeTimestamp": "Sat 2026-11-21 11:00:00 UTC"}]},
        "  vllm               active (running) since Sat 2026-11-21 11:00:00 UTC, restarted by systemd once",
    ),
    "release": (
        {"release": {"good": "0.32.0", "former": "0.31.1"}},
        "  engine             vLLM 0.32.0; 0.31.1 is kept for a rollback",
    ),
    "adapters apart": ({"models": ["tiny", "contract", "contract@3"]}, "  adapters           contract, contract@3"),
    "base model": ({"models": ["tiny", "contract", "contract@3"]}, "  models             tiny"),
    "queue": ({}, "  queue              2 of 16 running, 0 of 64 waiting"),
    "swap in use": (
        {"swap": {"free_bytes": 0, "total_bytes": 8 * GIB}},
        "  swap               0.0 of 8.0 GiB free",
    ),
    "GPU": (
        {"gpus": [GPU]},
        "  gpu                NVIDIA L4: 20.0 of 22.5 GiB used, 97 % busy, 61 °C, driver 580.95.05",
    ),
    "a clock that is right": ({"time": NOW.timestamp() + 29}, "  memory             3.0 of 4.0 GiB free"),
}


@pytest.mark.parametrize(("changed", "line"), SHOWN.values(), ids=SHOWN.keys())
def test_what_is_well_is_shown_without_a_mark(changed: dict[str, Any], line: str) -> None:
    lines = screen(status(**changed)).splitlines()
    assert line in lines
    assert [each for each in lines if each.startswith("!")] == []


L4 = {"model": "L4", "count": 1, "vram_gib": 24}


@pytest.mark.parametrize(
    ("gpu", "vram_bytes", "line"),
    [
        (None, 0, "  loaded             tiny:latest: 4.0 GiB, on the CPU"),
        (L4, 4 * GIB, "  loaded             tiny:latest: 4.0 GiB, 100 % on the GPU"),
        (L4, GIB, "! loaded             tiny:latest: 4.0 GiB, 25 % on the GPU"),
    ],
    ids=["cpu host", "gpu host", "gpu host that computes on its cpu"],
)
def test_ollamas_names_and_where_they_are_loaded(gpu: dict[str, Any] | None, vram_bytes: int, line: str) -> None:
    given = report(
        units=[unit("ollama.service"), unit("haproxy.service")],
        models=["tiny:latest"],
        loaded=[{"name": "tiny:latest", "bytes": 4 * GIB, "vram_bytes": vram_bytes}],
        gpus=[GPU],
    )
    seen = read_report(given, stack(serving={**SERVING, "engine": "ollama"}), host(gpu=gpu), now=NOW)
    assert seen.serves
    assert line in screen(seen).splitlines()


def test_a_gpu_that_no_driver_shows_is_marked() -> None:
    seen = read_report(report(), stack(), host(gpu=L4), now=NOW)
    words = "nvidia-smi finds no GPU: the driver is missing or does not match the kernel"
    assert f"! gpu                {words}" in screen(seen).splitlines()


def test_empty_report_raises_nothing() -> None:
    """A host so broken that nothing could be checked."""
    nothing = {**dict.fromkeys(report()), "unseen": {"memory": "OSError: gone"}}
    seen = read_report(nothing, stack(), host(), now=NOW)
    assert not seen.serves
    assert "! memory             could not be checked: OSError: gone" in screen(seen).splitlines()


def test_the_json_has_the_documented_keys() -> None:
    """Scripts use these keys: a removed or renamed key breaks them."""
    text = (CHECKOUT / "docs/operations.md").read_text().split("### `--json`")[1].split("\n#")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) == sorted(status().as_json())


def test_a_host_that_was_not_reached_is_one_line() -> None:
    assert screen(HostStatus(host="a", address="x", error="a: no answer; is it on?")) == "✗ a: no answer; is it on?"


@pytest.mark.parametrize(
    ("phase", "running", "off"),
    [("ready", False, True), ("ready", True, False), ("creating", False, False)],
    ids=["switched off", "sshd is off", "cut off while it was made"],
)
def test_switched_off_machine_differs_from_one_that_does_not_answer(
    phase: Literal["ready", "creating"],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    running: bool,
    off: bool,
) -> None:
    """Once it said that sshd might not run there, and to run `provision`; `up` is what starts the machine."""
    for variable in ("LLM_DEPLOY_STATE", "LLM_DEPLOY_RUNS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setattr(record, "STORE", tmp_path / "machines")
    owner = str(state_dir().resolve())
    made = record.MachineRecord(
        id="0123abcd", owner=owner, stack="test", name="one", memory_mib=1, cpus=1, public_keys=(), phase=phase
    )
    made.save()
    made.root.mkdir(parents=True)  # its disk
    if running:
        made.pid_file.write_text(f"{Process.of_pid(os.getpid())}")
    monkeypatch.setattr(machine, "runner", SupervisorRunner)
    local = stack(host_values(cloud="local"))
    monkeypatch.setattr(module, "load_to_look", lambda _: local)
    monkeypatch.setattr(module, "look", raising(HostError("connection refused", where="one")))

    assert module.status(Target(stack="test"), names=[], at_once=1, as_json=False) == 1

    said = capsys.readouterr()
    assert said.out == (
        "✗ one is off; `make up STACK=test` starts it with its disk\n" if off else "✗ one: connection refused\n"
    )
    assert ("next: make up STACK=test\n" in said.err) is off


def raising(error: Exception) -> Any:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(("ends", "announced"), [(-1, True), (1, False), (None, False)])
def test_ended_lifetime_is_reported_for_a_host_that_does_not_answer(ends: int | None, announced: bool) -> None:
    ends_at = None if ends is None else NOW + timedelta(hours=ends)

    status = unseen(host(cloud="gcp", ends_at=ends_at), "one: no answer", now=NOW)

    assert screen(status).startswith("✗ one: no answer")
    assert ("its lifetime ended at 2026-11-21 11:00 UTC: `make orphans CLOUD=gcp`" in screen(status)) is announced


OFFICE = WeeklySchedule(days=("mon", "fri"), start="08:00", stop="20:00", time_zone="Asia/Seoul")


@pytest.mark.parametrize(
    ("now", "announced"),
    [
        (
            "2026-11-20T21:00+09:00",
            "it is stopped outside its weekly hours; the schedule starts it at Mon 2026-11-23 08:00 KST",
        ),
        (
            "2026-11-20T09:00+09:00",
            "its weekly hours began at 08:00 Asia/Seoul; the scheduled start may have found no capacity: "
            "`make up STACK=prod` starts it",
        ),
    ],
)
def test_missed_start_differs_from_a_scheduled_stop(now: str, announced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once nothing reported a scheduled start that found no capacity."""
    config = load_stack("gcp-cpu")
    lifetime = config.lifetime.model_copy(update={"weekly": OFFICE})
    monkeypatch.setattr(expected_hours, "load_stack", lambda _stack: config.model_copy(update={"lifetime": lifetime}))

    assert expected_hours.by_the_hours("prod", datetime.fromisoformat(now)) == announced


def test_only_weekly_hours_say_something_of_a_host_that_does_not_answer() -> None:
    assert expected_hours.by_the_hours("gcp-cpu", NOW) == ""
    assert expected_hours.by_the_hours("no-such-stack", NOW) == ""


@pytest.mark.parametrize("inventory", ["", "hosts.yaml"])
def test_the_screen_says_whether_a_host_should_run(
    inventory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.setattr(module, "load_to_look", lambda _: stack(host_values(cloud="gcp")))
    monkeypatch.setattr(module, "look", raising(HostError("no answer", where="one")))
    monkeypatch.setattr(module, "mention_changed_file", lambda _: None)
    monkeypatch.setattr(module, "by_the_hours", lambda stack, _now: f"{stack} sleeps")
    target = Target(inventory=inventory) if inventory else Target(stack="test")

    module.status(target, names=[], at_once=1, as_json=False)

    assert capsys.readouterr().out == ("✗ one: no answer\n" if inventory else "✗ one: no answer (test sleeps)\n")


ASKS = "; was it stopped or terminated? `make refresh STACK=test` asks the cloud"


@pytest.mark.parametrize(
    ("target", "error", "hours", "ending"),
    [
        pytest.param(Target(stack="test"), NoAnswerError("refused"), "", ASKS, id="a host of the stack"),
        pytest.param(Target(stack="test"), NoAnswerError("refused"), "it sleeps", " (it sleeps)", id="asleep"),
        pytest.param(Target(stack="test"), HostError("refused"), "", "", id="it answered"),
        pytest.param(Target(inventory="hosts.yaml"), NoAnswerError("refused"), "", "", id="a host of an inventory"),
    ],
)
def test_a_host_that_may_have_been_terminated_names_who_knows(
    target: Target,
    error: HostError,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    hours: str,
    ending: str,
) -> None:
    """For a machine terminated in the console, status once asked whether sshd runs and named no command."""
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.setattr(module, "load_to_look", lambda _: stack(host_values(cloud="aws")))
    monkeypatch.setattr(module, "look", raising(error))
    monkeypatch.setattr(module, "mention_changed_file", lambda _: None)
    monkeypatch.setattr(module, "by_the_hours", lambda _stack, _now: hours)

    module.status(target, names=[], at_once=1, as_json=False)

    assert capsys.readouterr().out == f"✗ refused{ending}\n"


@pytest.mark.parametrize(
    ("state", "restarts", "failed"),
    [("failed", 0, True), ("activating", 2, True), ("activating", 1, False), ("active", 5, False)],
)
def test_failed_engine_differs_from_one_that_loads(state: str, restarts: int, failed: bool) -> None:
    seen = status(units=[unit("vllm.service", state, restarts=restarts)]).unit("vllm.service")
    assert seen is not None
    assert seen.has_failed(2) is failed


STOPS = {"units": [unit("vllm.service", "deactivating", "stop-sigterm")]}
DIED = {"units": [unit("vllm.service", "activating", "auto-restart", 1)], "models": None}

NEXT = {
    "engine stops": (STOPS, "local", "make status STACK=test   or   make logs STACK=test"),
    "engine died": (DIED, "local", "make status STACK=test   or   make logs STACK=test"),
    "no firewall": ({"lost_tables": ["x"]}, "local", "make provision STACK=test   or   make logs STACK=test"),
    "connection refused": (NoAnswerError("connection refused"), "existing", "make status STACK=test"),
    "connection refused, in a cloud": (NoAnswerError("connection refused"), "aws", "make refresh STACK=test"),
    "host key changed": (OtherHostError("the host key is not the known one"), "aws", "make status STACK=test"),
    "login refused": (LoginError("login as admin refused"), "local", "make status STACK=test"),
}


@pytest.mark.parametrize(("seen", "cloud", "steps"), NEXT.values(), ids=NEXT.keys())
def test_the_next_step_fits_the_cause(
    seen: dict[str, Any] | HostError,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    cloud: str,
    steps: str,
) -> None:
    """Once `make provision` was suggested for an unreachable host, and for an engine that was stopping."""
    for variable in ("LLM_DEPLOY_STATE", "LLM_DEPLOY_RUNS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    looked = raising(seen) if isinstance(seen, Exception) else lambda *_: status(**seen)
    monkeypatch.setattr(module, "load_to_look", lambda _: stack(host_values(cloud=cloud)))
    monkeypatch.setattr(module, "look", looked)
    monkeypatch.setattr(module, "by_the_hours", lambda _stack, _now: "")
    assert module.status(Target(stack="test"), names=[], at_once=1, as_json=False) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"next: {steps}"


SAYS = {
    "lets requests in": False,
    "lets requests in; 40 % of the usual": False,
    "no notice": False,
    "lets requests in; no token from contract@3: HTTP 404": True,
    "keeps requests away: VLLM::EngineCor is stopped by a signal or a debugger": True,
    "drains: aws takes the machine back at 08:02:00 UTC: terminate": True,
    "cannot ask the cloud: the metadata service refuses a token: 403": True,
}


@pytest.mark.parametrize(("says", "marked"), SAYS.items(), ids=SAYS)
def test_what_our_services_say_is_shown_and_marked_if_it_needs_attention(says: str, marked: bool) -> None:
    services = [unit("vllm.service"), {**unit("llm-engine-watch.service"), "StatusText": says}]
    status = read_report(report(units=services), stack(), host(), now=NOW)
    line = next(line for line in screen(status).splitlines() if "llm-engine-watch" in line)
    assert line.endswith(f"active (running); {says}")
    assert line.startswith("!") is marked


def test_words_of_other_programs_are_not_shown() -> None:
    """HAProxy says `Ready.`."""
    status = read_report(report(units=[{**unit("haproxy.service"), "StatusText": "Ready."}]), stack(), host(), now=NOW)
    assert "Ready." not in screen(status)
