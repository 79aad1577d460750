"""Ollama on a real machine: releases, models, who may connect to it, and that running answers finish."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from provisioning.roles.host.layout import WATCH_UNIT
from serving.smoke.run import smoke
from serving.timed_client import Client
from tests.doubles.ollama_registry import running_registry
from tests.gguf import Matrix, in_half_precision, read_matrices, read_safetensors
from tests.machine import greedy_answers, sdk_calls
from tests.machine.converge_host import poll, remote
from tests.machine.machines import making_machines, one_thread
from tests.machine.ollama_host import (
    ADAPTER_TYPE,
    CONFIG,
    CONFIG_TYPE,
    CURRENT,
    MODEL,
    NEWER,
    TEMPLATE,
    WEIGHTS_TYPE,
    OllamaHost,
    Release,
    publish_release,
    publish_script,
    weights_of,
)
from tests.machine.served import GATEWAY_STATE
from tests.slowness import patient
from tools.tiny_model import make_tiny_model
from tools.tiny_model.architectures import ARCHITECTURES

MEMORY_MIB = 2048
FIRST_CUT_BYTES = 5_000_000
SERVED = ["contract:3", "contract:latest", "summary:1", "summary:latest", "tiny:latest"]
QUESTION = '{"model": "MODEL", "prompt": "x", "stream": false, "options": {"num_predict": 2}}'
BROKEN = '#!/bin/sh\n[ "$1" = --version ] && echo client version is 0.24.1 || exit 1\n'
NOT_IT = "#!/bin/sh\necho client version is 0.23.0\n"
GOOD = f'#!/bin/sh\n[ "$1" = --version ] && echo client version is {NEWER} || exec {{real}} "$@"\n'


@pytest.fixture(scope="module")
def served(machine_state: Path) -> Iterator[OllamaHost]:
    """A machine that serves a base model with two adapters; the fetch of its release was interrupted once."""
    with pytest.MonkeyPatch.context() as patch, making_machines(machine_state) as make:
        patch.setenv("LLM_DEPLOY_STATE", str(machine_state))
        machine = one_thread(make("ollama", memory_mib=MEMORY_MIB))
        with running_registry(remote(machine, "ip -4 route show default").split()[2]) as server:
            release = publish_release(server)
            server.cut_after[release.url.removeprefix(server.url)] = FIRST_CUT_BYTES
            host = OllamaHost(machine, server, release)
            first = host.bring()
            assert first.result.ok, [(each.id, each.error, each.detail) for each in first.result.failed]
            yield host


def in_order_of_gguf(rows: Matrix, heads: int) -> Matrix:
    """Return rows of a query or key in the order in which a GGUF file has them."""
    half = len(rows) // heads // 2
    return [
        rows[head * 2 * half + side * half + row] for head in range(heads) for row in range(half) for side in (0, 1)
    ]


def test_adapters_on_queries_and_keys_are_stored_as_they_were_trained(served: OllamaHost) -> None:
    """Ollama's converter reordered lora_A instead of lora_B's rows, and all answers of the adapter were wrong."""
    stored = read_matrices(weights_of(served, "contract/3", ADAPTER_TYPE))
    trained = read_safetensors(make_tiny_model("llama").adapter("a") / "adapter_model.safetensors")
    shape = ARCHITECTURES["llama"]
    for module, name, heads in (("q_proj", "attn_q", shape.heads), ("k_proj", "attn_k", shape.kv_heads)):
        a, b = (trained[f"base_model.model.model.layers.0.self_attn.{module}.lora_{each}.weight"] for each in "AB")
        assert stored[f"blk.0.{name}.weight.lora_a"] == in_half_precision(a)
        assert stored[f"blk.0.{name}.weight.lora_b"] == in_half_precision(in_order_of_gguf(b, heads))


@pytest.mark.parametrize("model", greedy_answers.ANSWERS)
def test_the_greedy_answers_match_the_other_engine(served: OllamaHost, model: str) -> None:
    """Ollama's answers differed from vLLM's if an adapter changes queries and keys."""
    wanted = greedy_answers.ANSWERS[model]
    options = {"temperature": 0, "repeat_penalty": 1, "num_predict": greedy_answers.TOKENS}
    asked = {"model": model, "raw": True, "stream": False, "options": options}
    bodies = "".join(json.dumps({**asked, "prompt": prompt}) + "\n" for prompt in wanted)
    said = served.run(f"""
        while read -r body; do
            printf %s "$body" | curl -sS -m 120 http://127.0.0.1:11434/api/generate -d @-; echo
        done <<'END'
{bodies}END
    """)
    answers = [json.loads(line).get("response", line) for line in said.splitlines()]
    assert dict(zip(wanted, answers, strict=True)) == wanted


@pytest.fixture
def changing(served: OllamaHost) -> Iterator[OllamaHost]:
    """The machine, for a test that changes it: the next one finds the first release and its models again."""
    yield served
    again = served.bring(allow_downgrade=True, ollama={"prune": True})
    assert again.result.ok, [(each.id, each.error, each.detail) for each in again.result.failed]


def test_the_fetch_of_the_release_resumed_after_the_break(served: OllamaHost) -> None:
    assert served.server.ranges(served.release.url.removeprefix(served.server.url))[:2] == [
        "",
        f"bytes={FIRST_CUT_BYTES}-",
    ]
    assert served.current == served.release.folder
    assert served.run(f"stat -L -c '%U %a' {CURRENT} {CURRENT}/bin/ollama").split() == ["root", "755", "root", "755"]


def test_a_second_run_changes_nothing(served: OllamaHost) -> None:
    served.bring(ollama={"prune": True})
    seen = served.bring(ollama={"prune": True})
    assert [each.id for each in seen.result.changed] == []
    assert seen.result.round_trips == 1


def test_the_whole_machine_passes_the_smoke_test(
    served: OllamaHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.delenv("LLM_DEPLOY_RUN", raising=False)
    endpoint = served.desired().endpoint
    assert endpoint is not None
    status = smoke(endpoint, wait_s=60)
    result = json.loads((tmp_path / endpoint.stack / "latest" / "smoke.json").read_text())
    assert status == 0, result
    names = {check["name"] for check in result["checks"]}
    assert {"differs[contract:latest]", "differs[summary:latest]", "answers[contract:3]", "native_api"} <= names


@pytest.mark.parametrize("call", sdk_calls.OLLAMA, ids=lambda call: call.__name__)
def test_a_call_of_an_sdk_gets_its_answer(
    served: OllamaHost, monkeypatch: pytest.MonkeyPatch, call: sdk_calls.Call
) -> None:
    endpoint = served.desired().endpoint
    assert endpoint
    monkeypatch.setenv("SSL_CERT_FILE", str(endpoint.ca))
    with sdk_calls.target(endpoint) as to:
        call(to)


def test_the_model_is_loaded_before_anybody_asks(served: OllamaHost) -> None:
    served.run("systemctl restart ollama")
    loaded = json.loads(served.ask("/api/ps").removeprefix("200 "))["models"]
    assert [model["name"] for model in loaded] == ["tiny:latest"]
    assert loaded[0]["context_length"] == MODEL["context_tokens"]


def test_only_root_the_engine_and_the_gateway_may_connect_to_it(served: OllamaHost) -> None:
    seen = {user: served.ask("/api/version", user=user)[:3] for user in ("root", "llm", "haproxy", "nobody", "admin")}
    assert seen == {"root": "200", "llm": "200", "haproxy": "200", "nobody": "000", "admin": "000"}
    assert served.run("ss -ltnH '( sport = 11434 )'").split()[3] == "127.0.0.1:11434"


def test_nobody_else_answers_in_the_engines_place(served: OllamaHost) -> None:
    """A program that took the port of a stopped engine would get the clients' prompts."""
    answers = served.run("""
        systemctl stop ollama
        trap 'kill $other; systemctl start ollama' EXIT
        cd /
        setpriv --reuid=nobody --clear-groups python3 -m http.server --bind 127.0.0.1 11434 2>/dev/null & other=$!
        until ss -ltnH '( sport = 11434 )' | grep -q .; do kill -0 $other; done
        for user in root haproxy nobody; do
            ask="curl -s -m 2 -o /dev/null -w %{http_code} http://127.0.0.1:11434"
            echo "$user $(setpriv --reuid=$user --clear-groups $ask)" &
            asking="${asking:-} $!"
        done
        wait $asking
    """)
    assert sorted(answers.splitlines()) == ["haproxy 000", "nobody 000", "root 000"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/api/delete", '{"model": "contract:3"}'),
        ("POST", "/api/copy", '{"source": "contract:3", "destination": "mine"}'),
        ("POST", "/api/create", '{"model": "mine", "from": "tiny", "system": "x"}'),
    ],
)
def test_not_even_root_changes_models_through_the_engine(served: OllamaHost, method: str, path: str, body: str) -> None:
    assert "read-only file system" in served.ask(path, body, method=method)
    assert served.models == SERVED


def test_system_prompt_template_and_parameters_are_those_of_the_spec(served: OllamaHost) -> None:
    for model in ("tiny", "contract"):
        shown = json.loads(served.ask("/api/show", f'{{"model": "{model}"}}').removeprefix("200 "))
        assert shown["system"] == "You are a lawyer."
        assert shown["template"] == TEMPLATE
        assert {"temperature 0", "num_ctx 1024", "num_thread 1"} <= {
            " ".join(line.split()) for line in shown["parameters"].splitlines()
        }


def test_openais_other_paths_answer_through_the_gateway(served: OllamaHost) -> None:
    endpoint = served.desired().endpoint
    assert endpoint is not None
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        # After a test that stopped the engine, HAProxy needs some seconds to see that it is back.
        poll(lambda: client.ask("GET", "/health").status_code == 200, deadline_s=30)
        answer = client.ask("POST", "/v1/responses", {"model": "contract", "input": "Rent", "max_output_tokens": 2})
        assert answer.json().get("output"), answer.text
        answer = client.ask("POST", "/v1/embeddings", {"model": "tiny", "input": "Rent"})
        assert len(answer.json()["data"][0]["embedding"]) > 1, answer.text
        assert client.ask("GET", "/v1/models/contract:3").json()["id"] == "contract:3"


HANG_UP = """
import json, os, socket, ssl, sys, time
from pathlib import Path
key, stream, runner = os.environ["KEY"], sys.argv[1] == "stream", Path("/proc", sys.argv[2], "task")
STILL_S, BUSY_S = 0.3, 0.005

def computed():
    return sum(int((task / "schedstat").read_text().split()[0]) for task in runner.iterdir()) / 1e9

def until(true, what):
    end = time.monotonic() + 60
    while not true():
        if time.monotonic() > end:
            sys.exit("waited 60 s for " + what)

def ends():
    last, seen = time.monotonic(), computed()
    while time.monotonic() - last < STILL_S:
        time.sleep(0.005)
        now = computed()
        if now - seen > BUSY_S:
            last, seen = time.monotonic(), now
    return last

ends()
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
client = tls.wrap_socket(socket.create_connection(("127.0.0.1", 443), timeout=60))
body = json.dumps({"model": "tiny", "prompt": "The rent", "max_tokens": 20000, "stream": stream})
lines = ("POST /v1/completions HTTP/1.1", "Host: gateway", "Authorization: Bearer " + key)
lines += ("Content-Type: application/json", "Content-Length: %d" % len(body), "", body)
before = computed()
client.sendall("\\r\\n".join(lines).encode())
if stream:
    said = client.recv(4096)
    if not said.startswith(b"HTTP/1.1 200"):
        sys.exit(said.decode())
until(lambda: computed() - before > 0.1, "its work")
client.close()
closed, done = time.monotonic(), computed()
last = ends()
print(json.dumps([last - closed, computed() - done]))
"""
"""Hangs up in the middle of an answer. Ollama has no counter of running requests: its runner's processor time tells."""


@pytest.mark.parametrize("kind", ["stream", "whole"])
def test_a_client_that_hangs_up_frees_its_work_in_the_engine(served: OllamaHost, kind: str) -> None:
    assert served.ask("/api/generate", QUESTION.replace("MODEL", "tiny")).startswith("200"), "its runner was not loaded"
    endpoint = served.desired().endpoint
    assert endpoint
    key = endpoint.api_key().get_secret_value()
    said = served.run(
        f"cat > /tmp/hang_up.py <<'END'\n{HANG_UP}END\n"
        f"KEY={key} python3 /tmp/hang_up.py {kind} $(pgrep -f '[o]llama runner')"
    )
    after_s, computed_s = json.loads(said)
    assert after_s < patient(0.2)
    assert computed_s < 0.2  # processor time: no load makes it longer


def test_a_restart_lets_running_answers_finish(served: OllamaHost) -> None:
    key = json.loads(served.desired().endpoint.keys_file.read_text())["default"]  # type: ignore[union-attr]
    body = json.dumps({"model": "tiny", "prompt": "The rent", "max_tokens": 900, "stream": True})
    assert served.ask("/api/generate", QUESTION.replace("MODEL", "tiny")).startswith("200"), "its runner was not loaded"
    # The runner is stopped except for moments: 900 tokens take half a second, and the restart must begin earlier.
    said = served.run(f"""
        wait_until() {{ for _ in $(seq 300); do eval "$1" && return; sleep 0.1; done; echo "never: $1"; exit 1; }}
        runner=$(pgrep -f '[o]llama runner')
        trap 'kill -CONT $runner 2>/dev/null || true' EXIT
        kill -STOP $runner
        computed() {{ kill -CONT $runner; sleep 0.02; kill -STOP $runner; [ $(wc -l < /tmp/stream) -gt 4 ]; }}
        curl -skN -m 120 https://127.0.0.1/v1/completions -H @/dev/stdin -d '{body}' > /tmp/stream <<'END' &
Authorization: Bearer {key}
Content-Type: application/json
END
        stream=$!
        wait_until computed
        systemctl restart --no-block ollama
        wait_until '[ $(systemctl show --value -p ActiveState ollama) = deactivating ]'
        echo "running: $(kill -0 $stream && echo yes)"
        kill -CONT $runner
        wait $stream
        tail -n 3 /tmp/stream
    """)
    assert said.startswith("running: yes")
    assert said.endswith("data: [DONE]")
    poll(lambda: served.run("systemctl is-active ollama || true") == "active", deadline_s=60)


WATCHER = f"""
    asks() {{ python3 -c 'import socket; print(*socket.create_connection(("127.0.0.1", 8406)).makefile(), end="")'; }}
    gateway() {{ python3 - <<'END'{GATEWAY_STATE}END
    }}
    wait_until() {{ for _ in $(seq 600); do eval "$1" && return; sleep 0.1; done; echo "never: $1"; exit 1; }}
    up() {{ wait_until 'case "$(asks)" in "up ready "*) ;; *) false ;; esac'; wait_until '[ "$(gateway)" = UP ]'; }}
    runner() {{ pgrep -f '[o]llama runner'; }}
"""
"""What the watcher says, and what the gateway makes of it."""


@pytest.mark.parametrize("part", ["runner", "systemctl show --value -p MainPID ollama"])
def test_a_stopped_engine_is_out_of_rotation_and_back(served: OllamaHost, part: str) -> None:
    assert served.ask("/api/generate", QUESTION.replace("MODEL", "tiny")).startswith("200"), "its runner was not loaded"
    said = served.run(f"""{WATCHER}
        up
        process=$({part}); began=$(date +%s%N)
        trap 'kill -CONT $process' EXIT
        kill -STOP $process
        wait_until 'case "$(gateway)" in DOWN*) ;; *) false ;; esac'
        echo $((($(date +%s%N) - began) / 1000000)); asks
        kill -CONT $process
        up
    """)
    milliseconds, reason = said.splitlines()
    assert int(milliseconds) < patient(5000)
    assert reason == "down # ollama is stopped by a signal or a debugger"


def test_a_slow_engine_stays_and_keeps_its_model(served: OllamaHost) -> None:
    """The watcher's own question during a long answer of an adapter loaded the base model in its place."""
    assert served.ask("/api/generate", QUESTION.replace("MODEL", "contract:3")).startswith("200")
    body = json.dumps({"model": "contract:3", "prompt": "x", "raw": True, "options": {"num_predict": 200}})
    said = served.run(f"""{WATCHER}
        up
        wait_until '[ "$(asks)" = "up ready 100%" ]'  # grows for 15 s
        runner=$(runner)
        systemctl set-property --runtime ollama CPUQuota=1%
        (while :; do curl -sN -m 120 http://127.0.0.1:11434/api/generate -d '{body}'; done > /tmp/slow) & clients=$!
        trap 'kill $clients; systemctl set-property --runtime ollama CPUQuota=' EXIT
        wait_until '[ -s /tmp/slow ]'
        for _ in $(seq 40); do asks; sleep 0.25; done | sort -u
        [ "$(runner)" = "$runner" ] && echo "same runner" || runner
    """)
    assert said.splitlines() == ["up ready 100%", "same runner"]


def test_the_watchers_death_is_seen_and_changes_nothing(served: OllamaHost) -> None:
    said = served.run(f"""{WATCHER}
        up
        systemctl stop {WATCH_UNIT}
        trap 'systemctl start {WATCH_UNIT}' EXIT
        for _ in $(seq 15); do gateway; sleep 0.1; done | sort -u
        systemctl is-active {WATCH_UNIT} || true
        curl -s -m 2 -o /dev/null http://127.0.0.1:8410/metrics || echo "no metrics"
    """)
    assert said.split("\n") == ["UP", "inactive", "no metrics"]


def failing(served: OllamaHost, release: Release, resource: str) -> str:
    """Return why the machine refuses a release."""
    seen = served.bring(["engine"], ollama={"release": release.config})
    assert not seen.result.ok
    failed = {each.id: each for each in seen.result.failed}
    assert resource in failed, failed
    return f"{failed[resource].error}\n{failed[resource].detail}"


def test_a_wrong_release_changes_nothing(changing: OllamaHost) -> None:
    other = Release(NEWER, changing.release.url, "f" * 64)
    before = changing.run("systemctl show --value -p InvocationID ollama")
    assert "expected ffff" in failing(
        changing, other, f"download:/var/lib/llm/ollama/archives/ollama-{NEWER}-ffffffffffff.tar.zst"
    )
    lying = publish_script(changing.server, "lying", NOT_IT)
    assert f"does not hold version {NEWER}" in failing(changing, lying, "command:ollama-release")
    assert changing.current == changing.release.folder
    assert changing.run("systemctl show --value -p InvocationID ollama") == before


def test_a_release_that_does_not_start_is_replaced_by_the_previous_one(changing: OllamaHost) -> None:
    broken = publish_script(changing.server, "broken", BROKEN)
    assert f"returned to version {changing.release.version}, which answers again" in failing(
        changing, broken, "unit:ollama.service"
    )
    assert changing.current == changing.release.folder
    assert changing.ask("/api/version")[:3] == "200"


def test_a_newer_release_is_installed_and_an_older_one_only_on_request(changing: OllamaHost) -> None:
    newer = publish_script(
        changing.server, "newer", GOOD.format(real=f"/var/lib/llm/ollama/{changing.release.folder}/bin/ollama")
    )
    assert changing.bring(["engine"], ollama={"release": newer.config}).result.ok
    assert changing.current == newer.folder
    asked = len(changing.server.asked)
    back = changing.bring(ollama={"system": "You are another lawyer."}).result
    assert "is older than" in str([each.error for each in back.failed])
    assert back.changed == ()
    assert changing.current == newer.folder
    assert changing.bring(["engine"], allow_downgrade=True).result.ok
    assert changing.current == changing.release.folder
    assert len(changing.server.asked) == asked  # releases still on the host are not fetched again


def test_a_model_of_a_registry_is_pulled_by_digest_resumed_and_pruned(changing: OllamaHost) -> None:
    weights = weights_of(changing, "tiny/latest")
    digest = changing.server.add_model("acme/base:1b", {CONFIG_TYPE: CONFIG, WEIGHTS_TYPE: weights})
    path = next(name for name, content in changing.server.files.items() if content == weights)
    changing.server.cut_after[path] = len(weights) // 2
    source = {"kind": "ollama", "name": "acme/base:1b", "digest": digest, "registry": changing.server.url}
    wanted = {"model": {"name": "pulled", "source": source}, "adapters": []}

    moved = changing.bring(
        ["engine"], **{**wanted, "model": {"name": "pulled", "source": {**source, "digest": "e" * 64}}}
    )
    assert "the tag has moved" in str([(each.error, each.detail) for each in moved.result.failed])
    assert changing.models == SERVED

    pulled = changing.bring(["engine"], **wanted)
    assert pulled.result.ok, [(each.id, each.error, each.detail) for each in pulled.result.failed]
    assert changing.server.ranges(path) == ["", f"bytes={len(weights) // 2}-"]
    assert changing.models == sorted([*SERVED, "pulled:latest"])
    assert changing.ask("/api/generate", QUESTION.replace("MODEL", "pulled"))[:3] == "200"

    pruned = changing.bring(["engine"], **wanted, ollama={"prune": True})
    assert pruned.result.ok
    assert changing.models == ["pulled:latest"]
    assert changing.ask("/api/generate", QUESTION.replace("MODEL", "contract"))[:3] == "404"


def test_a_gguf_file_is_served_if_its_checksum_is_correct(changing: OllamaHost, tmp_path: Path) -> None:
    weights = weights_of(changing, "tiny/latest")
    (tmp_path / "mine.gguf").write_bytes(weights)
    source = {"kind": "gguf", "path": str(tmp_path / "mine.gguf"), "sha256": "d" * 64}
    wrong = changing.bring(["engine"], model={"name": "mine", "source": source}, adapters=[])
    assert "which the stack file pins" in str([each.error for each in wrong.result.failed])
    source["sha256"] = sha256(weights).hexdigest()
    right = changing.bring(["engine"], model={"name": "mine", "source": source}, adapters=[])
    assert right.result.ok, [(each.id, each.error, each.detail) for each in right.result.failed]
    assert changing.ask("/api/generate", QUESTION.replace("MODEL", "mine"))[:3] == "200"
