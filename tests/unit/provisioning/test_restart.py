"""Why a restart failed: from the journal, or from the kernel's count where a container's journal does not know."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from core.errors import HostError
from provisioning import restart as module
from provisioning.host_status import HostStatus, UnitState
from provisioning.target import Target
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


@pytest.mark.parametrize(
    ("kills_before", "kills_after", "journal", "end"),
    [
        (0, 2, KILLED, "the host has too little memory: lower vllm.kv_cache_gib"),
        (2, 2, KILLED, "`make logs HOST=one`, with STACK or INVENTORY as here, has more"),
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
def test_only_a_reboot_is_for_the_host_that_publishes_anothers_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task: str, hosts: set[str]
) -> None:
    """A restart once failed there: it has no engine."""
    done: set[str] = set()
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.setattr(module, "load_to_look", lambda _: PUBLISHED)
    for work in ("restart_engine", "reboot_host"):
        monkeypatch.setattr(module, work, lambda _, host, __: done.add(host.name))
    assert getattr(module, task)(Target(stack="test"), names=(), at_once=2) == 0
    assert done == hosts
