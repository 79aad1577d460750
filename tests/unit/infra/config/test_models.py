"""Rules for all config models."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from core.paths import CHECKOUT
from core.reading.config_keys import place_of
from infra.config.models.deployment import DeploymentConfig
from infra.config.reference import keys_by_model, reference
from infra.config.rules.cloud_keys import CLOUDS_OF_KEY, EXAMPLES, INSTEAD, NEEDED
from infra.contract.outputs import HostRecord

MODELS = [*keys_by_model(), HostRecord]


def _fields() -> Iterator[tuple[str, type[BaseModel], str]]:
    for model in keys_by_model():
        for name in model.model_fields:
            yield f"{model.__name__}.{name}", model, name


@pytest.mark.parametrize(("_id", "model", "name"), [pytest.param(*each, id=each[0]) for each in _fields()])
def test_every_field_is_described(_id: str, model: type[BaseModel], name: str) -> None:
    """The reference and many hints use the descriptions."""
    assert model.model_fields[name].description


@pytest.mark.parametrize("model", keys_by_model(), ids=lambda model: model.__name__)
def test_every_model_is_frozen_and_refuses_unknown_keys(model: type[BaseModel]) -> None:
    """No step can change the config, and no key is ignored."""
    assert model.model_config.get("frozen") is True
    assert model.model_config.get("extra") == "forbid"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_bool_accepts_only_true_and_false(model: type[BaseModel]) -> None:
    """`eager: "yes"` was once read as true, like `trust_remote_code: 1`."""
    names = {name for name, field in model.model_fields.items() if field.annotation is bool}
    for value in ("yes", "true", 1):
        with pytest.raises(ValidationError) as caught:
            model.model_validate({**dict.fromkeys(names, value), "no such key": None})
        refused = {each["loc"][0] for each in caught.value.errors() if each["type"] == "bool_type"}
        assert refused == names


@pytest.mark.parametrize("key", [*CLOUDS_OF_KEY, *(key for keys in NEEDED.values() for key in keys), *EXAMPLES])
def test_every_key_of_the_cloud_tables_exists(key: str) -> None:
    """A rule about an unknown key would never match."""
    place = place_of(DeploymentConfig, tuple(key.split(".")))
    assert place.key == key
    assert place.field is not None


def test_every_required_key_has_an_example_and_every_hint_has_a_rule() -> None:
    """The tables about clouds match each other."""
    assert {key for keys in NEEDED.values() for key in keys} <= set(EXAMPLES)
    for cloud, key in INSTEAD:
        assert cloud not in CLOUDS_OF_KEY[key], (cloud, key)


def test_the_reference_is_current() -> None:
    """docs/config.md is generated from the models."""
    assert (CHECKOUT / "docs/config.md").read_text() == reference(), "python -m infra.config.reference > docs/config.md"


def test_importing_the_config_imports_no_heavy_package() -> None:
    """A command prints its first line within 0.8 s, and a preview loads one cloud only."""
    code = "import sys, infra.config; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert not {"pulumi", "fabric", "paramiko", "boto3", "google", "cryptography", "jinja2"} & set(done.stdout.split())
