"""The Ollama role's resources for each kind of host. tests/machine/test_ollama.py tests them on a machine."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from provisioning.apply.desired_state import joined
from provisioning.converge.resources import Command, Download, File, Link, Resource, Tree, Unit
from provisioning.roles.engine.ollama import PLAN, ollama
from provisioning.roles.host import guard
from provisioning.roles.host.base import base
from provisioning.roles.host.layout import SERVICE_USER
from serving.sources.ollama import Archive, RegistryFetch
from serving.sources.resolve import LocalFolder, ResolvedSources
from serving.spec.models import GatewaySpec, ServingSpec
from tests.unit.provisioning.records import host
from tests.unit.provisioning.roles.engine.test_vllm import MEMORY_FILES

SHA256 = "0123456789ab" + "c" * 52
L4 = {"model": "L4", "count": 1, "vram_gib": 22.0}
REMOTE = Archive("0.24.0", SHA256, url="https://example.com/ollama-linux-amd64.tar.zst")
BUILT = Archive("0.24.0", SHA256, folder=Path("/here/archive"), name="ollama.tar.zst")
BASE, ADAPTER = LocalFolder(Path("/here/base")), LocalFolder(Path("/here/contract"))
RELEASE = "/var/lib/llm/ollama/releases/0.24.0-0123456789ab"


@pytest.fixture(autouse=True)
def _files_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders here have no files: these values replace their content."""
    monkeypatch.setattr("provisioning.roles.engine.store.tree_digest", lambda _: "b" * 64)


def serving(**changed: Any) -> ServingSpec:
    tiny = {"kind": "tiny", "name": "llama"}
    versions = [{"name": "contract", "version": each, "source": {**tiny, "adapter": "a"}} for each in (2, 3)]
    versions[0]["promoted"] = False
    model = {"name": "base", "source": tiny, "context_tokens": 2048}
    return ServingSpec.model_validate({"engine": "ollama", "model": model, "adapters": versions, **changed})


def desired(spec: ServingSpec | None = None, release: Archive = REMOTE, **changed: Any) -> list[Resource]:
    return ollama(host(**changed), spec or serving(), ResolvedSources(BASE, (ADAPTER, ADAPTER), release))


def text(resources: list[Resource], path: str) -> str:
    return next(str(each.content) for each in resources if isinstance(each, File) and each.path == path)


def settings(resources: list[Resource]) -> dict[str, str]:
    unit = text(resources, "/etc/systemd/system/ollama.service")
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, flags=re.MULTILINE))


def service(resources: list[Resource], name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text(resources, "/etc/systemd/system/ollama.service"), flags=re.MULTILINE)


@pytest.mark.parametrize("release", [REMOTE, BUILT], ids=["url", "built"])
@pytest.mark.parametrize("gpu", [None, L4], ids=["cpu", "gpu"])
def test_all_ids_differ_and_dependencies_come_first(release: Archive, gpu: Any) -> None:
    seen: set[str] = set()
    for each in joined(base(host(gpu=gpu), GatewaySpec()), desired(release=release, gpu=gpu)):
        assert each.id not in seen
        assert set(each.after) <= seen, each.id
        seen.add(each.id)


def test_the_archive_is_checked_unpacked_beside_the_running_release_and_linked_last() -> None:
    resources = desired()
    (download,) = (each for each in resources if isinstance(each, Download))
    unpack = next(each for each in resources if each.id == "command:ollama-release")
    (link,) = (each for each in resources if isinstance(each, Link))
    assert (download.url, download.sha256) == (REMOTE.url, SHA256)
    assert isinstance(unpack, Command)
    assert unpack.argv[2:] == (download.path, RELEASE, "0.24.0")
    assert (link.path, link.target) == ("/var/lib/llm/ollama/current", "releases/0.24.0-0123456789ab")
    assert download.id in unpack.after
    assert unpack.id in link.after


def test_a_built_archive_is_sent_by_the_controller() -> None:
    resources = desired(release=BUILT)
    assert not [each for each in resources if isinstance(each, Download)]
    archive = next(each for each in resources if isinstance(each, Tree) and each.source == BUILT.folder)
    unpack = next(each for each in resources if isinstance(each, Command) and each.name == "ollama-release")
    assert unpack.argv[2] == f"{archive.path}/ollama.tar.zst"


def test_every_setting_is_stated() -> None:
    ollama_section = {"port": 11500, "num_parallel": 3, "max_queue": 9, "keep_alive": "30m"}
    seen = settings(desired(serving(ollama=ollama_section, ready_timeout_s=300)))
    assert {name: value for name, value in seen.items() if name.startswith("OLLAMA_")} == {
        "OLLAMA_HOST": "127.0.0.1:11500",
        "OLLAMA_MODELS": "/var/lib/llm/ollama/models",
        "OLLAMA_NUM_PARALLEL": "3",
        "OLLAMA_MAX_QUEUE": "9",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_CONTEXT_LENGTH": "2048",
        "OLLAMA_KEEP_ALIVE": "30m",
        "OLLAMA_LOAD_TIMEOUT": "300s",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
    }


def test_the_unit_is_hardened_and_may_not_write_models() -> None:
    resources = desired()
    assert service(resources, "User") == [SERVICE_USER]
    assert service(resources, "ProtectSystem") == ["strict"]
    assert service(resources, "ReadWritePaths") == []
    assert service(resources, "IPAddressDeny") == ["any"]
    assert service(resources, "EnvironmentFile") == []


def test_the_engine_does_not_take_page_cache_for_used_memory() -> None:
    """Ollama reads memory.max and memory.current too (discover/cpu_linux.go), and refuses a model that does not fit."""
    assert service(desired(), "InaccessiblePaths") == [MEMORY_FILES]


def test_a_stop_waits_for_running_answers_as_long_as_the_spec_says() -> None:
    assert service(desired(serving(drain_s=90)), "ExecStop")[0].endswith("main/one drain /run/llm-notice/drain 90")


def test_a_start_ends_only_after_a_token() -> None:
    assert service(desired(), "ExecStartPost")[0].endswith("engine-ready 11434 base 900 /api/version")


def test_a_gpu_host_sees_its_gpus() -> None:
    assert "char-nvidia-uvm rw" in service(desired(gpu=L4), "DeviceAllow")


def test_models_are_made_from_files_and_inherit_the_bases_settings() -> None:
    texts = {"system": "Be brief.", "template": "{{ .Prompt }}", "quantize": "q8_0"}
    said = {**texts, "parameters": {"temperature": 0, "stop": ["END"]}, "prune": True}
    plan = json.loads(text(desired(serving(ollama=said)), PLAN))
    parameters = {"temperature": 0, "stop": ["END"], "num_ctx": 2048, "num_predict": 2048, "repeat_penalty": 1.0}
    assert plan["prune"] is True
    assert plan["models"] == [
        {
            "names": ["base:latest"],
            "from": {"folder": "/var/lib/llm/models/base@bbbbbbbbbbbb"},
            "settings": {**texts, "parameters": parameters},
        },
        {
            "names": ["contract:2"],
            "from": {"model": "base:latest"},
            "adapter": "/var/lib/llm/adapters/contract@2",
        },
        {
            "names": ["contract:3", "contract:latest"],
            "from": {"model": "base:latest"},
            "adapter": "/var/lib/llm/adapters/contract@3",
        },
    ]


@pytest.mark.parametrize(
    ("machine", "threads"),
    [
        pytest.param({"virtualization": "container"}, 2, id="a container, whose kernel shows more processors"),
        pytest.param({"virtualization": "container", "gpu": L4}, None, id="a container with a GPU"),
        pytest.param({"virtualization": "vm"}, None, id="a virtual machine"),
        pytest.param({"virtualization": "metal"}, None, id="bare metal"),
    ],
)
def test_in_a_container_no_more_threads_compute_than_it_has_processors(
    machine: dict[str, Any], threads: int | None
) -> None:
    base = json.loads(text(desired(**machine), PLAN))["models"][0]
    assert base["settings"]["parameters"].get("num_thread") == threads


def test_models_are_made_without_a_network_by_a_user_who_cannot_write_elsewhere() -> None:
    make = next(each for each in desired() if isinstance(each, Command) and each.name == "ollama-models")
    assert {"--property=PrivateNetwork=yes", "--property=User=llm", "--property=ProtectSystem=strict"} < set(make.argv)
    assert "--property=ReadWritePaths=/var/lib/llm/ollama" in make.argv


def test_lack_of_memory_kills_the_model_builder_before_the_engine() -> None:
    """The kernel killed the engine, with a score of 200, for the builder's memory use."""
    make = next(each for each in desired() if isinstance(each, Command) and each.name == "ollama-models")
    (score,) = re.findall(r"--property=OOMScoreAdjust=(\d+)", " ".join(make.argv))
    assert int(score) > int(service(desired(), "OOMScoreAdjust")[0])
    assert "--property=MemoryMax=50%" in make.argv


def test_a_registry_model_is_fetched_by_digest_as_the_engines_user() -> None:
    source = {"kind": "ollama", "name": "llama3.2:3b", "digest": SHA256}
    spec = serving(model={"name": "base", "source": source}, adapters=[])
    fetched = RegistryFetch("https://registry.ollama.ai", "library/llama3.2:3b", SHA256)
    resources = ollama(host(), spec, ResolvedSources(fetched, (), REMOTE))
    fetch = next(each for each in resources if isinstance(each, Command) and each.name.startswith("fetch"))
    place = "ollama+https://registry.ollama.ai/library/llama3.2:3b"
    folder = f"/var/lib/llm/ollama/sources/{SHA256[:12]}"
    assert fetch.argv[2:] == (place, SHA256, folder)
    assert fetch.user == SERVICE_USER
    assert json.loads(text(resources, PLAN))["models"][0]["from"] == {"registry": folder}


def test_a_gguf_is_checked_again_on_the_host() -> None:
    source = {"kind": "gguf", "path": "base.gguf", "sha256": SHA256}
    spec = serving(model={"name": "base", "source": source}, adapters=[])
    resources = ollama(host(), spec, ResolvedSources(BASE, (), REMOTE))
    wanted = {"gguf": "/var/lib/llm/models/base@bbbbbbbbbbbb/model.gguf", "sha256": SHA256}
    assert json.loads(text(resources, PLAN))["models"][0]["from"] == wanted


def test_the_unit_file_waits_for_the_models() -> None:
    """After a refused model, the new settings were already on the disk, and the next reboot used them."""
    (file,) = (each for each in desired() if each.id == "file:/etc/systemd/system/ollama.service")
    assert "command:ollama-models" in file.after


def test_the_unit_restarts_for_a_release_models_or_settings() -> None:
    unit = next(each for each in desired() if isinstance(each, Unit) and each.name == "ollama.service")
    assert set(unit.restart_on) == {
        "link:/var/lib/llm/ollama/current",
        "command:ollama-models",
        f"file:{guard.RULES}",
        "file:/etc/systemd/system/ollama.service",
    }
    assert unit.undo[2:] == ("return", "ollama.service", "/var/lib/llm/ollama/current")
