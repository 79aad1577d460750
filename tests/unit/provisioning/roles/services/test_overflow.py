"""The resources of the service that sends requests to providers."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from infra.contract.outputs import StackOutputs
from provisioning.apply.desired_state import joined
from provisioning.converge.resources import Command, File, Resource, Secret, Unit
from provisioning.hosts.topology import HostRole
from provisioning.roles.gateway.pools import PoolServer, pools_of
from provisioning.roles.inputs import RoleInputs
from provisioning.roles.registry import applicable
from provisioning.roles.services.overflow import RULES, SETTINGS, overflow
from services.overflow.settings import Cap, Model, read_settings
from tests.unit.provisioning.records import SERVING, host_values, stack

KEYS = {"together": Secret("the-key-of-together"), "anthropic": Secret("the-key-of-anthropic")}
OTHER_MODEL = {"alias": "x", "model": "m", "input_usd": 1, "output_usd": 1}
PROXY = {"https": "http://proxy.example.com:3128"}


def provider(name: str, **changed: Any) -> dict[str, Any]:
    model = {"alias": "tiny", "model": "their/model", "input_usd": 0.15, "output_usd": 0.6}
    common = {"key": {"env": "KEY"}, "models": [model], "day_usd": 1.5, "month_usd": 20}
    return {"name": name, "kind": "openai", "url": f"https://api.{name}.example/v1", **common, **changed}


def outputs(
    *hosts: dict[str, Any], clients: Sequence[Any] = ({"name": "site", "data": "public"},), **spec: Any
) -> StackOutputs:
    providers = [provider("together"), provider("anthropic", kind="anthropic", url="https://api.anthropic.com")]
    section = {"day_usd": 2, "month_usd": 30, "providers": providers} | spec
    return stack(*hosts, gateway={"clients": list(clients), "overflow": section})


def resources(given: StackOutputs) -> list[Resource]:
    host = given.hosts[0]
    return overflow(host, given, pools_of(given, host, {}), KEYS)


def files(given: list[Resource]) -> dict[str, File]:
    return {each.path: each for each in given if isinstance(each, File)}


def test_the_service_reads_what_the_role_writes() -> None:
    found = files(resources(outputs(clients=["app", {"name": "site", "data": "public"}])))
    settings = read_settings(str(found[SETTINGS].content))
    first, second = settings.providers
    assert settings.clients == ("site",)
    assert settings.cap == Cap(2_000_000_000, 30_000_000_000)
    assert (first.name, first.kind, first.url) == ("together", "openai", "https://api.together.example/v1")
    assert first.cap == Cap(1_500_000_000, 20_000_000_000)
    assert first.models["tiny"] == Model("their/model", 150_000_000, 600_000_000)
    assert second.kind == "anthropic"


def test_a_name_of_ollama_is_known_with_and_without_its_tag() -> None:
    given = outputs()
    given = given.model_copy(update={"serving": stack(serving={**SERVING, "engine": "ollama"}).serving})
    settings = read_settings(str(files(resources(given))[SETTINGS].content))
    assert set(settings.providers[0].models) == {"tiny", "tiny:latest"}


def test_dependencies_come_first_and_ids_differ() -> None:
    seen: set[str] = set()
    for each in joined(resources(outputs())):
        assert each.id not in seen
        assert set(each.after) <= seen, each.id
        seen.add(each.id)


def test_a_key_is_in_root_only_files_alone() -> None:
    found = files(resources(outputs()))
    for name, key in KEYS.items():
        holds = [
            file for file in found.values() if isinstance(file.content, Secret) and key.value in file.content.value
        ]
        assert [(file.path, file.mode, file.owner) for file in holds] == [
            (f"/etc/llm/overflow/{name}.key", 0o600, "root")
        ]
    assert not [path for path, file in found.items() if isinstance(file.content, str) and "the-key-of" in file.content]


def test_a_new_key_or_price_restarts_the_service() -> None:
    (unit,) = (each for each in resources(outputs()) if isinstance(each, Unit) and each.name == "llm-overflow.service")
    assert {f"file:{SETTINGS}", "file:/etc/llm/overflow/together.key"} < set(unit.restart_on)


def test_the_unit_runs_unprivileged_with_its_own_names() -> None:
    found = files(resources(outputs()))
    lines = str(found["/etc/systemd/system/llm-overflow.service"].content).splitlines()
    for line in (
        "User=llm-overflow",
        "LoadCredential=together:/etc/llm/overflow/together.key",
        "BindReadOnlyPaths=/run/llm-overflow-names/hosts:/etc/hosts",
        "Wants=llm-overflow-addresses.service",
        "ReadWritePaths=/var/lib/llm/overflow",
        "ExecStartPre=+/bin/chown -R llm-overflow:llm-overflow /var/lib/llm/overflow",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
    ):
        assert line in lines
    names = str(found["/etc/systemd/system/llm-overflow-addresses.service"].content).splitlines()
    (start,) = (line for line in names if line.startswith("ExecStart="))
    assert start.endswith("llm-overflow /run/llm-overflow-names/hosts api.together.example api.anthropic.com")


def test_without_overflow_everything_but_the_ledger_goes() -> None:
    given = stack()
    found = resources(given)
    assert {each.name for each in found if isinstance(each, Unit) and not each.running} >= {"llm-overflow.service"}
    assert all(file.content is None for file in files(found).values())
    assert not [each for each in found if "/var/lib" in each.id]


def rules(given: StackOutputs, *servers: PoolServer) -> str:
    host = given.hosts[0]
    (pool,) = pools_of(given, host, {})
    if servers:
        pool = type(pool)(name=pool.name, serving=pool.serving, servers=servers)
    return str(files(overflow(host, given, [pool], KEYS))[RULES].content)


def test_the_gateway_reaches_engines_alone() -> None:
    assert "daddr" not in rules(outputs())
    servers = [
        PoolServer(name="gpu-1", address="10.0.0.7", port=8443, places=1, names=("tiny",), agent_port=8406),
        PoolServer(name="gpu-2", address="fd00::7", port=8443, places=1, names=("tiny",)),
    ]
    text = rules(outputs(), *servers)
    assert re.findall(r"meta skuid haproxy (.*) accept", text) == [
        "ip daddr 10.0.0.7 tcp dport { 8443, 8406 }",
        "ip6 daddr fd00::7 tcp dport { 8443 }",
    ]
    known = text.replace("llm-overflow", "nobody").replace("haproxy", "daemon")  # users that are there
    subprocess.run(
        ["nft", "--check", "--file", "-"], input=known, text=True, check=True, env={"PATH": "/usr/sbin:/sbin"}
    )


def test_the_record_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (move,) = [each for each in resources(outputs()) if isinstance(each, Command) and each.name == "overflow-ledger"]
    (tmp_path / "systemctl").symlink_to("/bin/true")

    def run(argv: Sequence[str]) -> int:
        here = {"/var/lib/llm-overflow": str(old), "/var/lib/llm/overflow": str(new)}
        words = [re.sub("|".join(here), lambda found: here[found[0]], each) for each in argv]
        return subprocess.run(words, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False).returncode

    old.mkdir()
    new.mkdir()
    assert run(move.check) == 0
    for name in ("ledger.sqlite3", "ledger.sqlite3-wal"):
        (old / name).write_text(name)
    assert run(move.check) == 1
    assert run(move.argv) == run(move.check) == 0
    assert {each.name for each in new.iterdir()} == {"ledger.sqlite3", "ledger.sqlite3-wal"}
    assert list(old.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(lambda: outputs(host_values("one"), host_values("two")), "2 hosts have a gateway", id="two caps"),
        pytest.param(lambda: outputs(host_values(proxy=PROXY)), "through a proxy", id="proxy"),
        pytest.param(
            lambda: outputs(providers=[provider("together", ca="no-such.pem")]), "cannot be read as PEM", id="no CA"
        ),
        pytest.param(
            lambda: outputs(
                providers=[provider("together", models=[{"alias": "x", "model": "m", "input_usd": 1, "output_usd": 1}])]
            ),
            "the stack does not serve x",
            id="name that no manifest brings",
        ),
    ],
)
def test_refuses_what_only_a_host_shows(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resources(given())


def test_keys_are_read_where_the_stack_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("from a file\n")
    file.chmod(0o600)
    monkeypatch.setenv("PROVIDER_KEY", "from the environment")
    providers = [provider("together", key={"env": "PROVIDER_KEY"}), provider("anthropic", key={"file": str(file)})]
    keys = RoleInputs(outputs(providers=providers)).overflow_keys
    assert {name: key.value for name, key in keys.items()} == {
        "together": "from the environment",
        "anthropic": "from a file",
    }
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="other users can read it; run chmod 600"):
        RoleInputs(outputs(providers=providers)).overflow_keys  # noqa: B018
    monkeypatch.delenv("PROVIDER_KEY")
    with pytest.raises(ConfigError, match="PROVIDER_KEY: is not set"):
        RoleInputs(outputs(providers=providers)).overflow_keys  # noqa: B018


def test_runs_where_the_gateway_is() -> None:
    assert "overflow" in applicable({HostRole.BASE, HostRole.GATEWAY}, ("services",))
    assert "overflow" not in applicable({HostRole.BASE, HostRole.ENGINE}, ("services",))
