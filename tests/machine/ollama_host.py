"""A machine that serves with a real Ollama, and the server from which it fetches releases and models."""

import io
import json
import subprocess
import sys
import tarfile
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply.desired_state import DesiredState, desired_state
from provisioning.converge.resources import Resource
from provisioning.programs import ollama
from provisioning.roles import ROLES
from tests.doubles.ollama_registry import RegistryDouble
from tests.machine.converge_host import Seen, bring, remote
from tests.unit.provisioning.records import stack
from tools.ollama import built_archive
from tools.tiny_model import make_tiny_model

CURRENT = "/var/lib/llm/ollama/current"
LIBRARY = "/var/lib/llm/ollama/models/manifests/registry.ollama.ai/library"
NEWER = "0.24.1"

CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
WEIGHTS_TYPE = "application/vnd.ollama.image.model"
ADAPTER_TYPE = "application/vnd.ollama.image.adapter"
CONFIG = b'{"model_format": "gguf", "model_family": "llama", "architecture": "amd64", "os": "linux"}'
"""The registry's metadata of a model."""

TINY = {"kind": "tiny", "name": "llama"}
MODEL: dict[str, Any] = {"name": "tiny", "source": TINY, "context_tokens": 1024}
ADAPTERS = [
    {"name": "contract", "version": 3, "source": {**TINY, "adapter": "a"}},
    {"name": "summary", "source": {**TINY, "adapter": "b"}},
]
TEMPLATE = "{{ if .System }}{{ .System }}: {{ end }}{{ .Prompt }}"
SETTINGS = {
    "native_api": True,
    "num_parallel": 2,
    "parameters": {"temperature": 0},
    "system": "You are a lawyer.",
    "template": TEMPLATE,
}


@dataclass(frozen=True)
class Release:
    """An archive that the server has."""

    version: str
    url: str
    sha256: str

    @property
    def config(self) -> dict[str, str]:
        """Return it as a stack file names it."""
        return {"kind": "archive", "version": self.version, "url": self.url, "sha256": self.sha256}

    @property
    def folder(self) -> str:
        """The folder that it is unpacked into, as in the link."""
        return f"releases/{self.version}-{self.sha256[:12]}"


@dataclass(frozen=True)
class OllamaHost:
    """The machine, with the queries of the tests."""

    host: HostRecord
    server: RegistryDouble
    release: Release

    def outputs(self, **serving: Any) -> StackOutputs:
        """Return the stack, with parts of its serving section changed."""
        ollama = {**SETTINGS, "release": self.release.config, **serving.pop("ollama", {})}
        values = {"engine": "ollama", "model": MODEL, "adapters": ADAPTERS, "drain_s": 120, **serving}
        return stack(serving={**values, "ollama": ollama}).model_copy(update={"hosts": (self.host,)})

    def desired(self, roles: Sequence[str] = ROLES, *, allow_downgrade: bool = False, **serving: Any) -> DesiredState:
        """Return the resources for this stack."""
        return desired_state(self.outputs(**serving), [self.host], roles, allow_downgrade=allow_downgrade)

    def resources(self, roles: Sequence[str] = ROLES, **wanted: Any) -> Sequence[Resource]:
        """Return the list of resources."""
        return self.desired(roles, **wanted).lists[self.host.name]

    def bring(self, roles: Sequence[str] = ROLES, **wanted: Any) -> Seen:
        """Apply this stack to the machine."""
        return bring(self.host, self.resources(roles, **wanted))

    def run(self, script: str) -> str:
        """Return what a shell script of root's prints on the machine."""
        return remote(self.host, f"set -eu\n{script}").strip()

    def ask(self, path: str, body: str = "", *, user: str = "root", method: str = "") -> str:
        """Return status and body of Ollama's answer to `user`; 000 if the connection is refused."""
        data = f"-d '{body}'" if body else ""
        verb = f"-X {method}" if method else ""
        ask = f"curl -s -m 60 -w '\\n%{{http_code}}' {verb} {data} http://127.0.0.1:11434{path}"
        answer, _, status = self.run(f"setpriv --reuid={user} --clear-groups {ask} || true").rpartition("\n")
        return f"{status} {answer}".strip()

    @property
    def current(self) -> str:
        """The release that runs."""
        return self.run(f"readlink {CURRENT}")

    @property
    def models(self) -> list[str]:
        """Ollama's stored models, by name and tag."""
        return sorted(self.run(f"cd {LIBRARY}; ls -d */* | tr / :").split())


def publish_release(server: RegistryDouble) -> Release:
    """Put the archive that is built here on the server."""
    archive = built_archive()
    path = f"/releases/{archive.path.name}"
    server.files[path] = archive.path.read_bytes()
    return Release(archive.version, f"{server.url}{path}", archive.sha256)


def publish_script(server: RegistryDouble, name: str, script: str) -> Release:
    """Put a .tar.gz release whose program is a script on the server."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("bin/ollama")
        entry.size, entry.mode = len(script), 0o755
        tar.addfile(entry, io.BytesIO(script.encode()))
    server.files[f"/releases/{name}.tgz"] = packed.getvalue()
    return Release(NEWER, f"{server.url}/releases/{name}.tgz", sha256(packed.getvalue()).hexdigest())


def tiny_gguf(folder: Path) -> Path:
    """Return the tiny model as a GGUF file below `folder`, made by a local Ollama in a separate network namespace."""
    subprocess.run(["tar", "--zstd", "-xf", built_archive().path, "-C", folder, "bin/ollama"], check=True)
    model = {"names": ["tiny:latest"], "from": {"folder": str(make_tiny_model("llama").base)}, "settings": {}}
    plan = {"program": str(folder / "bin/ollama"), "root": str(folder), "prune": False, "models": [model]}
    (folder / "plan.json").write_text(json.dumps(plan))
    make = [sys.executable, str(Path(ollama.__file__).with_name("ollama_models.py")), str(folder / "plan.json")]
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    subprocess.run([*alone, *make], check=True)
    manifest = next(folder.glob("models/manifests/registry.ollama.ai/library/tiny/latest"))
    return folder / "models/blobs" / _weights(manifest.read_text()).replace(":", "-")


def weights_of(host: OllamaHost, model: str, kind: str = WEIGHTS_TYPE) -> bytes:
    """Return the GGUF that Ollama has made for a model, or for an adapter, on the machine."""
    digest = _weights(host.run(f"cat {LIBRARY}/{model}"), kind)
    return b64decode(host.run(f"base64 -w0 /var/lib/llm/ollama/models/blobs/{digest.replace(':', '-')}"))


def _weights(manifest: str, kind: str = WEIGHTS_TYPE) -> str:
    """Return the digest of a model's weights, or of its adapter's."""
    layers = json.loads(manifest)["layers"]
    return str(next(each["digest"] for each in layers if each["mediaType"] == kind))
