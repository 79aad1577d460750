"""Files of a model or an adapter on a host: sent by the controller, or fetched by the host."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Command, File, Resource, Secret, Tree
from provisioning.converge.trees import tree_digest
from provisioning.programs import modules, program
from provisioning.roles.host.layout import LIB_DIR, SERVICE_USER
from serving.sources.ollama import RegistryFetch
from serving.sources.resolve import HubFetch, ListedFetch, LocalFolder, ResolvedModel
from serving.spec.models import ServingSpec

FETCH_MODEL = f"{LIB_DIR}/fetch-model"

FETCH_TIMEOUT_S = 6 * 3600


@dataclass(frozen=True)
class Stored:
    """The resource that brings the files, and their path."""

    resource: Resource
    path: str


def model_path(host: HostRecord, serving: ServingSpec, source: ResolvedModel) -> str:
    """Return the path of the base model. Other files get another folder, so that no file of a running engine changes.

    The path of a folder on this machine depends on all its files, so they are read. Unchanged ones are not read again.
    """
    match source:
        case RegistryFetch():
            return f"{host.data_dir}/ollama/sources/{source.digest[:12]}"
        case HubFetch():
            return f"{host.data_dir}/models/{source.repo.replace('/', '--')}@{source.revision[:12]}"
        case ListedFetch():
            return f"{host.data_dir}/models/{serving.model.name}@{source.sha256[:12]}"
        case LocalFolder():
            return f"{host.data_dir}/models/{serving.model.name}@{tree_digest(source.path)[:12]}"


def base_store(host: HostRecord, serving: ServingSpec, source: ResolvedModel) -> Stored:
    """Return the resource that brings the base model. The fetch refuses a model that cannot serve the stack."""
    by_host = not isinstance(source, (LocalFolder, RegistryFetch))
    asked = (f"--context-tokens={serving.model.context_tokens}", f"--engine={serving.engine}")
    conditions = asked if by_host else ()
    return store(source, model_path(host, serving, source), conditions)


def fetch_program() -> list[File]:
    """Return the fetch program and the modules beside it."""
    return [
        *(File(path=f"{LIB_DIR}/llm_fetch/{name}", content=text) for name, text in modules("fetch/llm_fetch").items()),
        File(path=FETCH_MODEL, content=program("fetch/fetch_model"), mode=0o755),
    ]


def store(source: ResolvedModel, path: str, conditions: Sequence[str] = (), *, immutable: bool = False) -> Stored:
    """Return the resource that puts the files of `source` at `path`.

    `conditions` are arguments of the fetch that make it refuse some files. An `immutable` folder is never changed
    once it is complete.
    """
    if isinstance(source, LocalFolder):
        above = f"directory:{path.rpartition('/')[0]}"
        return Stored(Tree(path=path, source=source.path, immutable=immutable, after=(above,)), path)
    conditions = (*conditions, *(source.conditions if isinstance(source, HubFetch) else ()))
    refused = (*conditions, *(("--immutable=yes",) if immutable else ()))
    fetch = ("python3", FETCH_MODEL, *source.fetch_arguments, path, *refused)
    return Stored(
        Command(
            name=f"fetch {path}",
            argv=fetch,
            check=(*fetch, "--check"),
            env={name: Secret(value.get_secret_value()) for name, value in source.environment.items()},
            # Ollama's user makes models of these files: see ollama.py.
            user=SERVICE_USER if isinstance(source, RegistryFetch) else "root",
            timeout_s=FETCH_TIMEOUT_S,
            after=(f"file:{FETCH_MODEL}", f"directory:{path.rpartition('/')[0]}"),
        ),
        path,
    )
