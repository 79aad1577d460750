"""A host's proxy: the settings of its programs, and that its login is shown nowhere."""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import ConfigError
from infra.config.models.proxy import ProxySpec
from infra.contract.outputs import HostRecord
from provisioning.converge.payload import payload_of
from provisioning.converge.proxy import apt_file, proxy_environment, proxy_masks
from provisioning.converge.resources import Command, Resource, Secret
from tests.unit.provisioning.converge.agent_runner import run_agent, run_folder
from tests.unit.provisioning.records import host

URL = "http://proxy.example.com:3128"
PASSWORD = "p@ss/w:rd"
SHOWN = "p%40ss%2Fw%3Ard"


def behind(**proxy: Any) -> HostRecord:
    return host(proxy={"http": URL, **proxy})


@pytest.fixture
def with_login(monkeypatch: pytest.MonkeyPatch) -> HostRecord:
    monkeypatch.setenv("PROXY_LOGIN", f"ann:{PASSWORD}")
    return behind(login={"env": "PROXY_LOGIN"})


def test_a_host_without_a_proxy_gets_no_settings_and_loses_an_old_file() -> None:
    assert proxy_environment(host()) == {}
    assert apt_file(host()).content is None


def test_all_spellings_of_the_variables_are_set_and_loopback_is_direct() -> None:
    found = proxy_environment(behind(no_proxy=[".corp.example.com"]))
    assert found["https_proxy"] == found["HTTP_PROXY"] == URL
    direct = str(found["no_proxy"]).split(",")
    assert {"127.0.0.1", "localhost", "169.254.169.254", ".corp.example.com"} <= set(direct)


def test_apt_has_it_for_its_own_timers() -> None:
    file = apt_file(behind(https="http://other.example.com:8080", no_proxy=["mirror.example.com"]))
    lines = str(file.content).splitlines()
    assert f'Acquire::http::Proxy "{URL}";' in lines
    assert 'Acquire::https::Proxy "http://other.example.com:8080";' in lines
    assert 'Acquire::http::Proxy::mirror.example.com "DIRECT";' in lines
    assert file.mode == 0o644


def test_a_login_is_a_secret_everywhere(with_login: HostRecord) -> None:
    values = proxy_environment(with_login)
    assert values["http_proxy"] == Secret(f"http://ann:{SHOWN}@proxy.example.com:3128")
    file = apt_file(with_login)
    assert isinstance(file.content, Secret)
    assert file.mode == 0o600
    assert PASSWORD not in repr(values) + repr(file) + with_login.model_dump_json()
    assert proxy_masks(with_login) == (Secret(PASSWORD), Secret(SHOWN))


@pytest.mark.parametrize("login", ["", "ann", ":x", "ann:"])
def test_an_invalid_login_is_reported(monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    monkeypatch.setenv("PROXY_LOGIN", login)
    with pytest.raises(ConfigError, match="environment variable PROXY_LOGIN"):
        proxy_environment(behind(login={"env": "PROXY_LOGIN"}))


def agent(folder: Path, resources: list[Resource], there: HostRecord) -> str:
    """Run the agent with the controller's payload for a host; return its whole output."""
    run_agent(folder, [])
    environment, masks = proxy_environment(there), proxy_masks(there)
    document = payload_of(resources, dry_run=False, environment=environment, masks=masks).document
    (folder / "bundle" / "resources.json").write_text(json.dumps(document))
    return run_folder(folder).output


def test_no_event_of_the_agent_shows_the_login(with_login: HostRecord, tmp_path: Path) -> None:
    show = Command(name="show", argv=("sh", "-c", f"env; echo '{PASSWORD}'; tr '\\0' ' ' </proc/$$/cmdline; exit 1"))
    said = agent(tmp_path, [show], with_login)
    assert "http_proxy=(secret)" in said
    assert PASSWORD not in said.replace(json.dumps(show.argv), "")
    assert SHOWN not in said


class Seen(http.server.BaseHTTPRequestHandler):
    """A proxy that answers everything itself."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy's URL, and its requests."""
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Seen,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_the_agents_commands_use_the_proxy(proxy: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = proxy
    fetch = "import urllib.request as r; r.urlopen('http://models.example.com/x').read()"
    agent(tmp_path, [Command(name="fetch", argv=(sys.executable, "-c", fetch))], host(proxy={"http": url}))
    assert asked == ["http://models.example.com/x"]


REFUSED = {
    "no proxy at all": ({}, "names no proxy"),
    "a login in the URL": ({"http": "http://ann:secret@proxy:3128"}, "contains a login"),
    "no scheme": ({"http": "proxy:3128"}, "is not an HTTP proxy"),
    "SOCKS": ({"http": "socks5://proxy:1080"}, "is not an HTTP proxy"),
    "a path": ({"http": "http://proxy:3128/x"}, "is not a proxy"),
    "port 0": ({"https": "http://proxy:0"}, "is not a proxy"),
    "a port too large": ({"https": "http://proxy:70000"}, "is not a proxy"),
    "a range": ({"http": URL, "no_proxy": ["10.0.0.0/8"]}, "is not a host"),
    "two hosts in one": ({"http": URL, "no_proxy": ["a,b"]}, "is not a host"),
    "a quote": ({"http": URL, "no_proxy": ['a";']}, "is not a host"),
}


@pytest.mark.parametrize(("values", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_proxy_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ProxySpec.model_validate(values)
    reported = str(caught.value.errors(include_url=False, include_input=False))
    assert words in reported or words in str(caught.value.errors()[0].get("ctx"))
