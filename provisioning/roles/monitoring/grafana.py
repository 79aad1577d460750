"""Grafana from a package that the stack file pins, with the stack's Prometheus and this repository's dashboards.

Debian and Ubuntu have no package of it. Needs Grafana 10 or newer.
"""

from pathlib import Path

import yaml

from core.errors import ConfigError
from core.files import only_link, sha256_of
from core.paths import cache_dir, full_path
from core.ports import GRAFANA_PORT, PROMETHEUS_PORT
from provisioning.converge.resources import (
    Command,
    Directory,
    Download,
    File,
    GeneratedSecret,
    Resource,
    Secret,
    Tree,
    Unit,
)
from provisioning.dashboards.write import files
from provisioning.programs import program
from provisioning.roles.host.layout import CONFIG_DIR, GRAFANA_UNIT, LIB_DIR
from provisioning.roles.monitoring.configs import HEAD, SCRAPE_S
from provisioning.roles.monitoring.daemons import Daemon, drop_in_path, not_for_others
from provisioning.roles.monitoring.exporters import MONITORING_DIR
from provisioning.templates.render import render
from serving.spec.gateway_size import GRAFANA_MIB
from serving.spec.monitoring_fields import GrafanaSpec

GRAFANA_DIR = f"{MONITORING_DIR}/grafana"
GRAFANA_CONFIG = f"{GRAFANA_DIR}/grafana.ini"
ADMIN_PASSWORD = f"{GRAFANA_DIR}/admin-password"
PROVISIONING_DIR = f"{GRAFANA_DIR}/provisioning"
DASHBOARDS_DIR = f"{GRAFANA_DIR}/dashboards"

SECRET_KEY = f"{CONFIG_DIR}/grafana-secret-key"
"""Grafana encrypts with it what people enter as secrets. It stays where the data stays."""

STATE = "grafana/llm-deploy"
GRAFANA_DATA = f"/var/lib/{STATE}"
"""Not the package's own folder, which may hold what another Grafana had here."""

PACKAGE_DIR = "/var/cache/llm-grafana"
PACKAGE_NAME = "grafana.deb"
PACKAGES = ("grafana", "grafana-enterprise")

INSTALL = f"{LIB_DIR}/install-archive"
DISABLED_PLUGINS = (
    "cloudwatch",
    "elasticsearch",
    "grafana-azure-monitor-datasource",
    "grafana-postgresql-datasource",
    "grafana-pyroscope-datasource",
    "graphite",
    "influxdb",
    "jaeger",
    "loki",
    "mssql",
    "mysql",
    "opentsdb",
    "parca",
    "stackdriver",
    "tempo",
    "zipkin",
)
"""Data sources that come with Grafana, beside Prometheus."""

LEAST_PASSWORD = 8
INSTALL_TIMEOUT_S = 1800
READY_TIMEOUT_S = 240
"""Its first start makes its database."""

CREDENTIALS = f"/run/credentials/{GRAFANA_UNIT}"
HOME = "/usr/share/grafana"


def grafana(spec: GrafanaSpec) -> list[Resource]:
    """Return the resources of Grafana, in working order.

    Raises ConfigError if the password is missing or short, or if the package should be on this computer and is not.
    """
    others = not_for_others(
        "no-other-grafana",
        (GRAFANA_UNIT,),
        ours=drop_in_path(GRAFANA_UNIT),
        key="gateway.monitoring.grafana",
        enabled=True,
    )
    folder = Directory(path=GRAFANA_DIR, after=(others.id,))
    key = GeneratedSecret(path=SECRET_KEY, after=(folder.id,))
    configuration = (*_configuration(spec, folder), key)
    package = _package(spec, folder)
    installed = _installed(package, needs=(_daemon().drop_in.id, f"file:{GRAFANA_CONFIG}"))
    restart = (_daemon().drop_in.id, *(each.id for each in configuration), installed.id)
    return [
        others,
        folder,
        _daemon().drop_in,
        *configuration,
        *_dashboards(folder),
        package,
        File(path=INSTALL, content=program("monitoring/install_archive")),
        installed,
        Unit(
            name=GRAFANA_UNIT,
            restart_on=restart,
            after=restart,
            ready=_ready_command(),
            ready_timeout_s=READY_TIMEOUT_S,
        ),
    ]


def _daemon() -> Daemon:
    """Return its unit's settings. The names of the variables are those of the package's unit."""
    reset = f"{HOME}/bin/grafana cli --homepath {HOME} --config {GRAFANA_CONFIG} admin reset-admin-password"
    password = f"--password-from-stdin < {CREDENTIALS}/admin-password"
    return Daemon(
        unit=GRAFANA_UNIT,
        package=PACKAGES[0],
        config=GRAFANA_CONFIG,
        environment=(
            f"CONF_FILE={GRAFANA_CONFIG}",
            f"DATA_DIR={GRAFANA_DATA}",
            f"LOG_DIR={GRAFANA_DATA}/log",
            f"PLUGINS_DIR={GRAFANA_DATA}/plugins",
            f"PROVISIONING_CFG_DIR={PROVISIONING_DIR}",
            "PID_FILE_DIR=/run/grafana",
        ),
        memory_mib=GRAFANA_MIB,
        credentials=(f"admin-password:{ADMIN_PASSWORD}", f"secret-key:{SECRET_KEY}"),
        more=(
            f"StateDirectory={STATE}",
            "StateDirectoryMode=0700",
            "RuntimeDirectory=grafana",
            "# Grafana reads the password only when it makes its database.",
            f"ExecStartPre=-/bin/sh -c 'test ! -e {GRAFANA_DATA}/grafana.db || exec {reset} {password}'",
        ),
        folder=GRAFANA_DIR,
    )


def _configuration(spec: GrafanaSpec, folder: Directory) -> list[File]:
    """Return the files that Grafana reads at its start."""
    password = spec.admin_password.read().get_secret_value()
    if len(password) < LEAST_PASSWORD:
        raise ConfigError(
            "is too short",
            where="gateway.monitoring.grafana.admin_password",
            hint=f"store a password of {LEAST_PASSWORD} characters or more",
        )
    words = {"data": GRAFANA_DATA, "provisioning": PROVISIONING_DIR, "port": GRAFANA_PORT}
    config = render("monitoring/grafana.ini.j2", **words, credentials=CREDENTIALS, disabled=DISABLED_PLUGINS)
    after = (folder.id,)
    return [
        File(path=GRAFANA_CONFIG, content=config, after=after),
        File(path=ADMIN_PASSWORD, content=Secret(f"{password}\n"), mode=0o600, after=after),
        File(path=f"{PROVISIONING_DIR}/datasources/llm-deploy.yaml", content=_datasource(), after=after),
        File(path=f"{PROVISIONING_DIR}/dashboards/llm-deploy.yaml", content=_provider(), after=after),
    ]


def _datasource() -> str:
    """Return the file that names the stack's Prometheus to Grafana."""
    source = {
        "name": "Prometheus",
        "uid": "llm-prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": f"http://127.0.0.1:{PROMETHEUS_PORT}",
        "isDefault": True,
        "editable": False,
        "jsonData": {"timeInterval": f"{SCRAPE_S}s"},
    }
    return HEAD + yaml.safe_dump({"apiVersion": 1, "datasources": [source]}, sort_keys=False)


def _provider() -> str:
    """Return the file that names the folder of dashboards. Grafana looks there every 30 s."""
    provider = {
        "name": "llm-deploy",
        "type": "file",
        "folder": "llm-deploy",
        "disableDeletion": False,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": DASHBOARDS_DIR},
    }
    return HEAD + yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False)


def _dashboards(folder: Directory) -> list[File]:
    """Return the dashboards."""
    return [
        File(path=f"{DASHBOARDS_DIR}/{path.name}", content=text, after=(folder.id,)) for path, text in files().items()
    ]


def _package(spec: GrafanaSpec, folder: Directory) -> Download | Tree:
    """Return the resource that brings the package. Raises ConfigError if a local one is missing or another one."""
    if spec.is_url:
        path = f"{PACKAGE_DIR}/{PACKAGE_NAME}"
        return Download(path=path, url=spec.deb, sha256=spec.sha256, after=(folder.id,))
    return Tree(path=PACKAGE_DIR, source=_local_package(spec), after=(folder.id,))


def _local_package(spec: GrafanaSpec) -> Path:
    """Return a folder with this computer's package and nothing else."""
    path, key = full_path(Path(spec.deb)), "gateway.monitoring.grafana"
    if not path.is_file():
        hint = "relative paths start at the checkout"
        raise ConfigError(f"there is no file {spec.deb}", where=f"{key}.deb", hint=hint)
    found = sha256_of(path)
    if found != spec.sha256:
        hint = "find out why the file differs before you change the checksum"
        raise ConfigError(f"{spec.deb} has SHA-256 {found}", where=f"{key}.sha256", hint=hint)
    folder = cache_dir() / "grafana" / spec.sha256
    only_link(folder, PACKAGE_NAME, path)
    return folder


def _installed(package: Resource, *, needs: tuple[str, ...]) -> Command:
    """Return the command that installs the package, with its dependencies from the distribution."""
    argv = ("python3", INSTALL, f"{PACKAGE_DIR}/{PACKAGE_NAME}", *PACKAGES)
    return Command(
        name="grafana-package",
        argv=argv,
        check=(*argv, "--check"),
        timeout_s=INSTALL_TIMEOUT_S,
        after=(package.id, f"file:{INSTALL}", *needs),
    )


def _ready_command() -> tuple[str, ...]:
    """Return the command that succeeds when Grafana answers; a proxy of the host does not matter to it."""
    ask = f"build_opener(ProxyHandler({{}})).open('http://localhost:{GRAFANA_PORT}/api/health', timeout=5)"
    return ("python3", "-c", f"from urllib.request import ProxyHandler, build_opener; {ask}")
