"""The gateway role's resources; HAProxy accepts the configuration for every spec without a warning."""

import hashlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import ConfigError
from core.paths import CHECKOUT
from provisioning.converge.agent.kinds.file import diff
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import File, Packages, Secret, Unit
from provisioning.roles.gateway.answers import ANSWERS, LATER_ERRORS, OWN_ERRORS, Answer
from provisioning.roles.gateway.gateway import (
    OLLAMA_PATHS,
    OLLAMA_V1_PATHS,
    OPENAI_PATHS,
    gateway,
    haproxy_config,
    keys_map,
)
from provisioning.roles.gateway.policy import POLICY, SCRIPTS
from provisioning.roles.gateway.pools import Pool, loopback_pool
from provisioning.roles.gateway.process import DROP_IN, Limits, Places
from provisioning.roles.host.layout import ENGINE_ENV, GATEWAY_UNIT
from serving.spec.models import GatewaySpec, ServingSpec
from tests.gateways import (
    CLIENT_KEY,
    ENGINE_HOST,
    POOL,
    haproxy,
    ollama_serving,
    sample_credentials,
    vllm_serving,
    write_lua,
)

VLLM = vllm_serving(8000)


def pools(serving: ServingSpec) -> list[Pool]:
    """Return the pools of a gateway on the engine's host."""
    return [loopback_pool(POOL, ENGINE_HOST, serving, GatewaySpec())]


def resource(kind: type, key: str, serving: ServingSpec = VLLM, spec: GatewaySpec = GatewaySpec()) -> Any:  # noqa: B008  # frozen
    """Return the one resource of `kind` called `key`."""
    desired = gateway(pools(serving), spec, sample_credentials())
    (found,) = [wanted for wanted in desired if isinstance(wanted, kind) and wanted.id.partition(":")[2] == key]
    return found


def test_dependencies_come_first() -> None:
    """The bundle refuses a resource that depends on a later one."""
    payload_of(gateway(pools(VLLM), GatewaySpec(), sample_credentials()), dry_run=False)


def test_the_package_first_starts_with_our_configuration_or_not_at_all() -> None:
    desired = gateway(pools(VLLM), GatewaySpec(), sample_credentials())
    ids = [wanted.id for wanted in desired]
    assert ids.index(f"file:{DROP_IN}") < ids.index("packages:gateway")
    assert f"ConditionPathExists={Places().config}" in resource(File, DROP_IN).content
    assert resource(Packages, "gateway").present == ("haproxy", "iproute2")


def test_configuration_is_checked_by_haproxy_before_it_is_used() -> None:
    assert resource(File, Places().config).check == ("haproxy", "-c", "-q", "-f", "{path}")


def test_change_of_certificate_keys_or_configuration_reloads_and_never_restarts() -> None:
    unit = resource(Unit, GATEWAY_UNIT)
    places = Places()
    scripts = [f"{places.lua}/{name}" for name in (*SCRIPTS, POLICY)]
    assert set(unit.reload_on) == {
        f"directory:{places.lua}",
        *(f"file:{path}" for path in (places.certificate, places.keys, places.config, *scripts)),
    }
    assert unit.restart_on == (f"file:{DROP_IN}", f"generated_secret:{ENGINE_ENV}")


def test_private_key_is_a_secret_and_no_file_is_open_to_others() -> None:
    places = Places()
    assert isinstance(resource(File, places.certificate).content, Secret)
    for path in (places.certificate, places.keys):
        assert resource(File, path).mode == 0o600
    assert resource(File, places.config).mode == 0o640


def test_a_plan_shows_what_changes_in_the_configuration() -> None:
    """It only said `content changed`: the agent does not show a file that only its owner may read."""
    config = resource(File, Places().config)
    before = {"type": "file", "mode": config.mode, "content": config.content.replace("maxconn", "maxcon").encode()}
    wanted = SimpleNamespace(path=config.path, content=config.content, secret=isinstance(config.content, Secret))
    assert "+    maxconn" in diff(wanted, before)


def test_host_gets_hashes_and_never_a_key() -> None:
    text = keys_map(sample_credentials())
    assert f"{hashlib.sha256(CLIENT_KEY.encode()).hexdigest()} default\n" in text
    everything = repr([vars(wanted) for wanted in gateway(pools(VLLM), GatewaySpec(), sample_credentials())])
    assert CLIENT_KEY not in everything


def test_engine_without_a_key_needs_no_environment_file() -> None:
    drop_in = resource(File, DROP_IN, ollama_serving(native_api=False)).content
    assert ENGINE_ENV not in drop_in
    assert ENGINE_ENV in resource(File, DROP_IN).content
    config = haproxy_config(pools(ollama_serving(native_api=False)), GatewaySpec(), Places())
    assert "VLLM_API_KEY" not in config


def test_ollamas_own_paths_pass_only_if_configured() -> None:
    def paths(serving: ServingSpec) -> str:
        config = haproxy_config(pools(serving), GatewaySpec(), Places())
        return "\n".join(line for line in config.splitlines() if "acl get_path" in line or "acl post_path" in line)

    openai = [path for found in OPENAI_PATHS.values() for path in found]
    for serving in (VLLM, ollama_serving(native_api=False), ollama_serving(native_api=True)):
        assert all(path in paths(serving) for path in openai)
    for path in ("/api/chat", "/api/generate", "/api/tags"):
        assert path not in paths(VLLM)
        assert path not in paths(ollama_serving(native_api=False))
        assert path in paths(ollama_serving(native_api=True))


def with_adapters(count: int) -> ServingSpec:
    """Return Ollama's spec with that many adapters."""
    tiny = {"kind": "tiny", "name": "llama", "adapter": "a"}
    listed = [{"name": f"adapter-{number}", "source": tiny} for number in range(count)]
    return ServingSpec.model_validate({**ollama_serving().model_dump(exclude_unset=True), "adapters": listed})


SPECS: list[tuple[str, ServingSpec, dict[str, Any]]] = [
    ("defaults", VLLM, {}),
    ("no queue", VLLM, {"max_queue": 0}),
    ("smallest", VLLM, {"max_concurrency": 1, "max_queue": 0, "max_body_kib": 1, "queue_timeout_s": 1}),
    ("largest body", VLLM, {"max_body_kib": 65536}),
    ("longest answers", VLLM, {"request_timeout_s": 7200, "queue_timeout_s": 600}),
    ("many clients", VLLM, {"clients": [f"client-{number}" for number in range(50)]}),
    ("other port", VLLM, {"port": 8443}),
    ("ollama", ollama_serving(native_api=False), {}),
    ("ollama's own paths", ollama_serving(native_api=True), {}),
    ("more paths than a line of HAProxy takes words", with_adapters(40), {}),
]


@pytest.mark.parametrize(("serving", "spec"), [case[1:] for case in SPECS], ids=[case[0] for case in SPECS])
def test_haproxy_accepts_the_configuration_without_a_warning(
    tmp_path: Path, certificate: str, serving: ServingSpec, spec: dict[str, Any]
) -> None:
    places = Places(
        certificate=f"{tmp_path}/server.pem",
        keys=f"{tmp_path}/keys.map",
        lua=f"{tmp_path}/lua",
        admin_socket=f"{tmp_path}/admin.sock",
        chroot=str(tmp_path),
    )
    Path(places.certificate).write_text(certificate)
    Path(places.keys).write_text(keys_map(sample_credentials()))
    config = tmp_path / "haproxy.cfg"
    gateway = GatewaySpec.model_validate(spec)
    write_lua(places, pools(serving), gateway)
    config.write_text(haproxy_config(pools(serving), gateway, places))
    done = subprocess.run([haproxy(), "-c", "-f", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    from datetime import UTC, datetime

    from provisioning.access.certificates import server_certificate

    folder = tmp_path_factory.mktemp("certificate")
    return server_certificate(folder / "server.pem", folder / "ca", ("127.0.0.1",), 2, datetime.now(UTC))


def test_limits_grow_with_the_queue() -> None:
    small, large = (Limits.of(GatewaySpec(max_queue=waiting), 16) for waiting in (0, 1000))
    for limits, requests in ((small, 16), (large, 1016)):
        assert requests < limits.connections_per_client < limits.connections
        assert limits.buffer_bytes > limits.body_bytes + limits.header_bytes


def test_haproxys_memory_is_limited_and_not_exceeded() -> None:
    """HAProxy kept 4 GB after a flood, and three starts of the engine failed for lack of memory."""
    desired = gateway(pools(VLLM), GatewaySpec(max_queue=1000), sample_credentials(), 2048)
    (drop_in,) = [wanted for wanted in desired if isinstance(wanted, File) and wanted.path == DROP_IN]
    assert "\nMemoryMax=2048M\n" in str(drop_in.content)
    assert "\nMemoryMax=512M\n" in resource(File, DROP_IN).content
    with pytest.raises(ConfigError, match=r"1000 waiting .* the host reserves 512 MiB"):
        gateway(pools(VLLM), GatewaySpec(max_queue=1000), sample_credentials(), 512)


def test_every_error_from_haproxy_has_openais_format() -> None:
    """`http_err_codes` of HAProxy 2.4 to 2.8, without 200; it answered some of them with HTML."""
    known = [400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503, 504]
    assert sorted(answer.status for answer in (*OWN_ERRORS, *LATER_ERRORS)) == known


@pytest.mark.parametrize("answer", [*ANSWERS.values(), *OWN_ERRORS, *LATER_ERRORS], ids=lambda answer: answer.code)
def test_answer_survives_haproxys_single_quotes(answer: Answer) -> None:
    assert "'" not in answer.body
    assert all("'" not in value for _, value in answer.headers)


@pytest.mark.parametrize("page", ["gateway.md", "ollama.md"])
def test_the_docs_name_every_passed_path_and_no_pattern(page: str) -> None:
    text = (CHECKOUT / "docs" / page).read_text()
    lists = (OPENAI_PATHS, OLLAMA_V1_PATHS, OLLAMA_PATHS)
    passed = ["/v1/models/NAME", *(path for paths in lists for each in paths.values() for path in each)]
    assert [path for path in passed if f"{path}`" not in text] == []
    assert "/v1/*" not in text
