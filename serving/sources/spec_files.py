"""Check the files that a spec names: they exist and match the spec. Reads only this computer's disk."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from core.errors import ConfigError
from core.files import others_can_read
from core.paths import full_path
from core.reading.regular_files import check_below
from core.reading.rules import Problem
from serving.adapters.checks import check_adapter
from serving.sources.model_folder import check_model
from serving.spec.fields import FolderSource, HubSource
from serving.spec.gateway_fields import TlsFiles
from serving.spec.models import GatewaySpec, ServingSpec
from serving.spec.ollama import GgufSource

MAX_TEMPLATE_BYTES = 256 * 1024
"""The longest published chat templates have about 30 KiB."""


def files_of_serving(spec: ServingSpec) -> Iterator[Problem]:
    """Yield problems with the folders of the model and the adapters."""
    base = spec.model.source
    if isinstance(base, FolderSource):
        yield from _problems(base, "model.source", _whole_model(spec))
    elif isinstance(base, GgufSource):
        yield from file_is_there(base.path, "model.source.path")
    if spec.vllm.chat_template is not None:
        yield from _template(spec.vllm.chat_template)
    for index, adapter in enumerate(spec.adapters):
        if isinstance(adapter.source, FolderSource):
            check = partial(
                check_adapter,
                adapter,
                base=full_path(base.path) if isinstance(base, FolderSource) else None,
                base_repo=base.repo if isinstance(base, HubSource) else None,
                max_rank=spec.vllm.max_lora_rank if spec.engine == "vllm" else None,
                where=f"adapters[{index}]",
            )
            yield from _problems(adapter.source, f"adapters[{index}].source", check)


def _whole_model(spec: ServingSpec) -> Callable[[Path], None]:
    """Return the check of the base model's folder."""
    return partial(check_model, where="model.source.path", context_tokens=spec.model.context_tokens, engine=spec.engine)


def _problems(source: FolderSource, key: str, check: Callable[[Path], None]) -> Iterator[Problem]:
    """Yield the problem that `check` finds in the folder; `key` is that of the source."""
    folder = full_path(source.path)
    if not folder.is_dir():
        yield Problem(f"{key}.path", f"there is no folder {source.path}", "relative paths start at the checkout")
        return
    try:
        check_below(folder)
        check(folder)
    except ConfigError as error:
        # Some errors name a file in the folder instead of a key. Messages use the path as the config writes it.
        own_key = error.where.startswith(key.removesuffix(".source"))
        what = error.what if own_key else f"{error.where} {error.what}"
        yield Problem(
            error.where if own_key else f"{key}.path", what.replace(str(folder), str(source.path)), error.hint
        )


def _template(path: Path) -> Iterator[Problem]:
    """Yield problems with a chat template."""
    key = "vllm.chat_template"
    missing = list(file_is_there(path, key))
    if missing:
        yield from missing
        return
    try:
        with full_path(path).open("rb") as stream:
            content = stream.read(MAX_TEMPLATE_BYTES + 1)
        content.decode()
    except (OSError, UnicodeDecodeError) as error:
        yield Problem(key, f"{path} cannot be read as text ({error})", "write a Jinja file in UTF-8")
        return
    if len(content) > MAX_TEMPLATE_BYTES:
        yield Problem(key, f"{path} has more than {MAX_TEMPLATE_BYTES} bytes", "write a Jinja file")


def files_of_gateway(gateway: GatewaySpec) -> Iterator[Problem]:
    """Yield problems with the files of the gateway's certificate."""
    if isinstance(gateway.tls, TlsFiles):
        for name in ("certificate", "key", "ca"):
            path = getattr(gateway.tls, name)
            if path is not None:
                yield from file_is_there(path, f"tls.{name}", private=name == "key")


def file_is_there(path: Path, key: str, *, private: bool = False) -> Iterator[Problem]:
    """Yield a problem unless `path` is a file and, if `private`, only its owner can read it."""
    if not full_path(path).is_file():
        yield Problem(key, f"there is no file {path}", "relative paths start at the checkout")
    elif private and others_can_read(full_path(path)):
        yield Problem(key, f"others on this computer can read {path}", f"run chmod 600 {path}")
