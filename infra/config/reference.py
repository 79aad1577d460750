"""The reference of all config fields, as Markdown on stdout, made from the models: `docs/config.md` is its output.

python -m infra.config.reference > docs/config.md
"""

import sys
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.config_keys import bare, join, literals, models_in
from core.words import bounds
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.cloud_keys import CLOUDS_OF_KEY, NEEDED

HEAD = """# Config reference

Every field of a stack file, below `config:` and `llm-deploy:deployment:`. Made by
`python -m infra.config.reference > docs/config.md`; edit the models, not this file.

A heading names the key of a section; `[]` stands for each entry of a list. Sizes are in GiB (2^30 bytes) where the name
ends in `_gib`, times in seconds (`_s`) or hours (`_hours`). A key that the chosen cloud would ignore is refused.
"""

_TYPES: dict[Any, str] = {str: "text", Path: "path", bool: "`true`, `false`"}


def reference() -> str:
    """Return the whole text, each section once."""
    return HEAD + "".join(_section(model, keys) for model, keys in keys_by_model().items())


def keys_by_model() -> dict[type[BaseModel], list[str]]:
    """Return every model of the config with the keys it is found at, outermost first."""
    found: dict[type[BaseModel], list[str]] = {}
    _collect(DeploymentConfig, "", found)
    return found


def _collect(model: type[BaseModel], key: str, found: dict[type[BaseModel], list[str]]) -> None:
    """Put `model` and all models below it into `found`, with the keys they are found at."""
    found.setdefault(model, []).append(key)
    for name, field in model.model_fields.items():
        annotation, mark = bare(field.annotation), ""
        if get_origin(annotation) is tuple:
            annotation, mark = bare(get_args(annotation)[0]), "[]"
        for inner in models_in(annotation):
            _collect(inner, join(key, name) + mark, found)


def _section(model: type[BaseModel], keys: list[str]) -> str:
    """Return the Markdown of one model."""
    title = ", ".join(f"`{key}`" for key in dict.fromkeys(keys) if key) or "Top level"
    kinds = literals(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()
    title += f", kind {' or '.join(f'`{kind}`' for kind in kinds)}" if kinds else ""
    about = " ".join(str(model.__doc__).partition("\n\n")[0].split())
    rows = "".join(
        f"| `{name}` | {_values(field)} | {_default(field)} | {_meaning(field, join(keys[0], name))} |\n"
        for name, field in model.model_fields.items()
    )
    return f"\n## {title}\n\n{about}\n\n| key | value | default | meaning |\n|---|---|---|---|\n{rows}"


def _values(field: FieldInfo) -> str:
    """Return what may be written, in words."""
    annotation, many = bare(field.annotation), ""
    if get_origin(annotation) is tuple:
        annotation, many = bare(get_args(annotation)[0]), "list of "
    if literals(annotation):
        return many + ", ".join(f"`{each}`" for each in literals(annotation))
    if models_in(annotation):
        return many + "mapping"
    if annotation in (int, float):
        return many + bounds(field)
    return many + _TYPES.get(annotation, "mapping of text")


def _default(field: FieldInfo) -> str:
    """Return the default as it would be written in YAML."""
    if field.is_required():
        return "**needed**"
    value: Any = field.default
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`[{', '.join(map(str, value))}]`" if isinstance(value, tuple) else f"`{value}`"


def _meaning(field: FieldInfo, key: str) -> str:
    """Return the description, and the clouds that take or need the key where not all do."""
    text = str(field.description).replace("|", "\\|")
    clouds = CLOUDS_OF_KEY.get(key)
    needed = [cloud for cloud, keys in NEEDED.items() if key in keys]
    text += f" *Only {', '.join(clouds)}.*" if clouds else ""
    return text + (f" *Needed by {', '.join(needed)}.*" if needed else "")


if __name__ == "__main__":
    sys.stdout.write(reference())
