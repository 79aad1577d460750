"""vLLM on a real machine: it answers, and restarts after a kill. Failed starts: test_vllm_upgrade.py."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from provisioning.apply.desired_state import desired_state
from provisioning.dashboards.panels import DASHBOARDS
from provisioning.roles.host.layout import ENGINE_ENV
from provisioning.roles.monitoring.alerts import rules_file
from serving.spec.models import GatewaySpec
from serving.spec.monitoring_fields import MonitoringSpec
from serving.spec.vllm_options import ALLOWED, NUMBER, OWN_KEYS, REASONING_PARSERS, TOOL_CALL_PARSERS
from serving.timed_client import Client
from tests.doubles.engine import EngineDouble, vllm_metrics
from tests.machine import greedy_answers
from tests.machine.converge_host import bring, poll, reached, remote
from tests.machine.served import Served

VENV = "/var/lib/llm/venvs/vllm"

MESSAGES = [{"role": "user", "content": "What does the contract say?"}]
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def test_a_second_run_changes_nothing(served_machine: Served) -> None:
    seen = bring(served_machine.host, served_machine.resources)
    assert seen.result.ok
    assert [outcome.id for outcome in seen.result.changed] == []
    assert seen.result.round_trips == 1


def test_models_are_listed_by_alias_and_by_immutable_name(served_machine: Served) -> None:
    status, body = served_machine.get("/v1/models")
    assert status == 200
    names = {model["id"] for model in json.loads(body)["data"]}
    assert names == set(served_machine.outputs.serving.served_names)
    assert names == {"tiny", "contract", "contract@3", "summary", "summary@1"}


def test_base_and_adapters_give_different_answers(served_machine: Served) -> None:
    answers = {name: served_machine.complete(name) for name in ("tiny", "contract", "summary")}
    assert [status for status, _ in answers.values()] == [200, 200, 200]
    assert len({text for _, text in answers.values()}) == 3


@pytest.mark.parametrize("model", greedy_answers.ANSWERS)
def test_the_greedy_answers_match_the_other_engine(served_machine: Served, model: str) -> None:
    wanted = greedy_answers.ANSWERS[model]
    said = served_machine.answers(model, list(wanted), max_tokens=greedy_answers.TOKENS)
    assert dict(zip(wanted, said, strict=True)) == wanted


def test_an_alias_and_its_immutable_name_are_the_same_adapter(served_machine: Served) -> None:
    assert served_machine.complete("contract") == served_machine.complete("contract@3")


@pytest.mark.parametrize(("model", "key", "status"), [("tiny", False, 401), ("unheard-of", True, 404)])
def test_strangers_and_unknown_models_are_refused(served_machine: Served, model: str, key: bool, status: int) -> None:
    assert served_machine.complete(model, key=key)[0] == status


def test_the_key_is_roots_alone_and_in_no_argument_list(served_machine: Served) -> None:
    key = remote(served_machine.host, f"sed -n s/^VLLM_API_KEY=//p {ENGINE_ENV}").strip()
    assert re.fullmatch(r"[\w-]{43}", key)
    assert remote(served_machine.host, f"stat -c '%a %U' {ENGINE_ENV}").strip() == "600 root"
    lines = remote(served_machine.host, "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'; journalctl -q --no-pager")
    assert "api_server" in lines
    assert key not in lines


def test_only_root_the_engine_and_the_gateway_may_connect_to_it(served_machine: Served) -> None:
    """Not even on /health and /metrics, which need no key."""
    users = ("root", "llm", "haproxy", "nobody", "admin")
    seen = {user: reached(served_machine.host, 8000, "/metrics", user) for user in users}
    assert seen == {"root": "200", "llm": "200", "haproxy": "200", "nobody": "000", "admin": "000"}
    sockets = remote(served_machine.host, "ss -ltnH '( sport = 8000 )'").split()
    assert sockets[3] == "127.0.0.1:8000"


def test_the_engine_may_not_write_or_change_its_user(served_machine: Served) -> None:
    pid = served_machine.unit("MainPID")
    status = remote(served_machine.host, f"cat /proc/{pid}/status")
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    refused = remote(
        served_machine.host,
        f"nsenter -t {pid} -m setpriv --reuid=llm --regid=llm --clear-groups "
        "sh -c 'for path in /var/lib/llm/models /etc /usr; do touch $path/x 2>/dev/null && echo $path; done; true'",
    )
    assert refused == ""


REQUESTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat": ("/v1/chat/completions", {"model": "contract", "messages": MESSAGES}, "contract@3"),
    "chat, streamed": ("/v1/chat/completions", {"model": "tiny", "messages": MESSAGES, **STREAMED}, "tiny"),
    "completion": ("/v1/completions", {"model": "contract@3", "prompt": "The rent"}, "contract@3"),
    "completion, streamed": ("/v1/completions", {"model": "summary", "prompt": "The rent", **STREAMED}, "summary@1"),
}
"""Path, body, and the model that the line names: of an adapter always the version that computed."""


@pytest.mark.parametrize(("path", "body", "model"), REQUESTS.values(), ids=REQUESTS)
def test_a_finished_request_is_one_line_of_the_journal(
    served_machine: Served, path: str, body: dict[str, Any], model: str
) -> None:
    """Through the gateway, with the id that the gateway gave it, and the tokens that its answer states."""
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ["gateway"]).endpoint
    assert endpoint
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        answer = client.ask("POST", path, {**body, "max_tokens": 7, "ignore_eos": True})
    assert answer.status_code == 200, answer.text
    texts = answer.text.split("data: ") if "stream" in body else [answer.text]
    (usage,) = [json.loads(text)["usage"] for text in texts if '"usage":{' in text]
    name = answer.headers["X-Request-Id"]

    def lines() -> list[dict[str, Any]]:
        found = f"journalctl -q --no-pager -o cat -u vllm | grep -aF '{name}' | grep -a '^{{\"tokens\"' || true"
        return [json.loads(line) for line in remote(served_machine.host, found).splitlines()]

    poll(lines)
    (line,) = lines()
    cached = line.pop("cached_tokens")
    assert 0 <= cached <= usage["prompt_tokens"]
    assert line == {
        "tokens": "vllm",
        "request_id": name,
        "model": model,
        "prompt_tokens": usage["prompt_tokens"],
        "answer_tokens": 7,
    }
    assert usage["completion_tokens"] == 7


def test_the_log_has_the_first_token_of_a_stream_as_its_client_sees_it(served_machine: Served) -> None:
    """vLLM sends the head of a stream long before its first token."""
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ["gateway"]).endpoint
    assert endpoint
    rounds, seen = 10, []
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        client.ask("GET", "/v1/models")  # connected
        for number in range(rounds):
            prompt = f"{number}. " + "What does the contract say? " * 30
            seen.append(client.stream_chat("contract", prompt, max_tokens=4).first_token_s * 1000)
    found = 'journalctl -q --no-pager -o cat -u haproxy | grep -a "^{.*/v1/chat/completions" | tail -n '

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in remote(served_machine.host, found + str(rounds)).splitlines()]

    poll(lambda: len(lines()) == rounds and all(line["adapter"] == "contract" for line in lines()))
    logged = [int(line["first_token_ms"]) for line in lines()]
    heads = [line["queue_ms"] + line["first_byte_ms"] for line in lines()]
    for mine, token, head in zip(seen, logged, heads, strict=True):
        assert head <= token <= mine + 1
    assert sum(logged) > sum(heads)


def test_the_metrics_that_dashboards_and_alerts_read_are_vllms(served_machine: Served) -> None:
    """The engine double has the same names and labels, so tests with it show what a real engine would."""
    assert served_machine.complete("contract")[0] == 200
    status, text = served_machine.get("/metrics", key=False)
    assert status == 200
    exported = _series(text)
    double = _series(vllm_metrics(EngineDouble(port=0)))
    assert double - exported == set()
    alerts = rules_file(served_machine.outputs.serving, GatewaySpec(), MonitoringSpec(), ["main"])
    read = {*re.findall(r"vllm:\w+", alerts + repr(DASHBOARDS))}
    assert read
    assert read - {name for name, _ in double} == set()


def _series(metrics: str) -> set[tuple[str, frozenset[str]]]:
    """Return name and labels of vLLM's series."""
    lines = re.findall(r"^(vllm:\w+)\{(.*)\} ", metrics, re.MULTILINE)
    return {(name, frozenset(re.findall(r'(\w+)="', labels))) for name, labels in lines}


OPTIONS = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
refused = []
for argument in json.load(sys.stdin):
    try:
        parser.parse_args([argument])
    except SystemExit:
        refused.append(argument)
known = sorted(name for action in parser._actions for name in action.option_strings)
parsers = sorted(ToolParserManager.list_registered()), sorted(ReasoningParserManager.list_registered())
print(json.dumps([*parsers, known, refused]))
"""


def test_the_options_that_a_config_may_set_are_those_of_this_release(served_machine: Served) -> None:
    words = {name: ("1" if word == NUMBER else word for word in form.split("|")) for name, form in ALLOWED.items()}
    arguments = [f"{name}={word}" if word else name for name, values in words.items() for word in values]
    said = remote(
        served_machine.host,
        f"cat > /tmp/options.py <<'END'\n{OPTIONS}END\n"
        f"{VENV}/bin/python /tmp/options.py 2>/tmp/options.log <<'END' || {{ cat /tmp/options.log >&2; exit 1; }}\n"
        f"{json.dumps(arguments)}\nEND\n",
    )
    tools, reasoning, known, refused = json.loads(said.splitlines()[-1])
    assert tools == list(TOOL_CALL_PARSERS)
    assert reasoning == list(REASONING_PARSERS)
    assert {*ALLOWED, *OWN_KEYS} - {*known} == set()
    assert refused == []


HELD = "/run/systemd/system/vllm.service.d/held.conf"
HOLD_STARTS = f"""
mkdir -p {HELD.rpartition("/")[0]}
printf '[Service]\\nExecStartPre=+/bin/sh -c "until [ -e /run/go ]; do sleep 0.1; done"\\n' > {HELD}
systemctl daemon-reload
"""
"""Lets no start go on before /run/go is there."""

FILL_PAGE_CACHE = """
cd /sys/fs/cgroup; [ ! -d memory ] || cd memory
of() { cat memory.$1 memory.$2 2>/dev/null || true; }
truncate -s 6G /var/tmp/holes
wait_until 'cat /var/tmp/holes >/dev/null; left=$(($(of max limit_in_bytes) - $(of current usage_in_bytes)))
  [ $left -lt $((512 << 20)) ]'
echo $left; touch /run/go
"""
"""Reads a sparse file, which takes no disk, until the machine's control group, of version 1 or 2, has little memory
left, page cache counted as used; prints the bytes, and lets the start go on. Once was not enough on a loaded computer,
which takes cache back from its machines when it needs memory itself: 3.4 and 1.5 GiB were left."""

SUMMARY = "/var/lib/llm/adapters/summary@1/adapter_config.json"


@dataclass(frozen=True)
class Killed:
    """An engine that was killed, and started again with a full page cache and an adapter that it refuses."""

    served: Served
    pid_before: str
    restarts_before: int
    left_bytes: int
    """The memory that the page cache left free."""


@pytest.fixture(scope="class")
def killed(served_machine: Served) -> Iterator[Killed]:
    """The engine serves again; afterwards its adapter is repaired."""
    served = served_machine
    pid, restarts = served.unit("MainPID"), int(served.unit("NRestarts"))
    remote(served.host, HOLD_STARTS)
    remote(
        served.host,
        f"""sed -i 's/"r": 8/"r": 8, "init_lora_weights": "pissa"/' {SUMMARY} && grep -q pissa {SUMMARY}""",
    )
    try:
        served.run(f"kill -9 {pid}; wait_until '[ $(state) = activating ]'")
        left_bytes = int(served.run(FILL_PAGE_CACHE))
        served.run("wait_until '[ $(state) = active ]'")
        yield Killed(served, pid, restarts, left_bytes)
    finally:
        remote(served.host, f"rm -f /var/tmp/holes /run/go {HELD}; systemctl daemon-reload")
        repaired = bring(served.host, served.resources)
    assert repaired.result.ok
    assert [outcome.id for outcome in repaired.result.changed if outcome.id.startswith("unit:")] == []
    assert served.complete("summary")[0] == 200


class TestAfterAKill:
    """One start for three tests: a start takes half a minute."""

    def test_it_comes_back(self, killed: Killed) -> None:
        assert killed.served.unit("MainPID") != killed.pid_before
        assert killed.served.complete("contract")[0] == 200

    def test_a_full_page_cache_fails_no_start(self, killed: Killed) -> None:
        """On a new machine, vLLM counted the cache as used memory, found 0.88 of 6 GiB free, and died each time."""
        assert killed.left_bytes < killed.served.outputs.serving.vllm.kv_cache_gib * 2**30
        assert int(killed.served.unit("NRestarts")) == killed.restarts_before + 1

    def test_an_adapter_that_the_engine_refuses_does_not_stop_the_rest(self, killed: Killed) -> None:
        """It passed all checks: `init_lora_weights: pissa` did, and stopped base and good adapters too."""
        names = ("tiny", "contract", "contract@3", "summary", "summary@1")
        assert [killed.served.complete(name)[0] for name in names] == [200, 200, 200, 404, 404]
        refused = json.loads(killed.served.get("/v1/llm-deploy/adapters")[1])["refused"]
        assert list(refused) == ["summary@1"]
        assert "init_lora_weights='pissa'" in refused["summary@1"]["problem"]
