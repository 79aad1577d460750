"""Whether the files that a spec names are there and say the same as the spec. Reads this computer's disk only."""

from collections.abc import Iterator
from pathlib import Path

from core.errors import ConfigError
from core.paths import CHECKOUT
from core.rules import Problem
from serving.adapters import check_adapter
from serving.spec import AdapterSpec, FolderSource, GatewaySpec, HubSource, ServingSpec, TlsFiles

MODEL_FILE = "config.json"

OTHERS = 0o077
"""Permissions that a private key gives nobody."""


def full_path(path: Path) -> Path:
    """Return the path that a config means: `~` is the home folder, relative paths start at the checkout."""
    return CHECKOUT / path.expanduser()


def files_of_serving(spec: ServingSpec) -> Iterator[Problem]:
    """Yield what is wrong with the folders of the model and the adapters."""
    source = spec.model.source
    if isinstance(source, FolderSource):
        folder = full_path(source.path)
        if not folder.is_dir():
            yield _no_folder(source, "model.source.path")
        elif not (folder / MODEL_FILE).is_file():
            yield Problem(
                "model.source.path",
                f"{source.path} has no {MODEL_FILE}",
                f"name the folder that holds {MODEL_FILE} and the weights",
            )
    for index, adapter in enumerate(spec.adapters):
        yield from _adapter_folder(adapter, spec, f"adapters[{index}]")


def _adapter_folder(adapter: AdapterSpec, spec: ServingSpec, key: str) -> Iterator[Problem]:
    """Yield what is wrong with the folder of an adapter, if it comes from one."""
    if not isinstance(adapter.source, FolderSource):
        return
    folder, base = full_path(adapter.source.path), spec.model.source
    if not folder.is_dir():
        yield _no_folder(adapter.source, f"{key}.source.path")
        return
    try:
        check_adapter(
            adapter,
            folder,
            base=full_path(base.path) if isinstance(base, FolderSource) else None,
            base_repo=base.repo if isinstance(base, HubSource) else None,
            max_rank=spec.vllm.max_lora_rank if spec.engine == "vllm" else None,
            where=key,
        )
    except ConfigError as error:
        own_key = error.where.startswith(key)
        what = error.what if own_key else f"{error.where} {error.what}"
        # Said of the path as it stands in the file, not of where this computer has it.
        what = what.replace(str(folder), str(adapter.source.path))
        yield Problem(error.where if own_key else key, what, error.hint)


def _no_folder(source: FolderSource, key: str) -> Problem:
    return Problem(key, f"there is no folder {source.path}", "relative paths start at the checkout")


def files_of_gateway(gateway: GatewaySpec) -> Iterator[Problem]:
    """Yield what is wrong with the files of the gateway's certificate."""
    if isinstance(gateway.tls, TlsFiles):
        for name in ("certificate", "key", "ca"):
            path = getattr(gateway.tls, name)
            if path is not None:
                yield from file_is_there(path, f"tls.{name}", private=name == "key")


def file_is_there(path: Path, key: str, *, private: bool = False) -> Iterator[Problem]:
    """Yield a problem unless `path` is a file, and if `private` one that its owner alone can read."""
    if not full_path(path).is_file():
        yield Problem(key, f"there is no file {path}", "relative paths start at the checkout")
    elif private and full_path(path).stat().st_mode & OTHERS:
        yield Problem(key, f"others on this computer can read {path}", f"run chmod 600 {path}")
