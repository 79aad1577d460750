"""The endpoint of a stack. `provision` writes it; the smoke test, benchmarks and users' programs read it.

It contains no secret: the API key is in the file that it names. Opens no connection.
"""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError

from core.errors import ConfigError, UsageError
from core.files import write_atomically
from core.paths import state_dir
from core.reading.frozen import Frozen
from core.reading.strict_json import parse_json
from core.reading.words import words
from serving.spec.models import GatewaySpec, ServingSpec

HTTPS_PORT = 443


class Endpoint(Frozen):
    """The endpoint of one stack, with OpenAI's API."""

    stack: str
    url: str = Field(
        pattern=r"^https://[^/]+$", description="Without a path, e.g. https://192.0.2.7 or https://192.0.2.7:8443."
    )
    other_urls: tuple[str, ...] = Field(default=(), description="The same models on the stack's other hosts.")
    ca: Path | None = Field(description="PEM file with the CA to trust. If null, those of the system.")
    engine: Literal["vllm", "ollama"]
    engine_port: int = Field(description="The engine's own port, which only its host may reach.")
    other_engine_ports: tuple[int, ...] = Field(default=(), description="The same of engines of other pools.")
    models: tuple[str, ...] = Field(min_length=1, description="Every name that /v1/models lists, the base model first.")
    adapters: tuple[str, ...] = Field(default=(), description="The aliases of adapters among them.")
    bases: dict[str, str] = Field(
        default={}, description="The base model of each name that has another than models[0]."
    )
    ollama_model: str | None = Field(
        default=None, description="A base model that Ollama serves. If null, no pool has Ollama."
    )
    native_api: bool = Field(default=False, description="Whether the gateway allows Ollama's own API too.")
    keys_file: Path = Field(description='JSON, 0600: {"client": "API key"}.')
    client: str = Field(description="Client whose key the smoke test uses.")
    gpu_hosts: tuple[str, ...] = Field(default=(), description="Hosts that must compute on their GPUs.")

    @property
    def base_model(self) -> str:
        """The base model's name."""
        return self.models[0]

    @property
    def base_models(self) -> tuple[str, ...]:
        """The base model of each pool."""
        return tuple(dict.fromkeys((self.base_model, *self.bases.values())))

    @property
    def engine_ports(self) -> tuple[int, ...]:
        """The ports of all engines."""
        return (self.engine_port, *self.other_engine_ports)

    def base_of(self, name: str) -> str:
        """Return the base model of the pool that serves `name`."""
        return self.bases.get(name, self.base_model)

    def with_names(self, servings: Sequence[ServingSpec]) -> Self:
        """Return the endpoint with the names of these pools, the first one's base model first."""
        return self.model_copy(update=_names(servings))

    @property
    def urls(self) -> tuple[str, ...]:
        """The URL of each host."""
        return (self.url, *self.other_urls)

    def api_key(self) -> SecretStr:
        """Return the client's API key. Raises ConfigError if the file or the key is missing."""
        hint = f"make provision STACK={self.stack}"
        try:
            key = parse_json(self.keys_file.read_bytes())[self.client]
        except OSError as error:
            raise ConfigError(f"cannot be read ({error.strerror})", where=str(self.keys_file), hint=hint) from None
        except (ValueError, KeyError, TypeError):
            key = None
        if not isinstance(key, str):
            raise ConfigError(f"contains no key of {self.client}", where=str(self.keys_file), hint=hint)
        return SecretStr(key)


def endpoint_of(
    stack: str,
    hosts: Sequence[str],
    servings: Sequence[ServingSpec],
    gateway: GatewaySpec,
    *,
    ca: Path | None,
    keys_file: Path,
    gpu_hosts: Sequence[str] = (),
) -> Endpoint:
    """Return the endpoint of `stack` on `hosts`, each given by an address or name of its certificate.

    `servings`: what its pools serve, the pool main first.
    """
    main = servings[0]
    urls = list(dict.fromkeys(_url(host, gateway.port) for host in hosts))  # hosts may share a name and a certificate
    return Endpoint(
        stack=stack,
        url=urls[0],
        other_urls=tuple(urls[1:]),
        ca=ca,
        engine=main.engine,
        engine_port=main.port,
        other_engine_ports=tuple(dict.fromkeys(each.port for each in servings if each.port != main.port)),
        **_names(servings),
        native_api=any(serving.engine == "ollama" and serving.ollama.native_api for serving in servings),
        keys_file=keys_file,
        client=gateway.clients[0].name,
        gpu_hosts=tuple(gpu_hosts),
    )


def _names(servings: Sequence[ServingSpec]) -> dict[str, Any]:
    """Return the fields about names: the first pool's base model is the first of all."""
    in_ollama = [serving for serving in servings if serving.engine == "ollama"]
    # The pool whose own API the gateway allows, if one has it: the others' models are refused there.
    native = sorted(in_ollama, key=lambda serving: not serving.ollama.native_api)
    return {
        "ollama_model": native[0].served_names[0] if native else None,
        "models": tuple(dict.fromkeys(name for serving in servings for name in serving.served_names)),
        "adapters": tuple(
            dict.fromkeys(serving.alias_of(adapter) for serving in servings for adapter in serving.adapters)
        ),
        "bases": {name: serving.served_names[0] for serving in servings[1:] for name in serving.served_names},
    }


def endpoint_file(stack: str) -> Path:
    """Return the path of the endpoint of `stack`; creates nothing."""
    return state_dir() / "stacks" / stack / "endpoint.json"


def write_endpoint(endpoint: Endpoint) -> Path:
    """Write `endpoint` to the file of its stack; return the path."""
    path = endpoint_file(endpoint.stack)
    write_atomically(path, endpoint.model_dump_json(indent=2) + "\n")
    return path


def read_endpoint(path: Path, *, hint: str) -> Endpoint:
    """Return the endpoint in `path`. Raises UsageError with `hint` if it cannot be read, ConfigError if it is wrong."""
    try:
        return Endpoint.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError("there is no such file", where=str(path), hint=hint) from None
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from None
    except ValidationError as error:
        raise words(error, str(path), Endpoint) from None


def _url(host: str, port: int) -> str:
    """Return the URL of `host`, with an IPv6 address in brackets."""
    try:
        name = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004
    except ValueError:
        name = host
    return f"https://{name}" if port == HTTPS_PORT else f"https://{name}:{port}"
