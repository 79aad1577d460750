"""The everyday tasks on real machines: status, logs, ssh, restart."""

import json
import re
from pathlib import Path

import pytest

from infra.contract.outputs import HostRecord
from provisioning.access.credentials import credentials_for
from provisioning.apply.desired_state import desired_state
from serving.spec.models import GatewaySpec
from serving.timed_client import Client
from tests.machine.converge_host import moved, remote
from tests.machine.fab import Fab
from tests.machine.served import SERVING, Served
from tests.unit.provisioning.records import HOST_KEY


@pytest.fixture
def fab(machine: HostRecord, tmp_path: Path) -> Fab:
    return Fab(tmp_path, machine)


@pytest.fixture
def serving(served_machine: Served, tmp_path: Path) -> Fab:
    return Fab(tmp_path, served_machine.host, serving=SERVING)


def test_status_of_a_bare_machine_says_what_is_missing_and_ends_with_1(machine: HostRecord, fab: Fab) -> None:
    done = fab.run("status")
    assert done.status == 1
    assert done.out.startswith(f"✗ {machine.name} ({machine.address})\n")
    assert "! engine  not installed\n" in done.columns
    assert "! certificate  unknown: the gateway does not answer\n" in done.columns
    assert f"next: make provision INVENTORY={fab.inventory}" in done.err


def test_a_plan_changes_nothing_and_shows_no_secret(
    machine: HostRecord, fab: Fab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(fab.state))
    credentials_for("test", machine, GatewaySpec())  # a plan would make its own, and keep none of them to compare with
    everything = "find /etc /usr/local /var/lib/llm* -newer /run/before 2>/dev/null; dpkg-query -W | sha256sum"
    before = remote(machine, f"touch /run/before; {everything}")
    in_short = fab.run("plan", "--roles", "base,gateway")
    assert re.search(r"\+ file:/etc/llm/gateway/haproxy\.cfg: create, \d{3} lines\n", in_short.out)
    done = fab.run("plan", "--roles", "base,gateway", "--full")
    assert done.status == 0, done.err
    assert "+ file:/etc/llm/gateway/server.pem: create\n" in done.out
    assert "+// Written by llm-deploy (base role).\n" in done.out
    assert remote(machine, everything) == before
    keys = json.loads((fab.state / "stacks/test/keys.json").read_text())
    certificate = (fab.state / "stacks/test/certificates" / f"{machine.name}.pem").read_text()
    secret_lines = [line for line in certificate.splitlines() if len(line) > 40]
    assert not [secret for secret in (*keys.values(), *secret_lines) if secret in done.out + done.err]
    assert "PRIVATE KEY" not in done.out + done.err


def test_status_of_an_unreachable_host_hides_no_other(machine: HostRecord, fab: Fab) -> None:
    fab.use(moved(machine, name="here"), moved(machine, name="gone", ssh_port=2))
    done = fab.run("status", "--json")
    assert done.status == 1
    here, gone = json.loads(done.out)
    assert (here["host"], here["error"], len(here["boot_id"])) == ("here", "", 36)
    assert (gone["host"], gone["boot_id"]) == ("gone", "")
    assert "connection refused" in gone["error"]


def test_ssh_runs_a_command_and_passes_its_status_on(machine: HostRecord, fab: Fab) -> None:
    done = fab.run("ssh", "--command", "whoami; exit 7")
    assert (done.status, done.out) == (7, f"{machine.user}\n")


def test_ssh_trusts_no_other_host_key(machine: HostRecord, fab: Fab) -> None:
    fab.use(moved(machine, host_keys=(HOST_KEY,)))
    done = fab.run("ssh", "--command", "whoami")
    assert done.status == 255
    assert done.out == ""
    assert "Host key verification failed" in done.err


def test_ssh_requires_a_choice_between_several_hosts(machine: HostRecord, fab: Fab) -> None:
    fab.use(moved(machine, name="a"), moved(machine, name="b"))
    done = fab.run("ssh")
    assert done.status == 2
    assert done.error == "error: --host: test has 2 hosts; write HOST=NAME with one of a, b"
    assert fab.run("ssh", "--host", "b", "--command", "true").status == 0


def test_restart_without_an_engine_says_what_to_run_first(fab: Fab) -> None:
    done = fab.run("restart")
    assert done.status == 1
    assert "vllm.service is not installed; run provision first" in done.error


BROKEN_ENGINE = """
cat > /etc/systemd/system/vllm.service <<'END'
[Service]
ExecStart=/bin/sh -c 'echo "ValueError: LoRA rank 16 is greater than max_lora_rank 8."; exit 1'
Restart=on-failure
RestartSec=1
END
systemctl daemon-reload
"""


def test_restart_of_an_engine_that_cannot_start_ends_with_the_cause(machine: HostRecord, fab: Fab) -> None:
    remote(machine, BROKEN_ENGINE)
    done = fab.run("restart", deadline_s=60)
    remote(machine, "systemctl stop vllm; rm /etc/systemd/system/vllm.service; systemctl daemon-reload")
    assert done.status == 1
    assert "ValueError: LoRA rank 16 is greater than max_lora_rank 8.; raise vllm.max_lora_rank" in done.error


def test_status_of_a_machine_that_serves_ends_with_0(serving: Fab) -> None:
    done = serving.run("status")
    assert done.status == 0, done.out
    assert re.search(r"^  engine  vLLM 0\.\d+\.\d+$", done.columns, re.MULTILINE)
    assert "  models  tiny\n" in done.columns
    assert "  adapters  contract, contract@3, summary, summary@1\n" in done.columns
    assert "  queue  0 of 4 running, 0 of 64 waiting\n" in done.columns
    assert re.search(r"^  memory  \d\.\d of 6\.0 GiB free$", done.columns, re.MULTILINE)  # and not the host's
    assert "89 days left" in done.out
    assert all(line.startswith(("✓", " ", "! error")) for line in done.out.splitlines()), done.out


def test_top_needs_nothing_on_the_host_that_provision_did_not_install(serving: Fab, served_machine: Served) -> None:
    """Real servers, counters and log lines, and no Prometheus."""
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ["gateway"]).endpoint
    assert endpoint
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        client.chat("contract", "Hello", max_tokens=2)
    assert remote(served_machine.host, "systemctl is-active prometheus || true").strip() == "inactive"
    done = serving.run("top", "--once", "--json")
    assert done.status == 0, done.err
    seen = json.loads(done.out)
    (host,) = seen["hosts"]
    assert (host["state"], host["running"], host["places"], host["error"]) == ("UP", 0, 4, "")
    assert host["answer_tokens_s"] is not None
    assert (host["cache"] is None, host["adapters"]) == (False, [])
    row = next(each for each in seen["classes"] if each["name"] == "interactive")
    assert (row["waiting"], row["requests"] > 0, row["first_p50_s"] > 0) == (0, True, True)
    assert (seen["waiting"], seen["spend"], seen["unseen"]) == (0, [], {})


def test_status_finds_an_engine_that_answers_and_computes_nothing(serving: Fab, served_machine: Served) -> None:
    """Its core was stopped for minutes; health checks passed, and status called that host healthy."""
    send = "kill -{} $(pgrep -f '^VLLM::EngineCore')"
    # Without the watcher, which would have such an engine restarted.
    served_machine.run("systemctl stop llm-engine-watch.service")
    remote(served_machine.host, send.format("STOP"))
    try:
        assert served_machine.get("/health")[0] == 200
        done = serving.run("status", deadline_s=60)
    finally:
        remote(served_machine.host, send.format("CONT"))
        served_machine.run("systemctl start llm-engine-watch.service")
    assert done.status == 1
    assert re.search(
        r"^! token +tiny: none within \d+ s; the engine answers but computes nothing$", done.out, re.MULTILINE
    )
    assert served_machine.complete("contract")[0] == 200


def test_logs_are_those_of_the_units_asked_for(serving: Fab) -> None:
    both = serving.run("logs", "--lines", "500")
    assert both.status == 0
    assert " haproxy[" in both.out
    assert " python[" in both.out or "vllm" in both.out
    gateway = serving.run("logs", "--unit", "gateway", "--lines", "3")
    assert len(gateway.out.splitlines()) == 3
    assert "vllm" not in gateway.out
    assert serving.run("logs", "--unit", "engin").error == "error: --unit: 'engin' is not known; did you mean engine?"


def test_logs_are_followed_until_ctrl_c(serving: Fab, served_machine: Served) -> None:
    running = serving.start("logs", "--unit", "gateway", "--lines", "1", "--follow")
    running.wait_for("until Ctrl-C")
    running.wait_for_output("haproxy")  # it follows now: later lines are not missed
    remote(served_machine.host, "systemctl reload haproxy")
    running.wait_for_output("Reload")
    running.interrupt()
    assert running.end().status == 0


def test_a_restart_lets_running_answers_finish_and_holds_new_ones_back(serving: Fab, served_machine: Served) -> None:
    served_machine.run("""
        nohup python3 /tmp/stream 700 > /tmp/events 2>/dev/null & echo $! > /tmp/stream.pid
        wait_until '[ $(wc -l < /tmp/events) -gt 10 ]'
    """)
    before = served_machine.unit("InvocationID")
    running = serving.start("restart")
    held_back, *events = served_machine.run("""
        wait_until '[ $(state) = deactivating ]'
        wait_until 'python3 /tmp/gateway-state | grep -q ^DRAIN'
        echo "running: $(kill -0 $(cat /tmp/stream.pid) && echo yes)"
        wait_until '! kill -0 $(cat /tmp/stream.pid) 2>/dev/null'
        cat /tmp/events
    """).splitlines()
    done = running.end(deadline_s=300)
    assert held_back == "running: yes"
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "length"
    assert done.status == 0, done.err
    assert "serves again after" in done.err
    assert served_machine.unit("InvocationID") != before
    assert served_machine.complete("contract")[0] == 200
