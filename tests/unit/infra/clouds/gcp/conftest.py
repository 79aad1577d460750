"""The simulated GCP in this process, for tests of our commands' calls."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.clouds.gcp.api import client, quota_project
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.cloud import serve
from tests.doubles.gcp.rest import TOKEN
from tests.doubles.gcp.running import endpoints, write_login
from tests.doubles.gcp.seed import PROJECT
from tests.doubles.gcp.settings import Settings
from tests.doubles.gcp.store import Store

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
