"""The overflow service on a real machine with systemd: its environment, keys, names, way out, restart and removal."""

import json
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.ports import OVERFLOW_METRICS_PORT, OVERFLOW_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.certificates import CA_CERTIFICATE, server_certificate
from provisioning.converge.resources import Resource
from provisioning.operate.spend import look
from provisioning.roles.host.layout import OVERFLOW_UNIT, overflow_ledger
from provisioning.roles.inputs import RoleInputs
from provisioning.roles.registry import REGISTRY
from services.overflow.money import NANO
from tests.doubles.llm_provider import PROVIDER_KEY, ProviderDouble, running_provider
from tests.machine.converge_host import bring, poll, reached, remote
from tests.machine.fab import Fab
from tests.machine.machines import making_machines
from tests.unit.provisioning.records import SERVING, stack_values

NAME = "api.provider.example"
ASK = (
    f"curl -s -m 60 http://127.0.0.1:{OVERFLOW_PORT}/v1/chat/completions -H 'X-LLM-Client: site' "
    "-H 'X-LLM-Data-Class: public' -H 'Content-Type: application/json' -o /dev/null -w '%{http_code}' "
    """-d '{"model": "tiny", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}'"""
)


@dataclass(frozen=True)
class Overflow:
    """A machine with the service, and a provider on this computer."""

    host: HostRecord
    outputs: StackOutputs
    provider: ProviderDouble
    provider_address: str
    tls: ssl.SSLContext
    fab: Fab

    def desired(self, **gateway: Any) -> Sequence[Resource]:
        """Return the role's resources."""
        changed = self.outputs.gateway.model_copy(update=gateway)
        return REGISTRY["overflow"].build(self.host, RoleInputs(self.outputs.model_copy(update={"gateway": changed})))


@pytest.fixture(scope="module")
def overflow(machine_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overflow]:
    folder = tmp_path_factory.mktemp("overflow")
    pem = folder / "provider.pem"
    pem.write_text(server_certificate(folder / "kept.pem", folder / "ca", (NAME,), 2, datetime.now(UTC)))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    (folder / "key").write_text(PROVIDER_KEY)
    (folder / "key").chmod(0o600)
    model = {"alias": "tiny", "model": "their/tiny", "input_usd": 1, "output_usd": 2}
    provider = {
        "name": "far",
        "kind": "openai",
        "url": f"https://{NAME}/v1",
        "key": {"file": str(folder / "key")},
        "ca": str(folder / "ca" / CA_CERTIFICATE),
        "models": [model],
        "day_usd": 1,
        "month_usd": 2,
    }
    gateway = {
        "clients": [{"name": "site", "data": "public"}],
        "overflow": {"day_usd": 1, "month_usd": 2, "providers": [provider]},
    }
    with making_machines(machine_state) as make:
        host = make("overflow", memory_mib=768)
        address = remote(host, "ip route show default | cut -d' ' -f3").strip()
        remote(host, f"echo '{address} {NAME}' >> /etc/hosts")
        values = stack_values(host.model_dump(mode="json"), serving=SERVING, gateway=gateway)
        with running_provider(tls, address, 443) as double:
            fab = Fab(folder, host, serving=SERVING, gateway=gateway)
            made = Overflow(host, StackOutputs.model_validate(values), double, address, tls, fab)
            first = bring(host, made.desired())
            assert first.result.ok, [(failed.id, failed.error, failed.detail) for failed in first.result.failed]
            yield made


def test_sends_requests_and_writes_what_they_cost(overflow: Overflow) -> None:
    before = sums(overflow)
    assert remote(overflow.host, ASK) == "200"
    tokens_in, tokens_out = overflow.provider.used[-1]
    now = {"requests": 1, "spent": tokens_in * 1000 + tokens_out * 2000, "unsettled": 0}
    assert sums(overflow) == {key: before[key] + value for key, value in now.items()}
    metrics = remote(overflow.host, f"curl -s http://127.0.0.1:{OVERFLOW_METRICS_PORT}/metrics")
    assert 'llm_overflow_requests_total{outcome="served",provider="far"} ' in metrics


def sums(overflow: Overflow) -> dict[str, int]:
    """Return the sums of the ledger, amounts in nano-USD."""
    rows = look(overflow.host)
    return {key: sum(row[key] for row in rows) for key in ("requests", "spent", "unsettled")}


def test_make_spend_shows_it_by_day_provider_and_client(overflow: Overflow) -> None:
    assert remote(overflow.host, ASK) == "200"
    rows = look(overflow.host)
    (entry,) = json.loads(overflow.fab.run("spend", "--json").out)
    counts = {key: sum(row[key] for row in rows) for key in ("requests", "input_tokens", "output_tokens")}
    assert entry | counts == entry
    assert (entry["provider"], entry["client"]) == ("far", "site")
    assert entry["day"] == datetime.now(UTC).strftime("%Y-%m-%d")
    assert float(entry["usd"]) == sum(row["spent"] for row in rows) / NANO
    shown = overflow.fab.run("spend")
    assert shown.status == 0
    head, line, _, *caps = shown.out.splitlines()
    assert head.split()[:3] == ["day", "provider", "client"]
    assert line.split()[:4] == [entry["day"], "far", "site", str(counts["requests"])]
    assert [cap.split(":")[0] for cap in caps[:2]] == ["all", "far"]


def test_make_top_shows_what_it_cost(overflow: Overflow) -> None:
    assert remote(overflow.host, ASK) == "200"
    seen = json.loads(overflow.fab.run("top", "--once", "--json").out)
    (day,) = [each for each in seen["spend"] if (each["provider"], each["period"]) == ("far", "day")]
    assert (day["spent_usd"], day["cap_usd"]) == (pytest.approx(sums(overflow)["spent"] / NANO), 1)


def test_make_status_shows_how_the_provider_does(overflow: Overflow) -> None:
    assert remote(overflow.host, ASK) == "200"
    (entry,) = json.loads(overflow.fab.run("status", "--json").out)
    (far,) = entry["providers"]
    assert (far["name"], far["tries"] > far["failed"], far["in_row"]) == ("far", True, 0)
    assert entry["unresolved"] == {}
    assert "provider_report" not in entry["unseen"]


NEXT = "198.18.55.7"


def test_a_provider_whose_address_changes_is_reached_at_the_new_one_and_no_other(overflow: Overflow) -> None:
    """The name's new address is another one of this computer. Within an hour the old one is allowed too."""
    names = f"sed -i 's/^{{}} {NAME}$/{{}} {NAME}/' /etc/hosts; systemctl start llm-overflow-addresses.service"
    subprocess.run(["ip", "address", "add", f"{NEXT}/32", "dev", "lo"], check=True)
    try:
        with running_provider(overflow.tls, NEXT, 443) as moved:
            before = remote(overflow.host, "nft list table inet llm_providers")
            _hang_up(overflow, overflow.provider)
            remote(overflow.host, names.format(overflow.provider_address, NEXT))
            asked = len(overflow.provider.received)
            assert remote(overflow.host, ASK) == "200"
            assert (len(moved.received), len(overflow.provider.received)) == (1, asked)
            table = remote(overflow.host, "nft list table inet llm_providers")
            assert (NEXT in before, NEXT in table, overflow.provider_address in table) == (False, True, True)
            # Nobody knows the name for a while: the addresses stay.
            remote(overflow.host, f"sed -i '/ {NAME}$/d' /etc/hosts; systemctl start llm-overflow-addresses.service")
            assert remote(overflow.host, ASK) == "200"
            remote(overflow.host, f"echo '{NEXT} {NAME}' >> /etc/hosts")
            _hang_up(overflow, moved)
    finally:
        remote(overflow.host, names.format(NEXT, overflow.provider_address))
        subprocess.run(["ip", "address", "del", f"{NEXT}/32", "dev", "lo"], check=True)
    assert remote(overflow.host, ASK) == "200"


def _hang_up(overflow: Overflow, provider: ProviderDouble) -> None:
    """Let the provider end the connection that the service keeps open."""
    provider.faults.add("hang_up")
    assert remote(overflow.host, ASK) != "200"
    provider.faults.discard("hang_up")


def test_at_the_cap_nothing_is_sent_and_the_alert_fires(overflow: Overflow) -> None:
    """The alert's rule is compared with these metrics in tests/unit/provisioning/roles/monitoring/cases/alerts.yaml."""
    assert remote(overflow.host, ASK) == "200"
    spent = sums(overflow)["spent"]
    spec = overflow.outputs.gateway.overflow
    assert spec is not None
    cap = spec.model_copy(update={"day_usd": round(spent / NANO * 1.1, 6)})
    assert bring(overflow.host, overflow.desired(overflow=cap)).result.ok
    asked = len(overflow.provider.received)
    assert remote(overflow.host, ASK) == "429"
    assert len(overflow.provider.received) == asked
    text = remote(overflow.host, f"curl -s http://127.0.0.1:{OVERFLOW_METRICS_PORT}/metrics")
    metrics = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    ratio = float(metrics['llm_overflow_spent_ratio{provider="all",period="day"}'])
    assert float(metrics["llm_overflow_alert_ratio"]) == 0.8
    assert 0.8 <= ratio <= 1
    assert bring(overflow.host, overflow.desired()).result.ok
    assert remote(overflow.host, ASK) == "200"


def test_a_second_run_changes_nothing(overflow: Overflow) -> None:
    seen = bring(overflow.host, overflow.desired())
    assert {id: status for id, status in seen.statuses.items() if status != "ok"} == {}


def test_only_the_gateways_user_reaches_it(overflow: Overflow) -> None:
    seen = {user: reached(overflow.host, OVERFLOW_PORT, "/ready", user) for user in ("root", "haproxy", "nobody")}
    assert seen == {"root": "200", "haproxy": "200", "nobody": "000"}


def test_the_key_is_nowhere_else(overflow: Overflow) -> None:
    """Neither in the unit, the processes' arguments and environments, the settings, the journal nor the ledger."""
    places = (
        f"systemctl show {OVERFLOW_UNIT}",
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ",
        "cat /etc/llm/overflow.json /etc/systemd/system/llm-overflow* /var/lib/llm/overflow/*",
        "journalctl -q --no-pager",
    )
    pattern = f"[{PROVIDER_KEY[0]}]{PROVIDER_KEY[1:]}"  # does not find itself among the arguments of grep
    for place in places:
        assert remote(overflow.host, f"({place}) 2>/dev/null | grep -ac '{pattern}' || true").strip() == "0"
    assert remote(overflow.host, "stat -c '%a %U' /etc/llm/overflow/far.key").strip() == "600 root"


def test_its_way_out_is_the_provider_alone(overflow: Overflow) -> None:
    """It has no name server, and no other address than the provider's."""
    pid = remote(overflow.host, f"systemctl show --value -p MainPID {OVERFLOW_UNIT}").strip()
    hosts = remote(overflow.host, f"cat /proc/{pid}/root/etc/hosts").splitlines()
    assert [line for line in hosts if "localhost" not in line] == [f"{overflow.provider_address} {NAME}"]
    table = remote(overflow.host, "nft list table inet llm_providers")
    assert overflow.provider_address in table


def test_a_flushed_ruleset_comes_back(overflow: Overflow) -> None:
    remote(overflow.host, "nft flush ruleset; systemctl start llm-nft-watch.service llm-overflow-addresses.service")
    tables = remote(overflow.host, "nft list tables")
    assert "llm_way_out" in tables
    assert "llm_providers" in tables
    assert remote(overflow.host, ASK) == "200"


def test_a_kill_loses_nothing(overflow: Overflow) -> None:
    before = sums(overflow)["spent"]
    overflow.provider.at = lambda moment: _kill(overflow) if moment == "computed" else None
    assert remote(overflow.host, f"{ASK} || true") != "200"
    overflow.provider.at = lambda moment: None  # noqa: ARG005
    poll(lambda: remote(overflow.host, f"systemctl is-active {OVERFLOW_UNIT} || true").strip() == "active")
    assert sums(overflow)["spent"] > before
    assert remote(overflow.host, ASK) == "200"


def _kill(overflow: Overflow) -> None:
    remote(overflow.host, f"systemctl kill --signal=KILL {OVERFLOW_UNIT}")


def test_leaves_when_the_stack_file_says_so_and_keeps_the_ledger(overflow: Overflow) -> None:
    ended = bring(overflow.host, overflow.desired(overflow=None))
    assert ended.result.ok, [(failed.id, failed.error) for failed in ended.result.failed]
    assert remote(overflow.host, f"systemctl is-active {OVERFLOW_UNIT} || true").strip() == "inactive"
    assert remote(overflow.host, "ls /etc/llm/overflow/*.key 2>/dev/null || true").strip() == ""
    assert "llm_way_out" not in remote(overflow.host, "nft list tables")
    assert remote(overflow.host, f"test -s {overflow_ledger(overflow.host.data_dir)} && echo there").strip() == "there"
