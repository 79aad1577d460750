"""What a list needs from a network, found and taken out of it; and where its secrets go."""

import hashlib
import json
from pathlib import Path

import pytest

from core.errors import DeployError
from core.files import only_link, sha256_of
from provisioning.converge.resources import (
    Command,
    Directory,
    Download,
    File,
    Packages,
    Resource,
    Secret,
    Tree,
    Unit,
    Venv,
)
from provisioning.converge.trees import tree_digest
from provisioning.offline.debs import index, packages
from provisioning.offline.lists import archives, contents, local, locks, offline_list, package_names
from provisioning.offline.parts import Component, Part
from provisioning.offline.releases import RELEASES, Release
from provisioning.roles.engine.ollama import ollama
from provisioning.roles.engine.store import FETCH_MODEL
from provisioning.roles.monitoring.grafana import PACKAGE_DIR, PACKAGE_NAME
from serving.sources.ollama import Archive
from serving.sources.resolve import LocalFolder, ResolvedSources
from serving.spec.models import ServingSpec
from tests.doubles.google_storage import StorageDouble, running_storage
from tests.doubles.grafana_package import grafana_package
from tests.doubles.hub import REPO, REVISION, HubDouble, running_hub
from tests.unit.provisioning.records import SERVING, host

KEY = "-----BEGIN PRIVATE KEY-----"
SECRET = File(path="/etc/key.pem", content=Secret(KEY), mode=0o600)


def test_secrets_leave_the_list_for_a_file_beside_the_archive() -> None:
    command = Command(name="fetch", argv=("true",), env={"TOKEN": Secret("hf_token")})
    found = offline_list([SECRET, command], with_secrets=False)
    assert KEY not in json.dumps(found.document)
    assert "hf_token" not in json.dumps(found.document)
    assert sorted(found.secrets.values()) == sorted([KEY, "hf_token"])
    assert found.document["resources"][0]["content"] == {"secret_key": "0"}


def test_secrets_stay_in_the_list_if_asked() -> None:
    found = offline_list([SECRET], with_secrets=True)
    assert found.secrets == {}
    assert found.document["resources"][0]["content"] == {"secret": KEY}


def test_packages_of_all_roles_and_of_the_clock_are_named() -> None:
    clock = Command(name="time-sync", argv=("sh",))
    assert package_names([Packages(name="a", present=("haproxy",)), clock]) == {
        "haproxy",
        "python3",
        "systemd-timesyncd",
    }


def test_locks_are_found_in_environments_and_in_files() -> None:
    lock = f"uv==1 --hash=sha256:{'ab' * 32}"
    assert list(locks([Venv(path="/v", lock="a", uv="uv"), File(path="/uv.lock", content=lock), SECRET])) == ["a", lock]


def test_a_download_becomes_a_blob_if_its_hash_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "engine.tar").write_bytes(b"engine")
    url = (tmp_path / "engine.tar").as_uri()
    sha256 = hashlib.sha256(b"engine").hexdigest()
    download = Download(path="/opt/engine.tar", url=url, sha256=sha256)
    assert offline_list([download], with_secrets=False).blobs[sha256].read_bytes() == b"engine"
    (component,) = contents([download])
    assert component.parts[0].place == f"blobs/{sha256}"
    with pytest.raises(DeployError, match="has SHA-256"):
        offline_list([Download(path="/opt/x", url=url, sha256="0" * 64)], with_secrets=False)


def test_other_resources_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    resources: list[Resource] = [Directory(path="/data"), Tree(path="/data/model", source=tmp_path)]
    assert local(resources) == resources
    (component,) = contents(resources)
    assert (component.kind, component.name) == ("model", "/data/model")


def test_a_built_release_of_ollama_is_a_program_and_its_model_is_one(tmp_path: Path) -> None:
    for name in ("release", "base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    release = Archive("0.24.0", "ab" * 32, folder=tmp_path / "release", name="file")
    sources = ResolvedSources(LocalFolder(tmp_path / "base"), (), release)
    resources = ollama(host(), ServingSpec.model_validate({"engine": "ollama", **SERVING}), sources)
    assert {each.name: each.kind for each in contents(resources)} == {
        "/var/lib/llm/ollama/archives/0.24.0-abababababab": "program",
        f"/var/lib/llm/models/tiny@{tree_digest(tmp_path / 'base')[:12]}": "model",
    }


def test_the_licence_is_that_of_the_base_model_alone(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("x")
    trees = {
        "/var/lib/llm/models/tiny@0": "apache-2.0",
        "/var/lib/llm/ollama/sources/0": "apache-2.0",
        "/var/lib/llm/adapters/contract@3": "",
        "/var/lib/llm/ollama/archives/0.24.0": "",
    }
    resources = [Tree(path=path, source=tmp_path) for path in trees]
    assert {each.name: each.licence for each in contents(resources, "apache-2.0")} == trees


def test_a_fetch_from_the_hub_becomes_the_folder_that_it_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = "/data/models/base"
    fetch = Command(name=f"fetch {path}", argv=("python3", FETCH_MODEL, REPO, REVISION, path, "--immutable=yes"))
    unit = Unit(name="vllm.service", restart_on=(fetch.id,))
    with running_hub(HubDouble({"config.json": b"{}", "model.safetensors": b"weights"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        tree, reported = local([fetch, unit])
    assert isinstance(tree, Tree)
    assert (tree.path, tree.immutable) == (path, True)
    assert (tree.source / "model.safetensors").read_bytes() == b"weights"
    assert isinstance(reported, Unit)
    assert reported.restart_on == (tree.id,)


def test_a_fetch_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fetch = Command(name="fetch /data/m", argv=("python3", FETCH_MODEL, REPO, "f" * 40, "/data/m"))
    with running_hub(HubDouble({"config.json": b"{}"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(DeployError, match="has no commit"):
            local([fetch])


BUCKETS = {
    "the host's own role, which is not here": (
        {},
        r"may not be read \(403\); write credentials: handed to bundle",
    ),
    "keys that were handed": ({"GOOGLE_OAUTH_ACCESS_TOKEN": Secret("ya29.other")}, "the right to$"),
}


@pytest.mark.parametrize(("env", "said"), BUCKETS.values(), ids=BUCKETS.keys())
def test_a_bucket_that_only_the_host_may_read_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str | Secret], said: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOOGLE_OAUTH_ACCESS_TOKEN", raising=False)
    argv = ("python3", FETCH_MODEL, "gs://acme/models/base", "0" * 64, "/data/m")
    with running_storage(StorageDouble({}, token="ya29.sample")) as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{storage.address}")
        with pytest.raises(DeployError, match=said):
            local([Command(name="fetch /data/m", argv=argv, env=env)])


def test_a_package_that_no_source_has_brings_its_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real apt. Of the package itself the bundle has the blob."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = grafana_package(tmp_path)
    sha256 = sha256_of(package)
    download = Download(path=f"{PACKAGE_DIR}/{PACKAGE_NAME}", url=package.as_uri(), sha256=sha256)
    tree = Tree(path=PACKAGE_DIR, source=tmp_path / "sent")
    only_link(tree.source, PACKAGE_NAME, package)
    other = Download(path="/opt/engine.tar", url="https://example.com/engine.tar", sha256="a" * 64)
    found = list(archives([download, other, tree]))
    assert [sha256_of(path) for path in found] == [sha256, sha256]

    mirror = tmp_path / "mirror"
    mirror.mkdir()
    needed = grafana_package(mirror, name="adduser")
    part = Part(place=f"debs/{needed.name}", source=needed, sha256=sha256_of(needed), size=needed.stat().st_size)
    (mirror / "Packages").write_text(index([Component(kind="debian", name="adduser", version="1", parts=(part,))]))
    monkeypatch.setattr(Release, "sources", lambda _: [f"deb [trusted=yes] copy:{mirror} ./"])
    brought = packages([str(found[0])], RELEASES["debian-12"])
    assert [(each.name, each.version) for each in brought] == [("adduser", "12.0.0")]
    (listed,) = contents([download])
    assert listed.parts[0].sha256 == sha256
