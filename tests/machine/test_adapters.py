"""Adapter versions on a machine that serves: promoted and rolled back under load, and the same after a reboot."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.paths import state_dir
from provisioning.apply.desired_state import desired_state
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from provisioning.roles import ROLES
from serving.endpoint import Endpoint, write_endpoint
from serving.smoke.run import smoke
from serving.timed_client import Client
from tests.adapter_manifests import listed, write_manifest
from tests.machine.converge_host import bring, poll, remote
from tests.machine.fab import Fab, Said
from tests.machine.served import SERVING, WITH_KEY, Served

ADAPTERS = "/var/lib/llm/adapters"
ROLLBACK_S = 2
REBOOT_S = 300
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
PROMPT = "What does the lease say?"


@pytest.fixture(scope="module")
def releases(served_machine: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    """`fab` with a manifest that has one more version than the machine; afterwards the machine is restored."""
    folder = tmp_path_factory.mktemp("releases")
    fab = Fab(folder, served_machine.host, serving={**SERVING, "adapters": []})
    # A checkout that has provisioned the machine: it has the gateway's keys, and lets the gateway serve new names.
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ["gateway"]).endpoint
    assert endpoint
    note, fab.state = write_endpoint(endpoint), state_dir()
    write_manifest(
        folder / "adapters" / "test.yaml",
        listed("contract", 3, "a"),
        listed("contract", 4, "b"),
        listed("summary", 1, "b"),
    )
    try:
        yield fab
    finally:
        note.unlink()
        restored = bring(served_machine.host, served_machine.resources)
        remote(served_machine.host, f"rm -rf {ADAPTERS}/contract@4 {ADAPTERS}/adapters.lock")
    assert restored.result.ok
    assert served_machine.complete("contract") == served_machine.complete("contract@3")


@pytest.fixture
def endpoint(served_machine: Served) -> Endpoint:
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ["gateway"]).endpoint
    assert endpoint
    return endpoint


class Load:
    """Clients that ask for `contract` through the gateway, one after the other, whole answers and streams."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.failed: list[str] = []
        self.answers: list[str] = []
        """Whole answers, in the order of their ends."""
        self.streams = 0
        self._stop = threading.Event()
        self._endpoint = endpoint
        self._threads = [threading.Thread(target=self._ask, args=(stream,)) for stream in (False, False, True)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, stream: bool) -> None:
        with Client(self._endpoint.url, key=self._endpoint.api_key(), ca=self._endpoint.ca) as client:
            while not self._stop.is_set():
                try:
                    if stream:
                        assert client.stream_chat("contract", PROMPT, max_tokens=64).pieces > 1
                        self.streams += 1
                    else:
                        self.answers.append(client.complete("contract", PROMPT, max_tokens=12).text)
                except Exception as error:
                    self.failed.append(repr(error))

    def wait_for(self, text: str) -> None:
        """Wait until a new answer is `text`, and one more stream has ended."""
        seen, streams = len(self.answers), self.streams
        poll(lambda: (text in self.answers[seen:] and self.streams > streams) or self.failed, deadline_s=120)


def said(served: Served, model: str) -> str:
    """Return what `model` answers to the load's prompt."""
    status, text = served.complete(model)
    assert status == 200
    return text


def ok(done: Said) -> Said:
    assert done.status == 0, done.err
    return done


def moves(fab: Fab) -> list[dict[str, Any]]:
    """Return the record."""
    lines = (fab.inventory.parent / "adapters" / "test.lock").read_text().splitlines()
    return [json.loads(line[2:]) for line in lines if not line.startswith("#")]


def test_a_new_version_is_served_beside_the_old_one_and_a_second_apply_changes_nothing(
    releases: Fab, served_machine: Served
) -> None:
    before = served_machine.unit("InvocationID")
    ok(releases.run("adapters:apply"))
    old, new = said(served_machine, "contract@3"), said(served_machine, "contract@4")
    assert old != new
    assert said(served_machine, "contract") == old
    assert "0 changed" in ok(releases.run("adapters:apply")).err
    assert served_machine.unit("InvocationID") == before


def test_promote_and_rollback_under_load_fail_no_request(
    releases: Fab, served_machine: Served, endpoint: Endpoint
) -> None:
    ok(releases.run("adapters:apply"))
    before = served_machine.unit("InvocationID")
    old, new = said(served_machine, "contract@3"), said(served_machine, "contract@4")
    with Load(endpoint) as load:
        load.wait_for(old)
        ok(releases.run("adapters:promote", "contract@4"))
        load.wait_for(new)
        ok(releases.run("adapters:rollback", "contract"))
        load.wait_for(old)
    assert load.failed == []
    assert set(load.answers) == {old, new}
    result = json.loads((releases.runs / "test/latest/adapters.json").read_text())
    assert result["moves"]["served"]["seconds"] < ROLLBACK_S
    assert served_machine.unit("InvocationID") == before
    who = moves(releases)[-1]["who"]
    assert "@" in who
    assert [(move["what"], move["from"], move["to"]) for move in moves(releases)[-2:]] == [
        ("promote", "contract@3", "contract@4"),
        ("rollback", "contract@4", "contract@3"),
    ]


def test_a_rollback_takes_less_than_two_seconds_from_its_start_to_its_end(releases: Fab) -> None:
    """The best of three, because other tests run at the same time."""
    ok(releases.run("adapters:apply"))
    seconds = []
    for version in ("contract@4", "contract@3", "contract@3"):
        began = time.monotonic()
        ok(releases.run("adapters:rollback", "contract", "--to", version))
        seconds.append(time.monotonic() - began)
    assert min(seconds) < ROLLBACK_S, seconds


def test_a_promoted_version_outlives_a_reboot_and_a_provision(
    releases: Fab, served_machine: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(releases.run("adapters:apply"))
    ok(releases.run("adapters:promote", "contract@4"))
    before = remote(served_machine.host, BOOT_ID)
    ok(releases.run("reboot", deadline_s=REBOOT_S))
    assert remote(served_machine.host, BOOT_ID) != before
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.delenv("LLM_DEPLOY_RUN", raising=False)
    rebooted = desired_state(load(Target(inventory=str(releases.inventory))), [served_machine.host], ROLES).endpoint
    assert rebooted
    assert smoke(rebooted) == 0, (tmp_path / "test/latest/smoke.json").read_text()  # at once: `reboot` has waited
    ok(releases.run("status"))
    assert said(served_machine, "contract") == said(served_machine, "contract@4")
    # A colleague's checkout, without this change in its record.
    (releases.inventory.parent / "adapters" / "test.lock").unlink()
    outputs = load(Target(inventory=str(releases.inventory)))
    seen = bring(
        served_machine.host, desired_state(outputs, [served_machine.host], ROLES).lists[served_machine.host.name]
    )
    assert seen.result.ok
    assert [outcome.id for outcome in seen.result.changed] == []
    status, body = served_machine.get("/v1/models")
    cards = {card["id"]: card for card in json.loads(body)["data"]}
    assert status == 200
    assert set(cards) == set(outputs.serving.served_names)
    assert cards["contract"]["parent"] == "contract@4"


def test_nobody_changes_adapters_through_the_gateway(served_machine: Served, endpoint: Endpoint) -> None:
    """Not with a client's key, and on the host only with the engine's; vLLM's own endpoints do not exist."""
    paths = ("/v1/llm-deploy/adapters", "/v1/load_lora_adapter", "/v1/unload_lora_adapter")
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        for path in paths:
            assert [client.ask(method, path).status_code for method in ("GET", "PUT", "POST")] == [404] * 3
    assert served_machine.get(paths[0], key=False)[0] == 401
    load_it = f"curl -s -o /dev/null -w '%{{http_code}}' {WITH_KEY} -X POST http://127.0.0.1:8000{paths[1]} -d '{{}}'"
    assert remote(served_machine.host, load_it) == "404"


def test_an_alias_is_removed_only_if_it_is_retired(releases: Fab, served_machine: Served) -> None:
    """Missing lines were enough: 404 for its clients, and ✓ for the user of apply."""
    ok(releases.run("adapters:apply"))
    manifest = releases.inventory.parent / "adapters" / "test.yaml"
    before, answer = manifest.read_text(), said(served_machine, "summary")
    write_manifest(manifest, listed("contract", 3, "a"), listed("contract", 4, "b"))
    try:
        for task in ("adapters:plan", "adapters:apply"):
            refused = releases.run(task)
            assert (refused.status, "summary is summary@1 on " in refused.error) == (2, True)
        plan = releases.run("plan", "--roles", "engine")
        assert (plan.status, "summary is served and no longer listed" in plan.out) == (1, True)
        assert said(served_machine, "summary") == answer
        assert "summary stops being served" in ok(releases.run("adapters:plan", "--retire", "summary")).out
        ok(releases.run("adapters:apply", "--retire", "summary"))
        assert served_machine.complete("summary")[0] == 404
        assert (moves(releases)[-1]["what"], moves(releases)[-1]["from"]) == ("retire", "summary@1")
    finally:
        manifest.write_text(before)
    ok(releases.run("adapters:apply"))
    assert said(served_machine, "summary") == answer


def test_an_unfit_adapter_is_refused_before_anything_changes(releases: Fab, served_machine: Served) -> None:
    manifest = releases.inventory.parent / "adapters" / "test.yaml"
    before = manifest.read_text()
    try:
        write_manifest(manifest, listed("contract", 3, "a"), listed("contract", 5, "b", sha256="0" * 64))
        refused = releases.run("adapters:apply")
    finally:
        manifest.write_text(before)
    assert refused.status == 2
    assert "adapters[1].sha256: " in refused.error
    assert "contract@5" not in remote(served_machine.host, f"ls {ADAPTERS}")
