"""The watcher beside a real vLLM, with a real gateway in front. Its restart of a hung engine: test_services.py."""

import re

from provisioning.roles.host.layout import WATCH_UNIT
from services.engine_watch.engine import MOVES, WORK
from tests.machine.converge_host import reached, remote
from tests.machine.served import Served
from tests.slowness import patient

METRICS = "curl -sS http://127.0.0.1:8410/metrics"
CORE = "$(pgrep -f '^VLLM::EngineCore')"


def test_the_counters_that_it_compares_are_those_of_this_release(served_machine: Served) -> None:
    text = served_machine.get("/metrics", key=False)[1]
    moves = {re.sub(r"\{.*", "", found.group()) for found in MOVES.finditer(text)}
    assert moves == {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prefix_cache_queries_total",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:iteration_tokens_total_count",
        "vllm:num_preemptions_total",
    }
    assert len(WORK.findall(text)) == 2


def test_a_stopped_core_is_out_of_rotation_and_back(served_machine: Served) -> None:
    """vLLM's /health stays 200 meanwhile."""
    said = served_machine.run(
        f"""
        wait_until '[ "$(python3 /tmp/gateway-state)" = UP ]'
        core={CORE}
        kill -STOP $core; began=$(date +%s%N)
        wait_until 'case "$(python3 /tmp/gateway-state)" in DOWN*) ;; *) false ;; esac'
        echo $((($(date +%s%N) - began) / 1000000))
        curl -s -o /dev/null -w '%{{http_code}}\\n' http://127.0.0.1:8000/health
        kill -CONT $core
        wait_until '[ "$(python3 /tmp/gateway-state)" = UP ]'
        """
    )
    milliseconds, health = said.split()
    assert int(milliseconds) < patient(5000)
    assert health == "200"
    assert served_machine.complete("contract")[0] == 200


def test_an_engine_at_its_limit_is_not_taken_for_dead(served_machine: Served) -> None:
    """Sixteen clients at four places, with long prompts: the front splits them while the core computes."""
    before = remote(served_machine.host, f"{METRICS} | grep ^llm_watch_hangs")
    said = served_machine.run(
        """
        key=$(sed -n s/^VLLM_API_KEY=//p /etc/llm/engine.env)
        python3 - <<'END' > /tmp/body
import json
print(json.dumps({"model": "contract", "prompt": "The rent is due. " * 80, "max_tokens": 200, "ignore_eos": True}))
END
        for client in $(seq 16); do
            curl -sS -o /dev/null -w '%{http_code}\\n' -H "Authorization: Bearer $key" -d @/tmp/body \
                -H 'Content-Type: application/json' http://127.0.0.1:8000/v1/completions &
        done
        wait
        """
    )
    assert said.split() == ["200"] * 16
    seen = remote(served_machine.host, METRICS)
    assert before.strip() in seen
    assert "llm_watch_up 1" in seen


def test_its_death_is_not_noticed_by_clients(served_machine: Served) -> None:
    said = served_machine.run(
        f"""
        before=$(systemctl show --value -p NRestarts {WATCH_UNIT})
        wait_until '[ "$(python3 /tmp/gateway-state)" = UP ]'
        systemctl kill --signal=SIGKILL {WATCH_UNIT}
        for _ in $(seq 30); do python3 /tmp/gateway-state; sleep 0.1; done | sort -u
        wait_until '{METRICS} | grep -q "^llm_watch_up 1"'
        echo $(($(systemctl show --value -p NRestarts {WATCH_UNIT}) - before))
        """
    )
    assert said.split() == ["UP", "1"]


def test_only_it_and_the_gateway_may_ask_the_engine(served_machine: Served) -> None:
    assert reached(served_machine.host, 8000, "/metrics", "llm-watch") == "200"
    who = remote(served_machine.host, f"ps -o user= -p $(systemctl show --value -p MainPID {WATCH_UNIT})").strip()
    assert who in ("llm-watch", "llm-wat+")
