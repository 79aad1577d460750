"""The service that sends requests to providers: its environment, keys, settings, way out and unit.

Does not decide which requests leave (the gateway's Lua does), and opens no port to other hosts.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path

from core.errors import ConfigError
from core.paths import full_path
from core.ports import OVERFLOW_METRICS_PORT, OVERFLOW_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import Command, Directory, File, Packages, Resource, Secret, Unit, User, Venv
from provisioning.hosts.topology import HostRole, Topology
from provisioning.programs import program
from provisioning.programs.gateway.overflow_addresses import MARK
from provisioning.roles.gateway.pools import LOOPBACK, Pool, PoolServer
from provisioning.roles.host import guard
from provisioning.roles.host.layout import (
    CONFIG_DIR,
    GATEWAY_USER,
    LIB_DIR,
    NFT_RULES,
    OVERFLOW_UNIT,
    OVERFLOW_USER,
    WAY_OUT_UNIT,
    overflow_ledger,
)
from provisioning.roles.host.locks import lock_text
from provisioning.roles.host.nft_watch import PROGRAM, loaded, nft_watch
from provisioning.roles.host.uv import COMMAND as UV
from provisioning.roles.host.uv import uv, uv_path
from provisioning.roles.services.service import Service, service_files, unit_file
from provisioning.templates.render import render
from services.overflow import settings as service_settings
from services.overflow.money import nano_usd
from serving.spec.gateway_overflow import OverflowProvider, OverflowSpec, overflow_fits_models
from serving.spec.models import ServingSpec

PACKAGE = "overflow"
FOLDER = f"{CONFIG_DIR}/overflow"
SETTINGS = f"{CONFIG_DIR}/overflow.json"

RULES = f"{CONFIG_DIR}/way-out.nft"
TABLE = "llm_way_out"
PROVIDERS_TABLE = "llm_providers"

ADDRESSES = f"{LIB_DIR}/overflow-addresses"
ADDRESSES_SERVICE = "llm-overflow-addresses.service"
ADDRESSES_TIMER = "llm-overflow-addresses.timer"
NAMES_DIRECTORY = "llm-overflow-names"
HOSTS = f"/run/{NAMES_DIRECTORY}/hosts"

USER = User(name=OVERFLOW_USER)

IPV6 = 6

STOP_S = 60
"""How long a stop waits for answers of providers."""


def overflow(
    host: HostRecord, outputs: StackOutputs, pools: Sequence[Pool], keys: Mapping[str, Secret]
) -> list[Resource]:
    """Return the resources of the service on a gateway's host, in working order; `keys` are by provider's name."""
    spec = outputs.gateway.overflow
    if spec is None:
        return without_overflow()
    _check(host, spec, outputs)
    data = host.data_dir
    secrets = [_file(f"{each.name}.key", Secret(f"{keys[each.name].value}\n"), 0o600) for each in spec.providers]
    cas = [_file(f"{each.name}.pem", _ca(each), 0o644) for each in spec.providers if each.ca]
    venv = Venv(path=f"{data}/venvs/services", lock=lock_text("services"), uv=uv_path(data), after=(UV,))
    settings = File(path=SETTINGS, content=settings_of(outputs, data).to_json())
    files = service_files(PACKAGE)
    ledger = Directory(path=str(Path(overflow_ledger(data)).parent), owner=USER.name, group=USER.name, mode=0o700)
    service = Service(
        unit=OVERFLOW_UNIT,
        description="Send requests to providers, within caps on spending",
        package=PACKAGE,
        user=USER.name,
        arguments=(SETTINGS,),
        python=f"{venv.path}/bin/python",
        writes=(ledger.path,),
        credentials=tuple((each.path.rpartition("/")[2].removesuffix(".key"), each.path) for each in secrets),
        mounts=((HOSTS, "/etc/hosts"),),
        # It makes the file of `mounts`, without which this unit cannot start: also on a host that has just booted.
        wants=(ADDRESSES_SERVICE,),
        allowed_addresses=("any",),
        after=(WAY_OUT_UNIT,),
        memory_max_mib=512,
        tasks_max=spec.max_requests + 64,
        stop_s=STOP_S,
    )
    unit = unit_file(service, after=(USER.id,))
    way_out = _way_out(pools)
    addresses = _addresses(spec)
    moved = _moved_ledger(data, ledger.id)
    needed = (venv.id, moved.id, settings.id, unit.id, *(each.id for each in (*secrets, *cas, *files)))
    return [
        USER,
        guard.GATEWAY,
        Directory(path=data),
        Directory(path=f"{data}/venvs"),
        Directory(path=FOLDER),
        *uv(data),
        venv,
        *files,
        *secrets,
        *cas,
        _only(*secrets, *cas),
        ledger,
        moved,
        settings,
        *way_out,
        *addresses,
        unit,
        Unit(name=OVERFLOW_UNIT, restart_on=needed, after=(*needed, f"unit:{WAY_OUT_UNIT}", f"file:{ADDRESSES}")),
    ]


def _moved_ledger(data_dir: str, folder: str) -> Command:
    """Return the command that brings the record of an earlier version to the data volume, so that caps go on."""
    old, new = "/var/lib/llm-overflow/ledger.sqlite3", overflow_ledger(data_dir)
    # The database last: its place says whether all have come.
    move = f'[ ! -e "{old}$part" ] || mv "{old}$part" "{new}$part"'
    return Command(
        name="overflow-ledger",
        argv=("sh", "-ec", f"systemctl stop {OVERFLOW_UNIT} || true; for part in -wal -shm ''; do {move}; done"),
        check=("sh", "-c", f"[ ! -e {old} ] || [ -e {new} ]"),
        after=(folder,),
    )


def settings_of(outputs: StackOutputs, data_dir: str) -> service_settings.Settings:
    """Return the settings of the service. Raises AssertionError without `gateway.overflow`."""
    gateway, spec = outputs.gateway, outputs.gateway.overflow
    assert spec is not None  # noqa: S101 (the caller has looked)
    return service_settings.Settings(
        providers=tuple(_provider(each, outputs.servings) for each in spec.providers),
        cap=_cap(spec),
        clients=spec.allowed(gateway.clients),
        internal=spec.internal,
        default_max_tokens=spec.max_tokens,
        max_body_bytes=gateway.max_body_kib * 1024,
        max_requests=spec.max_requests,
        alert_percent=spec.alert_percent,
        address=LOOPBACK,
        port=OVERFLOW_PORT,
        metrics_port=OVERFLOW_METRICS_PORT,
        ledger=overflow_ledger(data_dir),
    )


def _provider(spec: OverflowProvider, servings: Sequence[ServingSpec]) -> service_settings.Provider:
    models = {
        name: service_settings.Model(each.model, _nano(each.input_usd), _nano(each.output_usd), each.embeddings)
        for each in spec.models
        for serving in servings
        for name in (each.alias, serving.with_tag(each.alias), each.alias.removesuffix(":latest"))
    }
    return service_settings.Provider(
        name=spec.name,
        kind=spec.kind,
        url=spec.url,
        key=spec.name,
        models=models,
        cap=_cap(spec),
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
        timeout_s=spec.timeout_s,
        completions=spec.completions,
        token_limit_field=spec.token_limit,
        added_tokens=spec.added_tokens,
        ca=f"{FOLDER}/{spec.name}.pem" if spec.ca else "",
    )


def _cap(spec: OverflowProvider | OverflowSpec) -> service_settings.Cap:
    return service_settings.Cap(_nano(spec.day_usd), _nano(spec.month_usd))


def _nano(usd: float) -> int:
    return nano_usd(Decimal(str(usd)))


def _check(host: HostRecord, spec: OverflowSpec, outputs: StackOutputs) -> None:
    """Raise ConfigError for what only a host or a manifest of adapters shows."""
    for problem in overflow_fits_models(spec, outputs.servings, all_names=True):
        raise ConfigError(problem.what, where=problem.key, hint=problem.hint)
    gateways = Topology(outputs).hosts_with(HostRole.GATEWAY)
    if len(gateways) > 1:
        what = f"{len(gateways)} hosts have a gateway, and each would count its own spending"
        raise ConfigError(what, where="gateway.overflow", hint="write gateway.machine: {}, or leave out overflow")
    if host.proxy is not None:
        what = f"{host.name} reaches the internet through a proxy, and providers are reached directly only"
        raise ConfigError(what, where="gateway.overflow", hint="leave out overflow, or the proxy of this host")


def _file(name: str, content: str | Secret, mode: int) -> File:
    return File(path=f"{FOLDER}/{name}", content=content, mode=mode, after=(f"directory:{FOLDER}",))


def _only(*files: File) -> Command:
    """Return the command that removes keys and CAs of providers that the stack file no longer has."""
    kept = [word for each in files for word in ("!", "-path", each.path)]
    find = ("find", FOLDER, "-type", "f", *kept)
    return Command(
        name="overflow-old-keys",
        argv=(*find, "-delete"),
        check=("sh", "-c", '[ ! -e "$1" ] || [ -z "$("$0" "$@")" ]', *find),
    )


def _ca(spec: OverflowProvider) -> str:
    """Return the text of a provider's CA. Raises ConfigError if it cannot be read."""
    path = full_path(spec.ca or Path())
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise ConfigError("cannot be read as PEM", where=str(path), hint="write the path of a CA in PEM") from error


def _way_out(pools: Sequence[Pool]) -> list[Resource]:
    """Return the rules that let the gateway reach its engines and this service alone, from boot on."""
    servers = [each for pool in pools for each in pool.servers if each.address != LOOPBACK]
    engines = [{"daddr": _daddr(each.address), "ports": _ports(each)} for each in servers]
    words = {"gateway": GATEWAY_USER, "overflow": OVERFLOW_USER, "providers": PROVIDERS_TABLE, "mark": MARK}
    text = render("way-out.nft.j2", table=TABLE, port=OVERFLOW_PORT, engines=engines, **words)
    package = Packages(name="guard", present=(guard.PACKAGE,))
    check = ("nft", "--check", "--file", "{path}")
    rules = File(path=RULES, content=text, check=check, after=(package.id, guard.GATEWAY.id, USER.id))
    unit_words = {"rules": RULES, "table": TABLE, "program": NFT_RULES, "before": "", "folders": []}
    description = "Who on this host may open connections to others"
    file = File(
        path=f"/etc/systemd/system/{WAY_OUT_UNIT}",
        content=render("nft-table.service.j2", description=description, role="services", **unit_words),
    )
    needed = (rules.id, file.id)
    unit = Unit(name=WAY_OUT_UNIT, reload_on=(rules.id,), restart_on=(file.id,), after=(PROGRAM.id, *needed))
    return [package, *nft_watch(), rules, file, unit, loaded("way-out", RULES, TABLE, after=(unit.id,))]


def _daddr(address: str) -> str:
    """Return the match of an address; empty for a name, which nft could not look up before the network is there."""
    try:
        return f"{'ip6' if ip_address(address).version == IPV6 else 'ip'} daddr {address} "
    except ValueError:
        return ""


def _ports(server: PoolServer) -> list[int]:
    """Return the ports of an engine's host to which the gateway connects."""
    return [port for port in (server.port, server.agent_port) if port]


def _addresses(spec: OverflowSpec) -> list[Resource]:
    """Return the program that opens the way to the providers' addresses, and its timer."""
    helper = File(path=ADDRESSES, content=program("gateway/overflow_addresses"), mode=0o755)
    command = [ADDRESSES, USER.name, HOSTS, *spec.host_names]
    service = render("overflow-addresses.service.j2", command=command, runtime_directory=NAMES_DIRECTORY)
    files = [
        File(path=f"/etc/systemd/system/{ADDRESSES_SERVICE}", content=service),
        File(path=f"/etc/systemd/system/{ADDRESSES_TIMER}", content=render("overflow-addresses.timer.j2")),
    ]
    needed = tuple(each.id for each in files)
    return [helper, *files, Unit(name=ADDRESSES_TIMER, restart_on=(needed[1],), after=(helper.id, *needed))]


def without_overflow() -> list[Resource]:
    """Return what removes the service, its keys and its way out: also where a gateway was before. The ledger stays."""
    units = [Unit(name=name, enabled=False, running=False) for name in (OVERFLOW_UNIT, ADDRESSES_TIMER, WAY_OUT_UNIT)]
    unit_files = (OVERFLOW_UNIT, ADDRESSES_TIMER, ADDRESSES_SERVICE, WAY_OUT_UNIT)
    return [*units, _only(), *(File(path=f"/etc/systemd/system/{name}", content=None) for name in unit_files)]
