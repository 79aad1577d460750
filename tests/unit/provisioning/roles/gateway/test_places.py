"""Which host computes a request: its home if a place is free there, else the least loaded host with one."""

import json
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.engine import TOKENS, EngineDouble, running_engine
from tests.gateways import POOL, Reply, RunningGateway, engine_pool, gateway_before, gateway_spec, wait_for
from tests.metrics import Metrics

HOSTS = ("gpu-1", "gpu-2", "gpu-3")


@pytest.fixture
def engines() -> Iterator[dict[str, EngineDouble]]:
    """Three engines. Each computes a token of a stream when its test says so."""
    with ExitStack() as stack:
        found = {host: stack.enter_context(running_engine()) for host in HOSTS}
        yield found
        for each in found.values():
            each.steps = None


@contextmanager
def before(
    folder: Path, engines: dict[str, EngineDouble], *, places: int = 1, names: tuple[str, ...] = ("tiny",), **spec: Any
) -> Iterator[RunningGateway]:
    with gateway_before(folder, [engine_pool(engines, places=places, names=names)], gateway_spec(**spec)) as gateway:
        for host in engines:
            wait_for(lambda host=host: gateway.engine_is("UP", host), host)  # type: ignore[misc]
        yield gateway


def ask(gateway: RunningGateway, prompt: str, *, model: str = "tiny", stream: bool = False, name: str = "") -> Reply:
    headers = (f"X-Request-Id: {name}",) if name else ()
    body = json.dumps({"model": model, "prompt": prompt, "stream": stream}).encode()
    return gateway.ask("POST", "/v1/completions", *headers, body=body)


def computed(engine: EngineDouble) -> int:
    """Return how many requests an engine has got."""
    return sum(got.target == "/v1/completions" for got in engine.received)


def home(gateway: RunningGateway, prompt: str, model: str = "tiny") -> str:
    """Return the host that computes `prompt` when all are free."""
    name = f"home-{model}-{len(gateway.log_lines())}"
    assert ask(gateway, prompt, model=model, name=name).status == 200
    host: str = gateway.logged(name)["host"]
    return host


def test_same_prompt_goes_to_the_same_host_and_prompts_spread_over_all(
    tmp_path: Path, engines: dict[str, EngineDouble]
) -> None:
    with before(tmp_path, engines) as gateway:
        homes = {prompt: home(gateway, prompt) for prompt in map("contract {}".format, range(24))}
        assert set(homes.values()) == set(HOSTS)
        assert {prompt: home(gateway, prompt) for prompt in list(homes)[:6]} == dict(list(homes.items())[:6])


def test_each_adapter_has_a_home_of_its_own_for_the_same_prompt(
    tmp_path: Path, engines: dict[str, EngineDouble]
) -> None:
    prompts = [f"contract {number}" for number in range(12)]
    with before(tmp_path, engines, names=("tiny", "contract")) as gateway:
        homes = {model: [home(gateway, prompt, model) for prompt in prompts] for model in ("tiny", "contract")}
    assert homes["tiny"] != homes["contract"]
    assert set(homes["contract"]) == set(HOSTS)


def test_text_after_the_head_of_a_prompt_does_not_change_its_home(
    tmp_path: Path, engines: dict[str, EngineDouble]
) -> None:
    with before(tmp_path, engines) as gateway:
        assert len({home(gateway, "a" * 300 + str(number)) for number in range(6)}) == 1


def test_prompts_of_a_host_that_is_down_move_and_no_others(tmp_path: Path, engines: dict[str, EngineDouble]) -> None:
    with before(tmp_path, engines) as gateway:
        prompts = [f"contract {number}" for number in range(12)]
        homes = {prompt: home(gateway, prompt) for prompt in prompts}
        gateway.admin("set server main/gpu-2 state drain")
        moved = {prompt: home(gateway, prompt) for prompt in prompts}
        assert "gpu-2" not in moved.values()
        assert all(moved[prompt] == host for prompt, host in homes.items() if host != "gpu-2")


def test_nine_requests_of_one_home_are_three_for_each_host_and_none_waits_beside_a_free_place(
    tmp_path: Path, engines: dict[str, EngineDouble], people: ThreadPoolExecutor
) -> None:
    for each in engines.values():
        each.steps = threading.Semaphore(0)
    with before(tmp_path, engines) as gateway:
        replies: list[Future[Reply]] = [people.submit(ask, gateway, "one", stream=True) for _ in range(9)]
        for left in (6, 3, 0):
            got = [(9 - left) // 3] * 3
            wait_for(lambda got=got: list(map(computed, engines.values())) == got, f"{got}")  # type: ignore[misc]
            wait_for(lambda left=left: gateway.waiting() == left, "the others wait")  # type: ignore[misc]
            for each in engines.values():
                assert each.steps
                each.steps.release(len(TOKENS))
        assert [reply.result().status for reply in replies] == [200] * 9
    assert [computed(each) for each in engines.values()] == [3, 3, 3]


def test_host_that_is_free_first_takes_the_next_request(
    tmp_path: Path, engines: dict[str, EngineDouble], people: ThreadPoolExecutor
) -> None:
    """Whatever its home: it waits in the pool's queue and not in that of a host."""
    for each in engines.values():
        each.steps = threading.Semaphore(0)
    with before(tmp_path, engines) as gateway:
        replies = [people.submit(ask, gateway, "one", stream=True) for _ in range(9)]
        wait_for(lambda: gateway.waiting() == 6, "six wait")
        fast = engines["gpu-3"]
        assert fast.steps
        for done in range(1, 7):
            fast.steps.release(len(TOKENS))
            wait_for(lambda done=done: computed(fast) == done + 1, "the next one")  # type: ignore[misc]
        assert gateway.waiting() == 0
        for each in engines.values():
            assert each.steps
            each.steps.release(100)
        assert [reply.result().status for reply in replies] == [200] * 9


def test_host_that_came_back_gets_its_share_while_others_have_places(
    tmp_path: Path, engines: dict[str, EngineDouble], people: ThreadPoolExecutor
) -> None:
    with before(tmp_path, engines, places=4) as gateway:
        back = home(gateway, "one")
        gateway.admin(f"set weight main/{back} 25%")
        already = {host: computed(each) for host, each in engines.items()}
        for each in engines.values():
            each.steps = threading.Semaphore(0)
        replies: list[Future[Reply]] = []
        for number in range(1, 13):
            replies.append(people.submit(ask, gateway, "one", stream=True))
            wait_for(lambda number=number: sum(each.running for each in engines.values()) == number, "it runs")  # type: ignore[misc]
            if number == 9:
                assert computed(engines[back]) - already[back] <= 2
        assert [each.running for each in engines.values()] == [4, 4, 4]
        for each in engines.values():
            assert each.steps
            each.steps.release(100)
        assert [reply.result().status for reply in replies] == [200] * 12


def test_host_without_an_adapter_is_not_asked_for_it(
    tmp_path: Path, engines: dict[str, EngineDouble], people: ThreadPoolExecutor
) -> None:
    engines["gpu-1"].models = engines["gpu-2"].models = ("tiny",)
    engines["gpu-3"].models = ("tiny", "contract")
    engines["gpu-3"].hold.clear()
    with before(tmp_path, engines, names=("tiny", "contract")) as gateway:
        replies = [people.submit(ask, gateway, f"text {number}", model="contract") for number in range(4)]
        wait_for(lambda: computed(engines["gpu-3"]) == 1, "one runs")
        assert ask(gateway, "other", model="tiny").status == 200  # the others' places are free
        engines["gpu-3"].hold.set()
        assert [reply.result().status for reply in replies] == [200] * 4
    assert computed(engines["gpu-3"]) == 4
    assert computed(engines["gpu-1"]) + computed(engines["gpu-2"]) == 1


@pytest.fixture
def one_contract(engines: dict[str, EngineDouble]) -> EngineDouble:
    """The engine of gpu-3, the only one with the adapter `contract`."""
    engines["gpu-1"].models = engines["gpu-2"].models = ("tiny",)
    engines["gpu-3"].models = ("tiny", "contract")
    return engines["gpu-3"]


def test_an_adapter_whose_only_host_is_away_is_not_asked_for_elsewhere(
    tmp_path: Path, engines: dict[str, EngineDouble], one_contract: EngineDouble, people: ThreadPoolExecutor
) -> None:
    with before(tmp_path, engines, names=("tiny", "contract"), no_engine_wait_s=1) as gateway:
        gateway.admin("set server main/gpu-3 state drain")
        assert ask(gateway, "one", model="contract").code == "engine_unavailable"
        assert ask(gateway, "one").status == 200
        waiting = people.submit(ask, gateway, "one", model="contract")
        gateway.admin("set server main/gpu-3 state ready")
        assert waiting.result().status == 200
    assert computed(one_contract) == 1


@pytest.mark.parametrize("fault", ["hang_up", "refuse", "down"])
def test_an_adapter_is_asked_for_no_second_time_at_a_host_without_it(
    tmp_path: Path, engines: dict[str, EngineDouble], one_contract: EngineDouble, people: ThreadPoolExecutor, fault: str
) -> None:
    names = ("tiny", "contract")
    with before(tmp_path, engines, names=names, queue_timeout_s=2) as gateway:
        if fault == "hang_up":
            one_contract.faults.add("hang_up")
            reply = ask(gateway, "one", model="contract")
            assert (reply.status, reply.code) == (502, "engine_failed")
        elif fault == "refuse":
            one_contract.stop_listening()
            reply = ask(gateway, "one", model="contract")
            assert (reply.status, reply.code) == (503, "engine_unavailable")
        else:
            one_contract.hold.clear()
            running = people.submit(ask, gateway, "one", model="contract")
            wait_for(lambda: computed(one_contract) == 1, "it runs")
            waiting = people.submit(ask, gateway, "two", model="contract")
            wait_for(lambda: "gpu-3" in queued(gateway), "it waits for the host")
            gateway.admin("set server main/gpu-3 state maint")
            reply = waiting.result()
            assert (reply.status, reply.code) == (503, "engine_unavailable")
            one_contract.hold.set()
            running.result()
    assert computed(engines["gpu-1"]) + computed(engines["gpu-2"]) == 0


def queued(gateway: RunningGateway) -> list[str]:
    """Return the hosts for which a request waits."""
    lines = gateway.admin("show stat").removeprefix("# ").strip().splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
    return [row["svname"] for row in rows if row["pxname"] == "main" and row["qcur"] not in ("", "0")]


def test_host_without_a_provision_gets_no_request_though_its_watcher_says_ready(
    tmp_path: Path, engines: dict[str, EngineDouble]
) -> None:
    """The agent's `ready` undoes `disabled`. The host then got every second GET, and all when the other went."""
    engines["gpu-1"].models = ()
    Watcher.answers = 0
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Watcher) as watcher:
        threading.Thread(target=watcher.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        pool = engine_pool(engines)
        servers = tuple(replace(each, agent_port=watcher.server_address[1]) for each in pool.servers)
        with gateway_before(tmp_path, [replace(pool, servers=servers)], gateway_spec()) as gateway:
            wait_for(lambda: Watcher.answers >= 9, "the watchers' answers")  # three of each host at most
            assert gateway.engine_is("MAINT", "gpu-1")
            gateway.admin("set server main/gpu-1 state ready")  # by hand: even then
            wait_for(lambda: gateway.engine_is("UP", "gpu-1"), "gpu-1")
            assert {home(gateway, f"contract {number}") for number in range(12)} == {"gpu-2", "gpu-3"}
            for host in ("gpu-2", "gpu-3"):
                gateway.admin(f"disable agent main/{host}")
                gateway.admin(f"set server main/{host} state maint")
            assert ask(gateway, "one").code == "engine_unavailable"
            assert gateway.ask("GET", "/v1/models").code == "engine_unavailable"
            assert gateway.ask("GET", "/health", key=None).status == 503
        watcher.shutdown()
    assert computed(engines["gpu-1"]) == 0


class Watcher(socketserver.StreamRequestHandler):
    """Answers like the watcher beside an engine that may have requests."""

    answers = 0

    def handle(self) -> None:
        Watcher.answers += 1
        self.wfile.write(b"up ready 100%\n")


def test_empty_answer_is_asked_for_once_more_elsewhere_and_logged(
    tmp_path: Path, engines: dict[str, EngineDouble]
) -> None:
    with before(tmp_path, engines) as gateway:
        first = home(gateway, "one")
        engines[first].faults.add("hang_up")
        assert ask(gateway, "one", name="retried").status == 200
        line = gateway.logged("retried")
        assert line["retries"] == "+1"
        assert line["host"] != first
        assert second_tries(gateway) == {**dict.fromkeys(HOSTS, 0), first: 1}


def second_tries(gateway: RunningGateway) -> dict[str, float]:
    """Return how many requests were sent again after a try at each host, as Prometheus reads it."""
    metrics = Metrics(f"http://{gateway.places.metrics_address}/metrics")
    return {host: metrics.sum("haproxy_server_retry_warnings_total", proxy=POOL, server=host) for host in HOSTS}


def test_a_request_that_no_engine_answers_meets_three_of_them(tmp_path: Path, engines: dict[str, EngineDouble]) -> None:
    with running_engine() as fourth:
        every = {**engines, "gpu-4": fourth}
        for each in every.values():
            each.faults.add("hang_up")
        with before(tmp_path, every) as gateway:
            assert ask(gateway, "one").code in ("engine_failed", "engine_unavailable")
        assert sum(map(computed, every.values())) == 3


def test_refused_connection_is_asked_for_elsewhere(tmp_path: Path, engines: dict[str, EngineDouble]) -> None:
    with before(tmp_path, engines) as gateway:
        first = home(gateway, "one")
        engines[first].stop_listening()
        assert ask(gateway, "one", name="refused").status == 200
        assert gateway.logged("refused")["host"] != first


def test_stream_that_has_begun_is_not_asked_for_again(tmp_path: Path, engines: dict[str, EngineDouble]) -> None:
    with before(tmp_path, engines) as gateway:
        for each in engines.values():
            each.faults.add("stream_cut")
        reply = ask(gateway, "one", stream=True)
        assert reply.status == 200
        assert b"[DONE]" not in reply.body
    assert sum(map(computed, engines.values())) == 1
