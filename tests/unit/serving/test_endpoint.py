"""Making, writing and reading an endpoint."""

import json
from pathlib import Path

import pytest

from core.errors import ConfigError, UsageError
from serving.endpoint import Endpoint, endpoint_file, endpoint_of, read_endpoint, write_endpoint
from serving.spec.models import GatewaySpec, ServingSpec

SERVING = ServingSpec.model_validate(
    {
        "model": {"name": "tiny", "source": {"kind": "tiny", "name": "llama"}},
        "adapters": [
            {"name": "contract", "version": 3, "source": {"kind": "tiny", "name": "llama", "adapter": "a"}},
            {"name": "letter", "source": {"kind": "tiny", "name": "llama", "adapter": "b"}},
        ],
        "vllm": {"port": 8001},
    }
)
KEY = "sk-secret-of-the-default-client"


def make(tmp_path: Path, *hosts: str, port: int = 443) -> Endpoint:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"batch": KEY}))
    gateway = GatewaySpec(port=port, clients=("batch", "default"))
    return endpoint_of("demo", hosts, [SERVING], gateway, ca=tmp_path / "ca.pem", keys_file=keys)


def test_endpoint_says_what_is_served_and_where(tmp_path: Path) -> None:
    endpoint = make(tmp_path, "192.0.2.7", "192.0.2.8")
    assert endpoint.urls == ("https://192.0.2.7", "https://192.0.2.8")
    assert endpoint.models == ("tiny", "contract", "contract@3", "letter", "letter@1")
    assert (endpoint.base_model, endpoint.adapters) == ("tiny", ("contract", "letter"))
    assert (endpoint.engine, endpoint.engine_port, endpoint.client) == ("vllm", 8001, "batch")


def test_an_endpoint_of_several_pools_has_the_engine_of_each(tmp_path: Path) -> None:
    closed, native = (
        ServingSpec.model_validate(
            {"engine": "ollama", "model": {"name": name, "source": {"kind": "tiny", "name": "llama"}}, "ollama": own}
        )
        for name, own in (("closed", {"port": 11435}), ("open", {"native_api": True}))
    )
    endpoint = endpoint_of(
        "demo", ["192.0.2.7"], [SERVING, closed, native], GatewaySpec(), ca=None, keys_file=tmp_path / "keys.json"
    )

    assert endpoint.base_models == ("tiny", "closed:latest", "open:latest")
    assert endpoint.base_of("letter") == "tiny"
    assert endpoint.engine_ports == (8001, 11435, 11434)
    assert (endpoint.ollama_model, endpoint.native_api) == ("open:latest", True)
    assert make(tmp_path, "192.0.2.7").ollama_model is None


def test_hosts_that_share_a_name_are_one_url(tmp_path: Path) -> None:
    assert make(tmp_path, "llm.example.com", "llm.example.com").urls == ("https://llm.example.com",)


URLS = [
    ("192.0.2.7", 443, "https://192.0.2.7"),
    ("192.0.2.7", 8443, "https://192.0.2.7:8443"),
    ("llm.example.com", 443, "https://llm.example.com"),
    ("2001:db8::7", 443, "https://[2001:db8::7]"),
    ("2001:db8::7", 8443, "https://[2001:db8::7]:8443"),
]


@pytest.mark.parametrize(("host", "port", "url"), URLS)
def test_url_leaves_out_the_usual_port_and_puts_ipv6_in_brackets(
    tmp_path: Path, host: str, port: int, url: str
) -> None:
    assert make(tmp_path, host, port=port).url == url


def test_a_written_endpoint_is_read_again_and_has_no_key(tmp_path: Path) -> None:
    endpoint = make(tmp_path, "192.0.2.7")
    path = write_endpoint(endpoint)
    assert path == endpoint_file("demo")
    assert read_endpoint(path, hint="") == endpoint
    assert KEY not in path.read_text()


def test_key_is_read_from_its_file(tmp_path: Path) -> None:
    assert make(tmp_path, "192.0.2.7").api_key().get_secret_value() == KEY


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"batch": 3}'])
def test_missing_key_is_reported_with_what_to_run(tmp_path: Path, content: str | None) -> None:
    endpoint = make(tmp_path, "192.0.2.7")
    if content is None:
        endpoint.keys_file.unlink()
    else:
        endpoint.keys_file.write_text(content)
    with pytest.raises(ConfigError, match=r"; make provision STACK=demo$"):
        endpoint.api_key()


def test_missing_endpoint_is_reported_with_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r": there is no such file; do that$"):
        read_endpoint(tmp_path / "none.json", hint="do that")


WRONG = [
    ({"url": "http://192.0.2.7"}, "url"),
    ({"url": "https://192.0.2.7/v1"}, "url"),
    ({"models": []}, "models"),
    ({"engine": "other"}, "engine"),
    ({"extra": 1}, "extra"),
]


@pytest.mark.parametrize(("change", "key"), WRONG)
def test_wrong_value_is_reported_with_file_and_key(tmp_path: Path, change: dict[str, object], key: str) -> None:
    path = tmp_path / "endpoint.json"
    path.write_text(json.dumps(make(tmp_path, "192.0.2.7").model_dump(mode="json") | change))
    with pytest.raises(ConfigError, match=f"^{path}: {key}: "):
        read_endpoint(path, hint="")
