"""The simulated GCP in this process, for tests of our commands' calls."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.clouds.gcp.api import client, quota_project
from infra.clouds.program.guards import Guards
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import KnownPlacement
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.cloud import serve
from tests.doubles.gcp.rest import TOKEN
from tests.doubles.gcp.running import endpoints, write_login
from tests.doubles.gcp.seed import PROJECT
from tests.doubles.gcp.settings import Settings
from tests.doubles.gcp.store import Store
from tests.doubles.gcp.table import KINDS
from tests.doubles.provider.mocks import TableMocks, run_program
from tests.engine.gcp_stacks import stack_value
from tests.unit.infra.clouds.gcp.deployed import Deployed

REGION = "asia-northeast3"


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A cloud that our commands take for the real one; Google's clients are shared, because each takes time."""
    store = Store()
    server = serve(store)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url, login = f"http://127.0.0.1:{server.port}", tmp_path_factory.mktemp("login") / "login.json"
    write_login(Path(login), url)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (endpoints(url) | {"GOOGLE_APPLICATION_CREDENTIALS": str(login)}).items():
            patch.setenv(name, value)
        forget_login()
        yield store
    forget_login()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(cloud: Store) -> Store:
    """An empty cloud without faults."""
    cloud.clear()
    cloud.settings = Settings()
    return cloud


@pytest.fixture
def gcp(store: Store) -> Gcp:
    """The plugin's client of the same cloud, which makes resources."""
    return Gcp(store, PROJECT, REGION)


@pytest.fixture
def personal_login(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A cloud with a personal login that has no quota project."""
    from google.oauth2.credentials import Credentials

    login = Credentials(TOKEN)  # type: ignore[no-untyped-call]
    monkeypatch.setattr("google.auth.default", lambda **_given: (login, None))
    forget_login()
    store.settings = Settings(quota_project="wanted")
    yield store
    forget_login()


def forget_login() -> None:
    """Make the next call look up its login and make its clients again."""
    for cached in (client.compute, client.credentials, client._session):
        cached.cache_clear()
    quota_project.forget()


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Deployed:
    """Run the program on a stack file's values and return what it registered."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    # Transforms need the engine, which does not run here. Each resource passes the same function here.
    monkeypatch.setattr(Guards, "install", lambda *_arguments: None)

    def run(
        machine_type: str = "e2-standard-8",
        *,
        machine: str = "",
        more: str = "",
        lifetime: Any = None,
        config: DeploymentConfig | None = None,
        **placement: Any,
    ) -> TableMocks:
        values: dict[str, Any] = {
            "id": "0123abcd",
            "project": PROJECT,
            "region": "asia-northeast3",
            "began_at": "2026-11-21T12:00:00Z",
            "image_name": "ubuntu-24.04",
            "image": "projects/ubuntu-os-cloud/global/images/ubuntu-2404-noble-amd64-v20260601",
            "machine_type": machine_type,
            "zone": "asia-northeast3-b",
            "zones": ("asia-northeast3-a", "asia-northeast3-b"),
        }
        hosts: list[Any] = placement.pop("hosts", [])
        placed = KnownPlacement.model_validate(values | placement)
        mocks = TableMocks(KINDS)
        from infra.clouds.gcp.cloud import CLOUD

        value = stack_value(f'type: "{machine_type}"{machine}', more=more)
        value["lifetime"] = lifetime or value["lifetime"]
        if placement.get("subnets"):
            value["network"] |= {"id": "shared", "subnets": ["seoul"]}

        def program() -> None:
            deployment = CLOUD.deploy(config or parse_deployment(value, "a test"), lambda: placed)
            pulumi.Output.from_input(deployment.hosts).apply(hosts.extend)

        run_program(program, mocks, stack="prod")
        return mocks

    return run
