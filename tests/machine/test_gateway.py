"""The gateway role on a real machine with systemd: start, reload, stop, log and permissions."""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.credentials import client_keys, rotate_client_key
from provisioning.apply.desired_state import desired_state
from provisioning.converge.resources import File, Resource, Unit
from provisioning.roles.gateway.process import GATEWAY_DIR
from provisioning.roles.host.layout import ENGINE_ENV, GATEWAY_UNIT, HAPROXY_ADMIN_SOCKET
from serving.endpoint import Endpoint
from serving.smoke.run import smoke, wait_until_ready
from serving.spec.gateway_clients import ClientSpec
from serving.spec.models import GatewaySpec
from serving.spec.rules import METRICS_PORT
from serving.timed_client import Client, StreamedAnswer
from tests.doubles import engine as engine_double
from tests.machine import grafana
from tests.machine.converge_host import bring, poll, remote
from tests.machine.machines import making_machines
from tests.machine.prometheus import query, read_each_second
from tests.unit.provisioning.records import stack

TOKEN_S = 0.1
ROUNDS = 10
MONITORED_JOBS = {"haproxy", "queue", "engine", "access", "node", "prometheus", "alertmanager"}
STREAM_TOKENS = ROUNDS * len(engine_double.TOKENS)
"""A stream takes four seconds, longer than a run of the role."""


@dataclass(frozen=True)
class Gateway:
    """A machine with a gateway, and an engine double behind it."""

    host: HostRecord
    outputs: StackOutputs

    def desired(self, **gateway: Any) -> Sequence[Resource]:
        """Return the role's resources, with other fields of GatewaySpec."""
        outputs = self.outputs.model_copy(update={"gateway": self.outputs.gateway.model_copy(update=gateway)})
        return desired_state(outputs, [self.host], ["gateway"]).lists[self.host.name]

    @property
    def endpoint(self) -> Endpoint:
        """Its address for clients."""
        endpoint = desired_state(self.outputs, [self.host], ["gateway"]).endpoint
        assert endpoint
        return endpoint

    def client(self) -> Client:
        """Return a client with the right key."""
        return Client(self.endpoint.url, key=self.endpoint.api_key(), ca=self.endpoint.ca)

    def unit(self, name: str) -> str:
        """Return one of systemd's properties of HAProxy's unit."""
        return remote(self.host, f"systemctl show --value -p {name} {GATEWAY_UNIT}").strip()

    def journal(self) -> str:
        """Return what HAProxy wrote."""
        return remote(self.host, f"journalctl -q --no-pager -o cat -u {GATEWAY_UNIT}")


TINY = {"kind": "tiny", "name": "llama"}

SERVING = {
    "model": {"name": "tiny", "source": TINY},
    "adapters": [{"name": "contract", "source": {**TINY, "adapter": "a"}}],
}
"""What the engine double serves."""


@pytest.fixture(scope="module")
def gateway(machine_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A machine with only the gateway role, and an engine double started after it.

    Its keys are in a separate folder: a test here replaces one, and other machines of the run keep theirs.
    """
    keys = tmp_path_factory.mktemp("gateway")
    with pytest.MonkeyPatch.context() as patch, making_machines(machine_state) as make:
        patch.setenv("LLM_DEPLOY_STATE", str(keys))
        patch.setenv("LLM_DEPLOY_RUNS", str(keys / "runs"))
        host = make("gateway", memory_mib=1024)
        outputs = stack(serving=SERVING).model_copy(update={"hosts": (host,)})
        made = Gateway(host, outputs)
        first = bring(host, made.desired())
        assert first.result.ok, [(failed.id, failed.error, failed.detail) for failed in first.result.failed]
        start_engine(made)
        yield made


def start_engine(gateway: Gateway) -> None:
    """Run the engine double as a separate unit, with the key that only the host knows."""
    source = Path(engine_double.__file__).read_text()
    remote(gateway.host, f"cat > /root/engine.py <<'END'\n{source}\nEND\n")
    remote(
        gateway.host,
        f"systemd-run --unit=engine-double -p EnvironmentFile={ENGINE_ENV} -p Restart=always "
        f"python3 /root/engine.py 8000 {TOKEN_S} {ROUNDS}",
    )
    wait_until_ready(gateway.endpoint.url, gateway.endpoint.ca, 30)


class RunningStream:
    """A stream through the gateway, begun."""

    def __init__(self, gateway: Gateway, client: Client) -> None:
        self._answers: list[StreamedAnswer] = []
        self._thread = threading.Thread(target=self._run, args=(client,))
        self._thread.start()
        poll(lambda: remote(gateway.host, "ss -Htn state established 'dport = :8000'").strip())

    def _run(self, client: Client) -> None:
        self._answers.append(client.stream_chat("tiny", "hello", max_tokens=STREAM_TOKENS))

    def is_running(self) -> bool:
        """Return whether it continues."""
        return self._thread.is_alive()

    def tokens(self) -> int:
        """Return how many tokens it had at its end; 0 if it was cut off."""
        self._thread.join()
        return sum(answer.pieces for answer in self._answers)


def test_second_run_changes_nothing(gateway: Gateway) -> None:
    seen = bring(gateway.host, gateway.desired())
    assert seen.result.ok
    assert [outcome.id for outcome in seen.result.changed] == []
    assert seen.result.round_trips == 1


def test_haproxy_never_ran_with_the_distributions_configuration(gateway: Gateway) -> None:
    assert gateway.unit("NRestarts") == "0"
    started = remote(gateway.host, f"journalctl -q -o cat -u {GATEWAY_UNIT} | grep -c '^Started' || true").strip()
    assert started == "1"
    assert f"{GATEWAY_DIR}/haproxy.cfg" in remote(gateway.host, "cat /proc/$(pidof -s haproxy)/cmdline | tr '\\0' ' '")


def test_smoke_test_passes_from_outside(gateway: Gateway) -> None:
    assert smoke(gateway.endpoint, wait_s=30) == 0


def test_it_answers_on_ipv6_too(gateway: Gateway) -> None:
    said = remote(gateway.host, "curl -sk https://[::1]/health; curl -sk https://127.0.0.1/health")
    assert said == '{"status":"ok"}' * 2


def test_access_log_is_json_of_priority_info_in_the_journal(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.models()
    lines = remote(gateway.host, f"journalctl -q --no-pager -o cat -p 6..6 -u {GATEWAY_UNIT} | grep '^{{'").splitlines()
    line = json.loads(lines[-1])
    assert (line["client"], line["path"], line["status"]) == ("default", "/v1/models", 200)


def test_no_key_is_in_the_journal_an_argument_list_or_the_configuration(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.models()
    engine_key = remote(gateway.host, f"sed -n s/^VLLM_API_KEY=//p {ENGINE_ENV}").strip()
    client_key = gateway.endpoint.api_key().get_secret_value()
    everything = remote(
        gateway.host,
        f"journalctl -q --no-pager; cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'; cat {GATEWAY_DIR}/haproxy.cfg",
    )
    assert "haproxy" in everything
    assert engine_key not in everything
    assert client_key not in everything
    found = remote(gateway.host, f"grep -rl -- '{client_key}' /etc /var/lib /run /root 2>/dev/null || true")
    assert found == ""


def test_files_and_socket_are_roots_alone(gateway: Gateway) -> None:
    said = remote(gateway.host, f"stat -c '%a %U' {GATEWAY_DIR} {GATEWAY_DIR}/* {HAPROXY_ADMIN_SOCKET}").split("\n")
    modes = ["700", "640", "600", "700", "600", "600"]  # folder, haproxy.cfg, keys.map, lua, server.pem, socket
    assert said[:-1] == [f"{mode} root" for mode in modes]


def test_haproxy_has_few_rights(gateway: Gateway) -> None:
    worker = remote(
        gateway.host, "cat /proc/$(pgrep -P $(pidof -s haproxy | head -1) haproxy || pgrep -u haproxy)/status"
    )
    assert "NoNewPrivs:\t1" in worker
    assert "CapEff:\t0000000000000000" in worker
    assert "Seccomp:\t2" in worker


def test_only_the_gateways_port_is_open_to_others(gateway: Gateway) -> None:
    lines = remote(gateway.host, "ss -Hltn").splitlines()
    addresses = {line.split()[3] for line in lines}
    assert f"127.0.0.1:{METRICS_PORT}" in addresses
    assert "*:443" in addresses
    assert not {each for each in addresses if each.endswith(f":{METRICS_PORT}")} - {f"127.0.0.1:{METRICS_PORT}"}


def test_new_key_reloads_and_running_streams_live(gateway: Gateway) -> None:
    before = gateway.unit("MainPID"), gateway.unit("ActiveEnterTimestamp")
    old_key = gateway.endpoint.api_key()
    with gateway.client() as client:
        stream = RunningStream(gateway, client)
        rotate_client_key(gateway.outputs.stack, "default")
        seen = bring(gateway.host, gateway.desired())
        assert seen.result.ok
        assert [outcome.id for outcome in seen.result.changed] == [
            f"file:{GATEWAY_DIR}/keys.map",
            f"unit:{GATEWAY_UNIT}",
        ]
        assert stream.tokens() == STREAM_TOKENS
    assert (gateway.unit("MainPID"), gateway.unit("ActiveEnterTimestamp")) == before
    with Client(gateway.endpoint.url, key=old_key, ca=gateway.endpoint.ca) as client:
        poll(lambda: client.ask("GET", "/v1/models").status_code == 401)
    with gateway.client() as client:
        assert client.models()


def test_stop_lets_a_running_stream_end(gateway: Gateway) -> None:
    with gateway.client() as client:
        stream = RunningStream(gateway, client)
        remote(gateway.host, f"systemctl stop {GATEWAY_UNIT}")
        assert stream.tokens() == STREAM_TOKENS
    assert gateway.unit("Result") == "success"
    assert bring(gateway.host, gateway.desired()).result.ok
    with gateway.client() as client:
        poll(lambda: client.ask("GET", "/v1/models").status_code == 200)


def test_a_taken_port_is_reported_with_its_owner_and_nothing_changes(gateway: Gateway) -> None:
    remote(gateway.host, "systemd-run --unit=in-the-way python3 -m http.server 8443")
    poll(lambda: remote(gateway.host, "ss -Hltn 'sport = :8443'").strip())
    config = remote(gateway.host, f"cat {GATEWAY_DIR}/haproxy.cfg")
    seen = bring(gateway.host, gateway.desired(port=8443))
    (failed,) = seen.result.failed
    assert failed.id == "command:gateway-port"
    assert "port 8443 is in use by python3 (process " in failed.error + failed.detail
    assert "in-the-way.service" in failed.error + failed.detail
    assert seen.statuses[f"unit:{GATEWAY_UNIT}"] == "skipped"
    assert remote(gateway.host, f"cat {GATEWAY_DIR}/haproxy.cfg") == config
    with gateway.client() as client:
        assert client.models()
    remote(gateway.host, "systemctl stop in-the-way")
    assert bring(gateway.host, gateway.desired(port=8443)).result.ok
    assert bring(gateway.host, gateway.desired()).result.ok


def test_engine_that_dies_is_503_and_comes_back(gateway: Gateway) -> None:
    with Client(gateway.endpoint.url, key=gateway.endpoint.api_key(), ca=gateway.endpoint.ca) as client:
        remote(gateway.host, "systemctl stop engine-double")
        assert client.ask("GET", "/v1/models").status_code == 503
        poll(lambda: client.ask("GET", "/health").status_code == 503)
        start_engine(gateway)
        assert client.models()


def test_new_engine_key_restarts_the_gateway(gateway: Gateway) -> None:
    remote(gateway.host, f"rm {ENGINE_ENV}")
    seen = bring(gateway.host, gateway.desired())
    assert seen.result.ok
    (unit,) = [wanted for wanted in gateway.desired() if isinstance(wanted, Unit)]
    assert seen.of(unit).changes == ("restart: a dependency changed",)
    remote(gateway.host, "systemctl restart engine-double")
    with gateway.client() as client:
        poll(lambda: client.ask("GET", "/v1/models").status_code == 200)


def test_certificate_of_new_names_is_served_after_a_reload(gateway: Gateway) -> None:
    changed = replace(
        gateway,
        outputs=gateway.outputs.model_copy(
            update={"gateway": gateway.outputs.gateway.model_copy(update={"hostnames": ("llm.example.com",)})}
        ),
    )
    assert bring(gateway.host, changed.desired()).result.ok
    said = remote(
        gateway.host,
        "echo | openssl s_client -connect 127.0.0.1:443 2>/dev/null | openssl x509 -noout -ext subjectAltName",
    )
    assert "DNS:llm.example.com" in said
    assert bring(gateway.host, gateway.desired()).result.ok


def test_configuration_that_haproxy_refuses_is_not_put_in_place(gateway: Gateway) -> None:
    path = f"{GATEWAY_DIR}/haproxy.cfg"
    desired = [
        replace(wanted, content=f"{wanted.content}\nnonsense\n")
        if isinstance(wanted, File) and wanted.path == path
        else wanted
        for wanted in gateway.desired()
    ]
    seen = bring(gateway.host, desired)
    assert [failed.id for failed in seen.result.failed] == [f"file:{path}"]
    assert "nonsense" not in remote(gateway.host, f"cat {path}")
    assert bring(gateway.host, gateway.desired()).result.ok


def test_client_keys_are_made_for_each_name(gateway: Gateway) -> None:
    clients = tuple(ClientSpec(name=name) for name in ("default", "batch"))
    two = gateway.outputs.model_copy(
        update={"gateway": gateway.outputs.gateway.model_copy(update={"clients": clients})}
    )
    assert bring(gateway.host, replace(gateway, outputs=two).desired()).result.ok
    key = client_keys(two.stack, ("default", "batch"))["batch"].value
    with Client(gateway.endpoint.url, key=SecretStr(key), ca=gateway.endpoint.ca) as client:
        poll(lambda: client.ask("GET", "/v1/models").status_code == 200)


WEBHOOK = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/root/alerts", "ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9999), Handler).serve_forever()
"""


def test_monitoring_sees_requests_and_its_alerts_arrive(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prometheus reads all parts on loopback, the access log becomes metrics, and an alert reaches the webhook.

    Grafana's package is a stand-in: no package source of the tests has it.
    """
    read_each_second(monkeypatch)
    monkeypatch.setenv(grafana.VARIABLE, grafana.FIRST)
    monitored = {"grafana": grafana.values(tmp_path)}
    remote(gateway.host, f"cat > /root/webhook.py <<'END'\n{WEBHOOK}\nEND\n")
    remote(gateway.host, "systemd-run --unit=webhook python3 /root/webhook.py")
    spec = GatewaySpec.model_validate(
        {
            **gateway.outputs.gateway.model_dump(),
            "monitoring": monitored,
            "alerts": {"webhook": "http://127.0.0.1:9999/"},
        }
    )
    outputs = gateway.outputs.model_copy(update={"gateway": spec})
    desired = desired_state(outputs, [gateway.host], ["gateway", "monitoring"]).lists[gateway.host.name]
    first = bring(gateway.host, desired)
    assert first.result.ok, [(failed.id, failed.error, failed.detail) for failed in first.result.failed]
    assert [outcome.id for outcome in bring(gateway.host, desired).result.changed] == []

    def seen(expression: str) -> dict[tuple[str, ...], str]:
        return query(gateway.host, expression)

    poll(lambda: {job for (job,) in seen("max by (job) (up) == 1")} == MONITORED_JOBS)
    # Alertmanager sends it 10 s later.
    remote(gateway.host, "amtool --alertmanager.url=http://127.0.0.1:9093 alert add SpotNotice host=one")
    with gateway.client() as client:
        client.chat("tiny", "hello", max_tokens=1)
    poll(lambda: seen("sum by (decision) (llm_requests_total) > 0"))
    poll(lambda: seen("llm_certificate_expires_seconds > time()"))
    poll(lambda: seen("vllm:num_requests_running"))
    poll(lambda: seen("llm_journal_bytes > 0"))
    assert seen("sum(llm_host_metrics_failed)") == {(): "0"}
    listening = {line.split()[3] for line in remote(gateway.host, "ss -Hltn").splitlines()}
    for port in ("3000", "8409", "9090", "9093", "9100"):
        assert {each for each in listening if each.endswith(f":{port}")} == {f"127.0.0.1:{port}"}
    assert not {each for each in listening if each.endswith((":9094", ":3903"))}
    said = remote(gateway.host, "stat -c '%a %U' /etc/llm/monitoring/alertmanager.yml")
    assert said.strip() == "600 root"
    grafana.is_ours_alone(gateway.host)
    monkeypatch.setenv(grafana.VARIABLE, grafana.SECOND)
    changed = desired_state(outputs, [gateway.host], ["monitoring"]).lists[gateway.host.name]
    assert bring(gateway.host, changed).result.ok
    assert [grafana.answer(gateway.host, each) for each in (grafana.FIRST, grafana.SECOND)] == ["401", "200"]

    poll(lambda: "SpotNotice" in remote(gateway.host, "cat /root/alerts 2>/dev/null || true"))

    remote(gateway.host, "systemctl kill --signal=KILL --kill-whom=all llm-access-metrics.service")
    restarts = "systemctl show --value -p NRestarts llm-access-metrics.service"
    poll(lambda: remote(gateway.host, restarts).strip() != "0")
    poll(lambda: remote(gateway.host, "curl -s http://127.0.0.1:8409/metrics | grep llm_log_lines_total || true"))
    without = desired_state(gateway.outputs, [gateway.host], ["monitoring"]).lists[gateway.host.name]
    assert bring(gateway.host, without).result.ok
    assert not remote(
        gateway.host, "ss -Hltn 'sport = :3000 or sport = :9090 or sport = :9093 or sport = :9100 or sport = :8409'"
    ).strip()
    assert [outcome.id for outcome in bring(gateway.host, without).result.changed] == []

    grafana.is_gone(gateway.host)
    grafana.somebody_elses_is_left_alone(gateway.host, changed, without)
