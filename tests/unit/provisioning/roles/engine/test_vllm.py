"""The vLLM role's resources for each kind of host. tests/machine/test_vllm.py tests them on a machine."""

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from provisioning.apply.desired_state import joined
from provisioning.converge.resources import Command, GeneratedSecret, Packages, Resource, Secret, Tree, Unit, Venv
from provisioning.roles.engine.adapters import adapters
from provisioning.roles.engine.engine import memory_max_mib
from provisioning.roles.engine.request_limits import plugin_files
from provisioning.roles.engine.store import FETCH_MODEL
from provisioning.roles.engine.vllm import CHAT_TEMPLATE, UNIT, UNIT_FILE, processor, vllm
from provisioning.roles.host import guard
from provisioning.roles.host.base import base
from provisioning.roles.host.layout import ENGINE_ENV
from provisioning.roles.host.locks import LOCKS_DIR
from serving.sources.resolve import HubFetch, LocalFolder, ResolvedSources
from serving.spec.models import GatewaySpec, ServingSpec
from tests.unit.provisioning.records import host

REVISION = "0123456789abcdef0123456789abcdef01234567"
SHA256 = "a" * 64
L4 = {"model": "L4", "count": 1, "vram_gib": 22.0}

FOLDERS = ResolvedSources(LocalFolder(Path("/here/base")), (LocalFolder(Path("/here/contract")),))
HUB = ResolvedSources(
    HubFetch("acme/base-7b", REVISION, SecretStr("hf_sample")), (HubFetch("acme/contract", REVISION),)
)


@pytest.fixture(autouse=True)
def _files_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders here have no files: these values replace their content."""
    monkeypatch.setattr("provisioning.roles.engine.store.tree_digest", lambda _: "b" * 64)


def serving(**changed: Any) -> ServingSpec:
    tiny = {"kind": "tiny", "name": "llama"}
    adapter = {"name": "contract", "version": 3, "source": {**tiny, "adapter": "a"}, "sha256": SHA256}
    adapter |= {"target_modules": ["q_proj", "v_proj"], "base": "acme/own"}
    model = {"name": "base", "source": tiny, **changed.pop("model", {})}
    return ServingSpec.model_validate({"model": model, "adapters": [adapter], **changed})


def desired(sources: ResolvedSources = FOLDERS, spec: ServingSpec | None = None, **changed: Any) -> list[Resource]:
    return vllm(host(**changed), spec or serving(), sources)


def find(kind: type[Any], resources: list[Resource]) -> list[Any]:
    return [each for each in resources if isinstance(each, kind)]


def unit_file(resources: list[Resource]) -> str:
    return next(str(each.content) for each in resources if each.id == f"file:{UNIT_FILE}")  # type: ignore[attr-defined]


def service(resources: list[Resource], name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit_file(resources), flags=re.MULTILINE)


@pytest.mark.parametrize("sources", [FOLDERS, HUB], ids=["folders", "hub"])
@pytest.mark.parametrize("gpu", [None, L4], ids=["cpu", "gpu"])
def test_all_ids_differ_and_dependencies_come_first(sources: ResolvedSources, gpu: Any) -> None:
    one = host(gpu=gpu)
    seen: set[str] = set()
    for each in joined(base(one, GatewaySpec()), vllm(one, serving(), sources)):
        assert each.id not in seen
        assert set(each.after) <= seen, each.id
        seen.add(each.id)


def test_the_unit_restarts_for_its_files_and_depends_on_all_of_them() -> None:
    resources = desired()
    (unit,) = (each for each in find(Unit, resources) if each.name == UNIT)
    assert set(unit.restart_on) == {
        "venv:/var/lib/llm/venvs/vllm",
        "tree:/var/lib/llm/models/base@bbbbbbbbbbbb",
        *(f"file:{file.path}" for file in (*adapters(host(), serving(), FOLDERS).plugin, *plugin_files())),
        f"generated_secret:{ENGINE_ENV}",
        f"file:{guard.RULES}",
        f"file:{UNIT_FILE}",
    }
    assert set(unit.restart_on) < set(unit.after)
    assert unit.ready_timeout_s == 900


def test_the_unit_file_waits_for_the_model() -> None:
    """After a refused model, the new options were already on the disk: the next reboot broke the engine."""
    (file,) = (each for each in desired(HUB) if each.id == f"file:{UNIT_FILE}")
    assert "command:fetch /var/lib/llm/models/acme--base-7b@0123456789ab" in file.after


@pytest.mark.parametrize(("gpu", "lock"), [(None, "vllm-cpu"), (L4, "vllm-cuda")])
def test_each_kind_of_host_gets_its_lock(gpu: Any, lock: str) -> None:
    (venv,) = find(Venv, desired(gpu=gpu))
    assert venv.lock == (LOCKS_DIR / f"{lock}.txt").read_text()


@pytest.mark.parametrize("lock", ["uv", "vllm-cpu", "vllm-cuda"])
def test_every_line_of_a_lock_has_version_and_hashes_and_no_registry(lock: str) -> None:
    content = (LOCKS_DIR / f"{lock}.txt").read_text()
    requirements = [line for line in content.replace("\\\n", "").splitlines() if not line.startswith("#")]
    assert requirements
    assert [
        line for line in requirements if not re.match(r"[a-z0-9.-]+==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", line)
    ] == []
    assert not re.search(r"://|--(index-url|extra-index-url|find-links|trusted-host)", content)


def test_only_gpu_hosts_get_a_compiler() -> None:
    assert "gcc" not in find(Packages, desired())[0].present
    assert "gcc" in find(Packages, desired(gpu=L4))[0].present


def test_folders_are_sent_as_trees() -> None:
    """A version of an adapter never changes; the base model has none, so its folder carries its checksum."""
    assert [(each.path, each.source, each.immutable) for each in find(Tree, desired())] == [
        ("/var/lib/llm/models/base@bbbbbbbbbbbb", Path("/here/base"), False),
        ("/var/lib/llm/adapters/contract@3", Path("/here/contract"), True),
    ]


def test_hub_models_are_fetched_at_their_commit_with_a_token_in_no_argument() -> None:
    model, adapter = (each for each in find(Command, desired(HUB)) if each.name.startswith("fetch"))
    folder = "/var/lib/llm/models/acme--base-7b@0123456789ab"
    assert model.argv == (
        "python3",
        FETCH_MODEL,
        "acme/base-7b",
        REVISION,
        folder,
        "--context-tokens=4096",
        "--engine=vllm",
    )
    assert model.check == (*model.argv, "--check")
    assert model.env == {"HF_TOKEN": Secret("hf_sample")}
    listed = (f"adapter_model.safetensors={SHA256}", "--max-rank=16", "--target-modules=q_proj,v_proj")
    assert adapter.argv[5:] == (
        *listed,
        "--stated-base=acme/own",
        "--engine=vllm",
        f"--base-folder={folder}",
        "--immutable=yes",
    )
    assert adapter.env == {}
    assert folder in unit_file(desired(HUB))


@pytest.mark.parametrize(("written", "rank"), [({}, []), ({"rank": 8}, ["--rank=8"])], ids=["none", "8"])
def test_a_rank_is_compared_only_if_it_is_written(written: dict[str, int], rank: list[str]) -> None:
    """The default of 8 was compared, and an adapter of another rank without a listed rank was refused."""
    adapter = {"name": "contract", "source": {"kind": "tiny", "name": "llama", "adapter": "a"}, **written}
    spec = ServingSpec.model_validate({"model": serving().model.model_dump(), "adapters": [adapter]})
    fetched = find(Command, desired(HUB, spec))
    words = [word for each in fetched if each.name.startswith("fetch") for word in each.argv]
    assert [word for word in words if word.startswith("--rank")] == rank


def test_the_key_is_made_on_the_host_and_is_in_no_unit() -> None:
    resources = desired()
    (key,) = find(GeneratedSecret, resources)
    assert (key.path, key.mode, key.template) == (ENGINE_ENV, 0o600, "VLLM_API_KEY={secret}\n")
    assert service(resources, "EnvironmentFile") == [ENGINE_ENV]
    assert "VLLM_API_KEY" not in unit_file(resources)


def test_the_unit_is_hardened() -> None:
    hardened = {
        "User": "llm",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "IPAddressDeny": "any",
        "IPAddressAllow": "localhost",
        "SystemCallFilter": "@system-service",
        "Restart": "always",
        "StartLimitBurst": "5",
    }
    resources = desired()
    assert {name: service(resources, name) for name in hardened} == {name: [value] for name, value in hardened.items()}


MEMORY_FILES = "-/sys/fs/cgroup/memory -/sys/fs/cgroup/memory.max -/sys/fs/cgroup/memory.current"
"""A control group's memory use with page cache; version 1 has a folder, version 2 two files."""


def test_the_engine_does_not_take_page_cache_for_used_memory() -> None:
    """On a machine whose cache was full, vLLM found too little memory for its KV cache and died at each start."""
    assert service(desired(), "InaccessiblePaths") == [MEMORY_FILES]


def test_a_gpu_host_sees_its_gpus_and_no_other_device() -> None:
    resources = desired(gpu=L4)
    assert service(resources, "DevicePolicy") == ["closed"]
    assert "char-nvidia-uvm rw" in service(resources, "DeviceAllow")
    assert "/dev/dxg rw" in service(resources, "DeviceAllow")  # the GPU of WSL 2
    assert service(resources, "PrivateDevices") == []
    assert service(resources, "MemoryMax") == []


def test_a_stop_drains_the_gateway_and_waits_as_long_as_the_spec_says() -> None:
    resources = desired(spec=serving(drain_s=90))
    assert service(resources, "ExecStop")[0].endswith("main/one drain /run/llm-notice/drain")
    assert service(resources, "ExecStartPost")[-1].endswith("main/one ready /run/llm-notice/drain")
    assert service(resources, "TimeoutStopSec") == ["120"]
    assert "--shutdown-timeout 90" in service(resources, "ExecStart")[0]


def test_a_start_may_take_as_long_as_the_spec_says() -> None:
    resources = desired(spec=serving(ready_timeout_s=1800))
    assert service(resources, "TimeoutStartSec") == ["1830"]
    assert service(resources, "ExecStartPost")[0].endswith(" 8000 base 1800 /health")


@pytest.mark.parametrize(("data_dir", "seen"), [("/var/lib/llm", "yes"), ("/home/me/llm", "read-only")])
def test_home_is_visible_only_if_the_models_are_there(data_dir: str, seen: str) -> None:
    assert service(desired(data_dir=data_dir), "ProtectHome") == [seen]


@pytest.mark.parametrize(
    ("vllm_values", "gpu", "limit"),
    [({}, None, 31744), ({"memory_max_gib": 8}, None, 8192), ({}, L4, None), ({"memory_max_gib": 20.5}, L4, 20992)],
)
def test_memory_limits(vllm_values: dict[str, Any], gpu: Any, limit: int | None) -> None:
    assert memory_max_mib(host(gpu=gpu), serving(vllm=vllm_values)) == limit


@pytest.mark.parametrize(("model", "bfloat16"), [("T4", False), ("L4", True), ("Unheard-of", True)])
def test_a_gpus_data_types_are_looked_up(model: str, bfloat16: bool) -> None:
    found = processor(host(gpu={**L4, "model": model, "count": 2}))
    assert (found.gpu_count, found.bfloat16) == (2, bfloat16)


@pytest.mark.parametrize("gpu", [None, L4], ids=["cpu", "gpu"])
def test_no_word_of_the_unit_needs_quotes(gpu: Any) -> None:
    resources = desired(gpu=gpu)
    words = [*service(resources, "ExecStart")[0].split(), *service(resources, "Environment")]
    assert len(words) > 30
    assert [word for word in words if not re.fullmatch(r"[\w=/@.,:-]+", word)] == []


def test_the_unit_file_is_readable() -> None:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.read_string(re.sub(r"^\s*#.*$", "", unit_file(desired(gpu=L4)), flags=re.MULTILINE))
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_a_chat_template_is_sent_to_the_host(tmp_path: Path) -> None:
    """The engine restarts when it changes."""
    (tmp_path / "own.jinja").write_text("{{ messages }}")
    resources = desired(spec=serving(vllm={"chat_template": str(tmp_path / "own.jinja")}))
    template = next(each for each in resources if each.id == f"file:{CHAT_TEMPLATE}")
    assert template.content == "{{ messages }}"  # type: ignore[attr-defined]
    assert f" --chat-template {CHAT_TEMPLATE} " in unit_file(resources)
    unit = next(each for each in find(Unit, resources) if each.name == UNIT)
    assert template.id in unit.restart_on
