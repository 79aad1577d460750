"""Which of this host's registry settings a machine gets."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from provisioning.access.certificates import server_certificate
from tools import host_settings

DEB822 = """\
Types: deb
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

# another product
Types: deb
URIs: https://deb.nodesource.com/debian
Suites: nodistro
Components: main

Types: deb deb-src
URIs: http://deb.example.org/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://deb.example.org/debian
Suites: bookworm
Components: main
"""


def test_only_apt_sources_of_this_release_are_used(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example.org/debian bookworm main\n"
        "deb [arch=amd64] http://mirror.example.org/debian bookworm main\n"
        "deb http://mirror.example.org/debian trixie main\n"
        "deb https://packages.example.com/debian-sdk sdk-bookworm main\n"
    )
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    assert host_settings.apt_sources("bookworm", tmp_path) == [
        "deb [arch=amd64] http://mirror.example.org/debian bookworm main",
        f"deb {signed}http://deb.example.org/debian bookworm main contrib",
        f"deb {signed}http://deb.example.org/debian bookworm-updates main contrib",
        "deb http://deb.example.org/debian-security bookworm-security main",
    ]


def test_a_host_without_debian_sources_has_none(tmp_path: Path) -> None:
    assert host_settings.apt_sources("bookworm", tmp_path) == []


@pytest.mark.parametrize(
    ("first", "second", "servers"),
    [
        pytest.param("nameserver 192.0.2.53\nnameserver 192.0.2.54\n", "", ["192.0.2.53", "192.0.2.54"], id="plain"),
        pytest.param(
            "nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\n", ["192.0.2.1"], id="systemd-resolved"
        ),
        pytest.param("nameserver 127.0.0.1\nnameserver ::1\n", "", [], id="loopback only"),
        pytest.param("search example.org\n# nameserver 192.0.2.9\n", "", [], id="none"),
    ],
)
def test_name_servers_on_loopback_are_left_out(tmp_path: Path, first: str, second: str, servers: list[str]) -> None:
    (tmp_path / "first").write_text(first)
    (tmp_path / "second").write_text(second)
    assert host_settings.name_servers(tmp_path / "first", tmp_path / "second", tmp_path / "missing") == servers


def test_pip_settings_come_from_files_and_the_environment(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nindex-url = https://mirror.example.org/simple\ncert = /etc/ssl/here.pem\ntimeout = 10\n"
        "[install]\nfind-links = /opt/wheels\nuser = yes\n"
    )
    environment = {"PIP_TIMEOUT": "180", "PIP_CERT": "/etc/ssl/here.pem", "HF_TOKEN": "hf_secret"}
    assert host_settings.pip_settings(environment, [conf, tmp_path / "missing"]) == {
        "index-url": "https://mirror.example.org/simple",
        "timeout": "180",
    }


@pytest.mark.parametrize(
    ("environment", "toml", "settings"),
    [
        pytest.param({}, "", {}, id="nothing"),
        pytest.param(
            {}, 'index-url = "https://a.example/"\ncache-dir = "/x"\n', {"index-url": "https://a.example/"}, id="file"
        ),
        pytest.param(
            {"UV_DEFAULT_INDEX": "https://b.example/"}, 'index-url = "https://a.example/"\n',
            {"index-url": "https://b.example/"}, id="the environment wins",
        ),
        pytest.param(
            {"PIP_INDEX_URL": "https://c.example/", "PIP_EXTRA_INDEX_URL": "https://d.example/ https://e.example/"}, "",
            {"index-url": "https://c.example/", "extra-index-url": ["https://d.example/", "https://e.example/"]},
            id="pip's, when uv has none",
        ),
        pytest.param(
            {}, '[[index]]\nurl = "https://f.example/"\ndefault = true\n',
            {"index": [{"url": "https://f.example/", "default": True}]}, id="table",
        ),
    ],
)  # fmt: skip
def test_uv_settings(tmp_path: Path, environment: dict[str, str], toml: str, settings: dict[str, Any]) -> None:
    (tmp_path / "uv.toml").write_text(toml)
    home = {"HOME": str(tmp_path / "nobody")}
    assert host_settings.uv_settings({**home, **environment}, [tmp_path / "uv.toml", tmp_path / "no"]) == settings


def test_proxy_variables_have_lower_case_names() -> None:
    environment = {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "localhost", "AWS_SECRET_ACCESS_KEY": "x"}
    assert host_settings.proxy_variables(environment) == {
        "https_proxy": "http://proxy.example:3128",
        "no_proxy": "localhost",
    }


def test_splits_a_bundle_into_certificates() -> None:
    one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    two = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
    assert host_settings.certificates(f"# Some CA\n{one}\n# Another\n{two.strip()}") == [one, two]


def test_the_bundle_in_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_text("here")
    assert host_settings.ca_bundle({"SSL_CERT_FILE": str(tmp_path / "bundle.pem")}) == "here"


@pytest.fixture(scope="module")
def our_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CA of a checkout, as `provision` makes it."""
    folder = tmp_path_factory.mktemp("checkout")
    server_certificate(folder / "host.pem", folder / "ca", ("192.0.2.7",), 90, datetime.now(UTC))
    return folder / "ca/ca.pem"


@pytest.mark.parametrize("exported", [False, True], ids=["the system's bundle holds it", "SSL_CERT_FILE names it"])
def test_our_own_ca_never_reaches_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, our_ca: Path, *, exported: bool
) -> None:
    """After `export SSL_CERT_FILE=….state/ca/ca.pem`, machines once trusted only our CA and not the company's."""
    company = "-----BEGIN CERTIFICATE-----\nQ29tcGFueQ==\n-----END CERTIFICATE-----\n"
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(company + our_ca.read_text())
    monkeypatch.setattr(host_settings, "SYSTEM_BUNDLE", str(bundle))
    environment = {"SSL_CERT_FILE": str(our_ca)} if exported else {}
    assert host_settings.own_certificates(environment) == [company]
