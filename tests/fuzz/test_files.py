"""Files that people write or may damage: stack files, inventories, outputs, manifests, keys, endpoints, placements."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from core import paths as places
from core.reading.strict_yaml import read_yaml
from infra.automation.backend import find_backend
from infra.config import parse_deployment
from infra.config.reader import DEPLOYMENT_KEY, load_stack
from infra.contract.stack_placement import read_placement
from provisioning.access.credentials import client_keys
from provisioning.access.other_names import _urls
from provisioning.hosts.inventory import load_outputs
from provisioning.hosts.prefetch import begin
from provisioning.hosts.target import Target
from serving.adapters.manifest import read_releases
from serving.endpoint import Endpoint, endpoint_file, read_endpoint
from serving.spec.models import ServingSpec
from tests.fuzz.inputs import ANY_BYTES, ODD, as_json, changed
from tests.fuzz.judged import judged
from tests.unit.infra.clouds.gcp.made import PLACEMENT
from tests.unit.provisioning.records import HOST_KEY

CASES = Path(__file__).parents[1] / "unit" / "infra" / "config" / "cases"
BASES: dict[str, Any] = yaml.safe_load((CASES / "bases.yaml").read_text())

INVENTORY: dict[str, Any] = {
    "stack": "box",
    "hosts": [
        {
            "name": "box-1", "address": "192.0.2.7", "user": "ubuntu", "host_keys": [HOST_KEY],
            "identity_file": "~/.ssh/id", "cpu_count": 4, "memory_gib": 16,
            "gpu": {"model": "L4", "count": 1, "vram_gib": 24}, "ends_at": "2026-11-21T12:00:00Z",
            "ssh_cidrs": ["203.0.113.7/32"], "cloud": "gcp",
        },
        {"name": "door", "address": "door.example.com", "user": "root", "host_keys": [HOST_KEY], "cpu_count": 2,
         "memory_gib": 4},
    ],
    "serving": BASES["local"]["serving"],
    "gateway": {"port": 443, "clients": ["alice"]},
    "tunnel": {"engine": "box-1", "gateway": "door"},
}  # fmt: skip

COMMIT = "0" * 40
MANIFEST: dict[str, Any] = {
    "adapters": [
        {
            "name": "contract", "version": number, "rank": 8, "target_modules": ["q_proj"], "sha256": "0" * 64,
            "source": {"kind": "hub", "repo": "a/b", "revision": COMMIT}, "base": "tiny",
        }
        for number in (1, 2)
    ]
}  # fmt: skip
MOVES: list[Any] = [
    {
        "time": "2026",
        "who": "a",
        "what": "promote",
        "adapter": "contract",
        "from": "",
        "to": "contract@1",
        "hosts": ["a"],
    }
]
ENDPOINT = Endpoint(
    stack="box", url="https://192.0.2.7", ca=None, engine="vllm", engine_port=8000, models=("tiny",),
    keys_file=Path("keys.json"), client="alice",
).model_dump(mode="json")  # fmt: skip
SERVING = ServingSpec.model_validate(BASES["local"]["serving"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A state folder that readers use as the checkout's, and a folder of stack files."""
    made = tmp_path_factory.mktemp("fuzz")
    (made / "stacks").mkdir()
    (made / "stacks" / "box").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_DEPLOY_STATE", str(made))
        patch.delenv("PULUMI_BACKEND_URL", raising=False)
        patch.delenv("PULUMI_ACCESS_TOKEN", raising=False)
        patch.setenv("PULUMI_CREDENTIALS_PATH", str(made))
        for module in (places, sys.modules["infra.config.reader"]):
            patch.setattr(module, "STACKS_DIR", made / "stacks")
        yield made


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@given(content=ANY_BYTES)
@example(content=b"a: !!int abc")
@example(content=b"a: !!bool maybe")
@example(content=b"[" * 100_000)
@example(content=b"- " * 100_000)
@example(content=b"a: " + b"9" * 5000)
@example(content=b"a: !!int 0x" + b"f" * 5000)
@example(content=b"a: {<<: {[b]: 1}}")
@example(content=b"\xef\xbb\xbfa: 1")
@example(content=b"- a\n" * 500_000)
def test_text_that_is_nearly_yaml(folder: Path, content: bytes) -> None:
    judged(lambda: read_yaml(written(folder / "some.yaml", content), shown_as="some.yaml"))


def test_aliases_do_not_multiply(folder: Path) -> None:
    """Nine times nine times nine …: YAML's billion laughs, also through merged mappings."""
    for first, line in (("[x, x]", "[{}]"), ("{k: 1}", "{{<<: [{}]}}")):
        text = f"a0: &a0 {first}\n" + "".join(
            f"a{n + 1}: &a{n + 1} {line.format(', '.join([f'*a{n}'] * 9))}\n" for n in range(12)
        )
        path = written(folder / "bomb.yaml", text.encode())
        assert judged(partial(read_yaml, path, shown_as="bomb.yaml")) is None


@given(name=st.sampled_from(sorted(BASES)), data=st.data())
def test_stack_files(name: str, data: st.DataObject) -> None:
    value = data.draw(changed(BASES[name]))
    judged(lambda: parse_deployment(value, "stacks/Pulumi.some.yaml"))


@given(content=ANY_BYTES, odd=ODD)
def test_stack_files_whole(folder: Path, content: bytes, odd: Any) -> None:
    path = folder / "stacks" / "Pulumi.some.yaml"
    for each in (content, as_json(odd), as_json({"config": odd}), as_json({"config": {DEPLOYMENT_KEY: odd}})):
        written(path, each)
        judged(lambda: load_stack("some"))


@given(value=changed(INVENTORY))
def test_inventories_and_outputs(folder: Path, value: Any) -> None:
    path = written(folder / "hosts.json", as_json(value))
    written(folder / "stacks" / "box" / "outputs.json", as_json(value))
    judged(lambda: load_outputs(Target(inventory=str(path))))
    judged(lambda: load_outputs(Target(stack="box")))


@given(value=changed(INVENTORY))
def test_inventories_of_a_prefetch(folder: Path, value: Any) -> None:
    path = written(folder / "early.json", as_json(value))
    judged(lambda: begin(Target(inventory=str(path)), ["nobody has this name"]))


@given(value=changed(MANIFEST), moves=st.one_of(st.just(MOVES), changed(MOVES)))
def test_manifests(folder: Path, value: Any, moves: Any) -> None:
    path = written(folder / "box.yaml", as_json(value))
    written(folder / "box.lock", as_json(moves))
    releases = judged(lambda: read_releases(path))
    if releases is not None:
        judged(lambda: releases.serving(SERVING))


@given(content=st.one_of(ANY_BYTES, ODD.map(as_json), changed({"alice": "sk-a"}).map(as_json)))
@example(content=b"[" * 100_000)
def test_keys(folder: Path, content: bytes) -> None:
    path = written(folder / "stacks" / "box" / "keys.json", content)
    judged(lambda: client_keys("box", ("alice",), keep=False))
    judged(lambda: Endpoint.model_validate(ENDPOINT | {"keys_file": str(path)}).api_key())


@given(content=st.one_of(ANY_BYTES, changed(ENDPOINT).map(as_json)))
@example(content=b"[" * 100_000)
@pytest.mark.usefixtures("folder")
def test_endpoints(content: bytes) -> None:
    path = written(endpoint_file("box"), content)
    judged(lambda: read_endpoint(path, hint="run provision"))
    judged(lambda: _urls(content))


@given(content=st.one_of(ANY_BYTES, changed(PLACEMENT.model_dump(mode="json")).map(as_json)))
@example(content=b"[" * 100_000)
def test_placements(folder: Path, content: bytes) -> None:
    written(folder / "stacks" / "box" / "placement.json", content)
    judged(lambda: read_placement("box"))


@given(content=st.one_of(ANY_BYTES, ODD.map(as_json)))
@example(content=b"[" * 100_000)
def test_logins_of_pulumi(folder: Path, content: bytes) -> None:
    written(folder / "credentials.json", content)
    judged(find_backend)
