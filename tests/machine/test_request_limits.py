"""No request may crash the engine, block it for others, or get a 500 for its own values."""

import json
from pathlib import Path

from tests.machine import request_cases
from tests.machine.converge_host import remote
from tests.machine.served import Served

ASK = """
import collections, http.client, json, sys, threading, time
sys.path.insert(0, "/tmp")
from request_cases import cases
KEY = dict(line.rstrip().split("=", 1) for line in open("/etc/llm/engine.env"))["VLLM_API_KEY"]
HEADERS = {"Authorization": "Bearer " + KEY, "Content-Type": "application/json"}

def post(path, text, timeout_s=300):
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=timeout_s)
    try:
        connection.request("POST", path, text.encode("utf-8", "surrogateescape"), HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except OSError as error:
        return 0, repr(error)
    finally:
        connection.close()
"""

EVERY_CASE = """
wrong = {}
for name, path, text in cases():
    status, said = post(path, text)
    if not 200 <= status < 300 and not 400 <= status < 500:
        wrong[name] = [status, said[:200]]
print(json.dumps(wrong))
"""

BESIDE = """
ONE = {"model": "tiny", "prompt": "x", "max_tokens": 2}
seen = {}
for name, constraint in json.load(open("/tmp/constraints")).items():
    body = json.dumps({**ONE, "structured_outputs": constraint})
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post("/v1/completions", body)[0]), daemon=True)
    thread.start()
    waited = []
    while not waited or (thread.is_alive() and len(waited) < 20):
        began = time.monotonic()
        status, _ = post("/v1/completions", json.dumps(ONE))
        waited.append(time.monotonic() - began if status == 200 else 1e9)
    seen[name] = [max(waited), answers]
print(json.dumps(seen))
"""

BESIDE_A_LONG_ANSWER = """
ONE = {"model": "tiny", "prompt": "one two three", "max_tokens": 1}
long = []
body = json.dumps({**ONE, "max_tokens": 300})
thread = threading.Thread(target=lambda: long.append(post("/v1/completions", body)[0]), daemon=True)
thread.start()
seen = {}
for name, fields in {"prompt_logprobs": {"prompt_logprobs": 0}, "echo": {"echo": True, "logprobs": 1}}.items():
    seen[name] = [post("/v1/completions", json.dumps({**ONE, **fields}))[0]]
thread.join()
print(json.dumps({**seen, "long": long}))
"""


MANY_ITEMS = """
USER = {"role": "user", "content": "x"}
bodies = {
    "messages": {"messages": [{}] * 100_000},
    "parts": {"messages": [{"role": "user", "content": [None] * 100_000}]},
    "tools": {"messages": [USER], "tools": [None] * 100_000},
    "numbers and a null": {"prompt": [1] * 100_000 + [None]},
}
paths = {"prompt": "/v1/completions", "messages": "/v1/chat/completions"}
answers = {name: post(paths[next(iter(body))], json.dumps({"model": "tiny", **body})) for name, body in bodies.items()}
for name in ("messages", "system"):
    body = json.dumps({"model": "tiny", "max_tokens": 1, "messages": [USER], name: [{}] * 100_000})
    answers[f"{name} of Anthropic"] = post("/v1/messages", body)
    answers[f"{name} to count"] = post("/v1/messages/count_tokens", body)
for name in ("input", "include", "tools"):
    body = json.dumps({"model": "tiny", "input": "x", name: [None] * 100_000})
    answers[f"{name} of a response"] = post("/v1/responses", body)
print(json.dumps({name: [status, "at most 4096 are taken" in said] for name, (status, said) in answers.items()}))
"""


MANY_ITEMS_OF_RESPONSES = """
bodies = {
    "empty": [{}] * 4000,
    "messages": [{"role": "user", "content": "word word word"}] * 4000,
    "answers": [{"type": "message", "role": "assistant", "content": [{}]}] * 2000,
    "calls": [{"type": "function_call"}] * 4000,
}
answers = {name: json.dumps({"model": "tiny", "input": items}) for name, items in bodies.items()}
print(json.dumps({name: [post("/v1/responses", body, 15)[0]] for name, body in answers.items()}))
"""


def properties(count: int, **schema: object) -> dict[str, object]:
    """Return the schema of an object with `count` texts."""
    return {"type": "object", "properties": {f"p{number}": {"type": "string", **schema} for number in range(count)}}


CONSTRAINTS: dict[str, dict[str, object]] = {
    "too_large": {"json": properties(30_000)},
    "large": {"json": properties(1_900)},
    "patterns": {"json": properties(700, pattern="^[a-z]{1,500}$")},
    "tag": {
        "structural_tag": json.dumps(
            {
                "type": "structural_tag",
                "format": {"type": "json_schema", "json_schema": properties(700, pattern="^[a-z]{1,500}$")},
            }
        )
    },
    "for_outlines": {"json": {**properties(1_800), "patternProperties": {"^a": {}}, "propertyNames": {"pattern": "a"}}},
}

NAMES = """
def answered_by(path, asked, model):
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=300)
    body = {"model": "nobody-serves-this", "max_tokens": 1, **asked}
    connection.request("POST", path, json.dumps(body), HEADERS | ({"X-LLM-Model": model} if model else {}))
    return json.load(connection.getresponse()).get("model")

text, chat = {"prompt": "x"}, {"messages": [{"role": "user", "content": "x"}]}
print(json.dumps({
    "tiny": [answered_by("/v1/completions", text, "tiny"), answered_by("/v1/chat/completions", chat, "tiny"),
             answered_by("/v1/messages", chat, "tiny")],
    "no header": [answered_by("/v1/completions", text, "")],
}))
"""

LENGTHS = """
def tokens(path, asked, most=None):
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=300)
    body = {"model": "tiny", "ignore_eos": True, **asked}
    headers = HEADERS | ({"X-LLM-Max-Tokens": str(most)} if most else {})
    connection.request("POST", path, json.dumps(body), headers)
    usage = json.load(connection.getresponse())["usage"]
    return usage.get("completion_tokens", usage.get("output_tokens"))

text, chat = {"prompt": "x"}, {"messages": [{"role": "user", "content": "x"}]}
paths = {"/v1/completions": text, "/v1/chat/completions": chat, "/v1/responses": {"input": "x"}}
print(json.dumps({
    "no length": [tokens(path, said, 7) for path, said in paths.items()],
    "a longer one": [tokens("/v1/completions", {**text, "max_tokens": 30}, 7)],
    "a shorter one": [tokens("/v1/completions", {**text, "max_tokens": 5}, 7)],
    "no limit": [tokens("/v1/completions", {**text, "max_tokens": 30})],
}))
"""

OTHERS_WAIT_S = 15
"""How long another client's two tokens may take meanwhile, on a slow machine; without limits it was minutes."""


def ask(served: Served, script: str) -> dict[str, list[object]]:
    """Return the output of a script that queries the engine on its machine."""
    files = {"request_cases.py": Path(request_cases.__file__).read_text(), "constraints": json.dumps(CONSTRAINTS)}
    written = "".join(f"cat > /tmp/{name} <<'END'\n{text}\nEND\n" for name, text in files.items())
    seen: dict[str, list[object]] = json.loads(remote(served.host, f"{written}python3 - <<'END'\n{ASK}{script}END\n"))
    return seen


def test_no_value_of_a_request_crashes_the_engine_or_gets_a_500(served_machine: Served) -> None:
    """`"logprobs": true` crashed it on a host without a C++ compiler, and `top_k: 1e30` got a 500."""
    before = served_machine.unit("MainPID"), served_machine.unit("NRestarts")
    assert ask(served_machine, EVERY_CASE) == {}
    assert (served_machine.unit("MainPID"), served_machine.unit("NRestarts")) == before
    assert served_machine.complete("contract")[0] == 200


def test_a_body_with_many_items_is_refused_before_each_is_validated(served_machine: Served) -> None:
    """100,000 empty messages made all clients wait for ten seconds."""
    assert set(map(tuple, ask(served_machine, MANY_ITEMS).values())) == {(400, True)}


def test_items_of_a_response_are_validated_quickly(served_machine: Served) -> None:
    """Four thousand empty ones blocked all clients for half a minute, because vLLM compares each with 33 types."""
    seen = ask(served_machine, MANY_ITEMS_OF_RESPONSES)
    assert seen == {name: [400] for name in ("empty", "messages", "answers", "calls")}


def test_others_are_answered_while_a_constraint_is_compiled(served_machine: Served) -> None:
    """A megabyte of schema, or some kilobytes that vLLM passes to outlines, blocked all clients for minutes."""
    seen = ask(served_machine, BESIDE)
    assert {name: waited for name, (waited, _) in seen.items() if waited > OTHERS_WAIT_S} == {}  # type: ignore[operator]
    assert seen["too_large"][1] == [400]
    assert seen["for_outlines"][1] == [400]


def test_log_probabilities_of_a_prompt_do_not_crash_the_engine(served_machine: Served) -> None:
    """Beside another request they did, on a CPU with adapters."""
    seen = ask(served_machine, BESIDE_A_LONG_ANSWER)
    assert seen == {"prompt_logprobs": [400], "echo": [400], "long": [200]}


def test_the_model_in_the_gateways_header_answers(served_machine: Served) -> None:
    """No other model has the name in the body."""
    assert ask(served_machine, NAMES) == {"tiny": ["tiny", "tiny", "tiny"], "no header": [None]}


def test_an_answer_ends_at_the_gateways_limit(served_machine: Served) -> None:
    """Also one whose request names no length: vLLM would fill the context."""
    assert ask(served_machine, LENGTHS) == {
        "no length": [7, 7, 7],
        "a longer one": [7],
        "a shorter one": [5],
        "no limit": [30],
    }
