"""Why a restart failed: from the journal, or from the kernel's count where a container's journal does not know."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.hosts.target import Target
from provisioning.operate import restart as module
from provisioning.operate import rotation, status
from provisioning.operate.host_status import HostStatus, Queue
from provisioning.operate.unit_state import UnitState
from provisioning.programs.host import status_report
from tests.doubles.engine import running_engine
from tests.gateways import engine_pool, gateway_before, gateway_spec
from tests.unit.provisioning.operate.test_status import report
from tests.unit.provisioning.records import host, host_values, stack

PUBLISHED = stack(host_values("laptop"), host_values("front"), tunnel={"engine": "laptop", "gateway": "front"})
KILLED = "vllm.service: Main process exited, code=killed, status=9/KILL\n"
RANK = "ValueError: LoRA rank 16 is greater than max_lora_rank 8.\n"


def seen(*, invocation: str, restarts: int, oom_kills: int) -> HostStatus:
    unit = UnitState(
        name="vllm.service",
        active=invocation == "before",
        words="activating (auto-restart)",
        restarts=restarts,
        invocation=invocation,
    )
    return HostStatus(host="one", address="203.0.113.7", units=(unit,), oom_kills=oom_kills)


SERVING = HostStatus(host="one", address="203.0.113.7", units=(UnitState(name="vllm.service", active=True, words=""),))


@pytest.mark.parametrize(
    ("kills_before", "kills_after", "journal", "end"),
    [
        (0, 2, KILLED, "the host has too little memory: lower vllm.kv_cache_gib"),
        (2, 2, KILLED, "`make logs HOST=one`, with the same STACK or INVENTORY, shows more"),
        (0, 0, RANK, "raise vllm.max_lora_rank to the adapter's rank"),
    ],
    ids=["killed for memory now", "killed for memory long ago", "its own error"],
)
def test_the_cause_is_that_of_this_restart(
    monkeypatch: pytest.MonkeyPatch, kills_before: int, kills_after: int, journal: str, end: str
) -> None:
    answers = iter(
        [
            seen(invocation="before", restarts=0, oom_kills=kills_before),
            seen(invocation="after", restarts=2, oom_kills=kills_after),
        ]
    )

    def stream(_: object, __: object, argv: Sequence[str]) -> Iterator[str]:
        return iter([journal] if argv[0] == "journalctl" else [])

    monkeypatch.setattr(module, "connect", lambda _: nullcontext())
    monkeypatch.setattr(module, "ask", lambda *_: next(answers))
    monkeypatch.setattr(module, "stream", stream)
    with pytest.raises(HostError, match=r"vllm\.service is activating \(auto-restart\)") as caught:
        module.restart_engine(stack(), host(), lambda _: None)
    assert end in str(caught.value)


@pytest.mark.parametrize(("task", "hosts"), [("restart", {"laptop"}), ("reboot", {"laptop", "front"})])
def test_gateway_host_of_a_tunnel_can_only_be_rebooted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task: str, hosts: set[str]
) -> None:
    """A restart once failed there: it has no engine."""
    done: set[str] = set()

    def do(_: object, host: HostRecord, __: object) -> HostStatus:
        done.add(host.name)
        return SERVING

    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.setattr(module, "load_to_look", lambda _: PUBLISHED)
    for work in ("restart_engine", "reboot_host"):
        monkeypatch.setattr(module, work, do)
    assert getattr(module, task)(Target(stack="test"), names=(), at_once=2) == 0
    assert done == hosts


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(SERVING, "✓ serves again after", id="engine"),
        pytest.param(replace(SERVING, units=()), "✓ is up again, without an engine, after", id="no engine yet"),
        pytest.param(replace(SERVING, units=(), engine_wanted=False), "✓ serves again after", id="gateway's host"),
    ],
)
def test_a_host_without_an_engine_does_not_serve_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], now: HostStatus, words: str
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.setattr(module, "load_to_look", lambda _: stack())
    monkeypatch.setattr(module, "reboot_host", lambda *_: now)
    assert module.reboot(Target(stack="test"), names=(), at_once=1) == 0
    assert words in capsys.readouterr().err


POOL = stack(
    host_values("gate", address="203.0.113.1"),
    host_values("a", address="203.0.113.2"),
    host_values("b", address="203.0.113.3"),
    gateway_host="gate",
)


@pytest.mark.parametrize(
    ("broken", "done"),
    [
        pytest.param("", ["a", "a is back", "b", "b is back", "gate", "gate is back"], id="all come back"),
        pytest.param("a", ["a"], id="the first does not come back"),
    ],
)
def test_hosts_behind_a_gateway_reboot_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str, done: list[str]
) -> None:
    """So the endpoint keeps serving: the next host goes when the gateway sends requests to the last one again."""
    steps: list[str] = []

    def reboot(_: object, host: HostRecord, __: object) -> HostStatus:
        steps.append(host.name)
        if host.name == broken:
            raise HostError("does not come back", where=host.name)
        return SERVING

    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.setattr(module, "load_to_look", lambda _: POOL)
    monkeypatch.setattr(module, "reboot_host", reboot)
    monkeypatch.setattr(module, "await_rotation", lambda _, host, __: steps.append(f"{host.name} is back"))
    if broken:
        with pytest.raises(HostError, match="3 of 3 hosts failed: a, b, gate"):
            module.reboot(Target(stack="test"), names=(), at_once=8)
    else:
        assert module.reboot(Target(stack="test"), names=(), at_once=8) == 0
    assert steps == done


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param({"a": "UP"}, id="up"),
        pytest.param({"a": "MAINT"}, id="no names"),
        pytest.param({"a": "UNKNOWN"}, id="new host"),
    ],
)
def test_a_host_is_back_when_the_gateway_takes_it_for_up_or_never_asks_it(
    monkeypatch: pytest.MonkeyPatch, hosts: Mapping[str, str]
) -> None:
    """A reboot of a host that `up` had just made ended with a KeyError."""
    queue = Queue(running=0, waiting=0, max_running=4, max_waiting=4, engine="UP", hosts=hosts)
    monkeypatch.setattr(rotation, "connect", lambda _: nullcontext())
    monkeypatch.setattr(rotation, "ask", lambda *_: replace(SERVING, queue=queue))
    rotation.await_rotation(POOL, next(each for each in POOL.hosts if each.name == "a"), lambda _: None)


def test_a_host_of_any_pool_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host of a second pool counted as one that the gateway never asks, so the next one went too soon."""
    names = (("a", "main"), ("b", "large"), ("gate", "main"))
    hosts = [host_values(name, pool=pool, address=f"203.0.113.{n}") for n, (name, pool) in enumerate(names, start=7)]
    large = {"model": {"name": "large", "source": {"kind": "tiny", "name": "llama"}}}
    outputs = stack(*hosts, gateway_host="gate", pools={"large": large})
    told: list[str] = []
    with running_engine() as one, running_engine() as two:
        two.models = ("large",)
        pools = [engine_pool({"a": one}), engine_pool({"b": two}, names=("large",), name="large")]
        with gateway_before(tmp_path, pools, gateway_spec()) as gateway:
            gateway.admin("disable health large/b; set server large/b health down")

            def ask_program(_: object, __: object, ___: str, question: str) -> dict[str, Any]:
                servers = json.loads(question)["gateway_servers"]
                return report(queue=status_report.queue(gateway.places.admin_socket, servers))

            def tell(words: str) -> None:
                told.append(words)
                gateway.admin("enable health large/b; set server large/b health up")

            monkeypatch.setattr(rotation, "connect", lambda _: nullcontext())
            monkeypatch.setattr(status, "ask_program", ask_program)
            rotation.await_rotation(outputs, outputs.hosts[1], tell)
    assert [words.split()[4] for words in told] == ["DOWN", "UP"]
