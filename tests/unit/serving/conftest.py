"""An endpoint without a gateway: an engine double with TLS, for tests of client and smoke test."""

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provisioning.access.certificates import CA_CERTIFICATE, server_certificate
from serving.endpoint import Endpoint
from tests.doubles.engine import ENGINE_KEY, EngineDouble, running_engine
from tests.gateways import ADDRESS, free_port


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and results of a test stay in its own folder."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("LLM_DEPLOY_RUN", raising=False)


@pytest.fixture(scope="session")
def certificate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback, and the CA behind it."""
    folder = tmp_path_factory.mktemp("certificate")
    server_certificate(folder / "server.pem", folder / "ca", (ADDRESS,), 90, datetime.now(UTC))
    return folder


@pytest.fixture
def engine(certificate_folder: Path) -> Iterator[EngineDouble]:
    """An engine double with TLS, a key and the manners of the gateway."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_folder / "server.pem")
    with running_engine(tls=context) as double:
        yield double


@pytest.fixture
def endpoint(engine: EngineDouble, certificate_folder: Path, tmp_path: Path) -> Endpoint:
    """The endpoint of `engine`."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"default": ENGINE_KEY}))
    return Endpoint(
        stack="demo",
        url=f"https://{ADDRESS}:{engine.port}",
        ca=certificate_folder / "ca" / CA_CERTIFICATE,
        engine="vllm",
        engine_port=free_port(),
        models=engine.models,
        adapters=("contract",),
        keys_file=keys,
        client="default",
    )
