"""Our services as real units of a machine, with doubles of the engine and of the cloud that takes the machine back."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from infra.contract.outputs import HostRecord, NoticeFolder
from provisioning.apply.desired_state import joined
from provisioning.converge.resources import File, GeneratedSecret, Resource, Unit
from provisioning.roles.host.layout import (
    ENGINE_ENV,
    ENGINE_ENV_TEMPLATE,
    RECORDS_UNIT,
    SPOT_STOP_UNIT,
    SPOT_UNIT,
    WATCH_UNIT,
)
from provisioning.roles.services.role import services
from tests.machine.converge_host import bring, remote
from tests.machine.machines import making_machines
from tests.slowness import patient
from tests.unit.provisioning.records import stack

FOLDER = NoticeFolder(url="s3://llm-test/notices/llm-test/")
DOUBLES = Path(__file__).parents[1] / "doubles"
ENGINE_UNIT_TEXT = f"""
[Service]
EnvironmentFile={ENGINE_ENV}
ExecStart=/usr/bin/python3 /usr/local/lib/engine.py 8000 0.05 10
Restart=always
RestartSec=1
"""
METADATA_UNIT_TEXT = """
[Service]
ExecStartPre=-/bin/ip address add 169.254.169.254/32 dev lo
ExecStart=/usr/bin/python3 /usr/local/lib/metadata.py 169.254.169.254 80 /run/metadata
RuntimeDirectory=metadata
RuntimeDirectoryPreserve=yes
"""

FUNCTIONS = """
agent() { python3 -c 'import socket; print(*socket.create_connection(("127.0.0.1", 8406)).makefile(), end="")'; }
await() { for _ in $(seq 600); do if eval "$1"; then return; fi; sleep 0.05; done; echo "never: $1" >&2; exit 1; }
says() { systemctl show --value -p StatusText "$1"; }
up() { await 'case "$(agent)" in up*) ;; *) false ;; esac'; }
drained() { await 'case "$(agent)" in drain*) ;; *) false ;; esac'; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
put() { echo "$2" > /run/metadata/new; mv /run/metadata/new "/run/metadata/$1"; }
set -eu
"""


def _parts(host: HostRecord) -> list[Resource]:
    key = GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)
    programs = [
        File(path=f"/usr/local/lib/{name}", content=(DOUBLES / name).read_text())
        for name in ("engine.py", "metadata.py")
    ]
    units = [
        File(path="/etc/systemd/system/vllm.service", content=ENGINE_UNIT_TEXT),
        File(path="/etc/systemd/system/metadata.service", content=METADATA_UNIT_TEXT),
    ]
    needed = (key.id, *(each.id for each in (*programs, *units)))
    started = [Unit(name=name, enabled=False, after=needed) for name in ("vllm.service", "metadata.service")]
    ours = services(host, stack().model_copy(update={"hosts": (host,)}))
    return joined([key, *programs, *units, *started], ours)


@pytest.fixture(scope="module")
def host(machine_state: Path) -> Iterator[HostRecord]:
    """Its bucket is in moto, on this computer."""
    with making_machines(machine_state) as make:
        made = make("spot").model_copy(update={"cloud": "aws", "market": "spot", "notice_folder": FOLDER})
        seen = bring(made, _parts(made))
        assert seen.result.ok, [(failed.id, failed.error, failed.detail) for failed in seen.result.failed]
        yield made


@pytest.fixture(scope="module")
def bucket(host: HostRecord) -> Iterator[Any]:
    """The content of the bucket, as a client of S3."""
    server = ThreadedMotoServer(remote(host, "ip -4 route show default").split()[2], 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="llm-test")
    drop_in = f"/run/systemd/system/{RECORDS_UNIT}.d"
    text = f"[Service]\\nEnvironment=AWS_ENDPOINT_URL_S3={url}\\n"
    remote(host, f"mkdir -p {drop_in}; printf '{text}' > {drop_in}/s3.conf; systemctl daemon-reload")
    yield client
    server.stop()


@pytest.fixture(autouse=True)
def _serving(host: HostRecord, bucket: object) -> Iterator[None]:  # noqa: ARG001
    """The engine runs and there is no notice, before each test and after it. The bucket is there."""
    calm = f"""{FUNCTIONS}
        # Its last command kills what still runs, also an engine that a test has started again.
        await '[ "$(systemctl show --value -p ActiveState {SPOT_STOP_UNIT})" = inactive ]'
        rm -f /run/metadata/*; systemctl restart {SPOT_UNIT}; systemctl start vllm.service; up
        await '[ "$(says {SPOT_UNIT})" = "no notice" ]'
        """
    remote(host, calm)
    yield
    remote(host, calm)


def test_a_notice_drains_lets_answers_end_and_stops_the_engine_in_time(host: HostRecord) -> None:
    said = remote(
        host,
        FUNCTIONS
        + f"""
        key=$(sed -n s/^VLLM_API_KEY=//p {ENGINE_ENV})
        curl -sSN -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \
            -d '{{"model": "tiny", "prompt": "Hello", "stream": true}}' http://127.0.0.1:8000/v1/completions \
            > /run/stream &
        await '[ -s /run/stream ]'
        began=$(now_ms)
        put action "{{\\"action\\": \\"terminate\\", \\"time\\": \\"$(date -u -d '+15 seconds' +%FT%TZ)\\"}}"
        drained; echo $(($(now_ms) - began))
        await 'says {WATCH_UNIT} | grep -q ^drains'; await 'says {SPOT_UNIT} | grep -q takes'
        agent; says {SPOT_UNIT}; says {WATCH_UNIT}
        wait; tail -n 2 /run/stream | tr -d '\\n'; echo
        systemctl is-active vllm.service
        await '! systemctl -q is-active vllm.service'; echo $(($(now_ms) - began))
        agent
        journalctl -q --no-pager -o cat -u {SPOT_UNIT}
        """,
    )
    drained_ms, agent, notice, watch, stream, active, stopped_ms, still, *journal = said.splitlines()
    assert int(drained_ms) < patient(1000)
    assert agent.startswith("drain # aws takes the machine back at ")
    assert notice.startswith("aws takes the machine back at ")
    assert watch.startswith("drains: aws takes the machine back at ")
    assert stream == "data: [DONE]"
    assert active == "active"
    assert 3000 < int(stopped_ms) < patient(15000)
    assert still.startswith("drain # aws takes")
    assert "asks for the engine's stop" in journal


def test_the_last_records_go_to_the_bucket_when_the_host_drains(host: HostRecord, bucket: Any) -> None:
    said = remote(
        host,
        FUNCTIONS
        + f"""
        put action "{{\\"action\\": \\"stop\\", \\"time\\": \\"$(date -u -d '+120 seconds' +%FT%TZ)\\"}}"; drained
        await 'says {SPOT_UNIT} | grep -q "records\\|sent"'; says {SPOT_UNIT}
        journalctl -q --no-pager -o cat -u {SPOT_UNIT} | tail -n 1
        systemctl is-active vllm.service; ls /run/llm-notice
        """,
    )
    state, journal, active, *files = said.splitlines()
    assert active == "active"
    assert files == ["notice.json", "sent.json"]
    assert f": stop; its records are in s3://llm-test/notices/llm-test/{host.name}/" in state
    assert "not sent" not in state
    assert journal == state.partition("; ")[2]
    folder = state.rpartition("s3://llm-test/")[2]
    listed = bucket.list_objects_v2(Bucket="llm-test", Prefix=folder)["Contents"]
    content = {
        each["Key"].removeprefix(folder): bucket.get_object(Bucket="llm-test", Key=each["Key"])["Body"].read()
        for each in listed
    }
    assert content.keys() == {"notice.json", "adapters.json", "access.log.gz", "journal.log.gz"}
    assert json.loads(content["notice.json"])["kind"] == "stop"
    assert "takes the machine back" in gzip.decompress(content["journal.log.gz"]).decode()


def test_a_bucket_out_of_reach_is_shown_and_delays_nothing(host: HostRecord) -> None:
    said = remote(
        host,
        FUNCTIONS
        + f"""
        mkdir -p /run/systemd/system/{RECORDS_UNIT}.d
        printf '[Service]\\nEnvironment=AWS_ENDPOINT_URL_S3=http://127.0.0.1:1\\n' \
            > /run/systemd/system/{RECORDS_UNIT}.d/t3.conf; systemctl daemon-reload
        trap 'rm /run/systemd/system/{RECORDS_UNIT}.d/t3.conf; systemctl daemon-reload' EXIT
        put action "{{\\"action\\": \\"stop\\", \\"time\\": \\"$(date -u -d '+14 seconds' +%FT%TZ)\\"}}"; drained
        await 'says {SPOT_UNIT} | grep -q "not sent"'; says {SPOT_UNIT}
        await '! systemctl -q is-active vllm.service'
        """,
    )
    assert "; not sent: notice.json: [Errno 111] Connection refused; " in said


def test_a_notice_that_is_taken_back(host: HostRecord) -> None:
    said = remote(
        host,
        FUNCTIONS
        + """
        put action "{\\"action\\": \\"stop\\", \\"time\\": \\"$(date -u -d '+120 seconds' +%FT%TZ)\\"}"; drained
        rm /run/metadata/action; up; systemctl is-active vllm.service
        await '[ -z "$(ls /run/llm-notice)" ]'
        """,
    )
    assert said.split() == ["active"]


def test_answers_that_cannot_be_read_drain_and_stop_nothing(host: HostRecord) -> None:
    notice = "touch /run/metadata/garbage; put action '{}'"
    said = remote(host, f"{FUNCTIONS}{notice}; drained; agent; systemctl is-active vllm.service")
    assert said.splitlines() == ["drain # aws takes the machine back: unreadable notice", "active"]


def test_a_recommendation_is_shown_only(host: HostRecord) -> None:
    said = remote(host, FUNCTIONS + f"put rebalance '{{}}'; await 'says {SPOT_UNIT} | grep -q rebalance'; agent")
    assert said.startswith("up ready")


def test_a_service_without_tokens_is_shown(host: HostRecord) -> None:
    """Version 1 of the service would need none; it is not used."""
    said = remote(
        host,
        FUNCTIONS
        + f"""
        touch /run/metadata/refuse; systemctl restart {SPOT_UNIT}
        await 'says {SPOT_UNIT} | grep -q refuses'; says {SPOT_UNIT}; agent | cut -c1-2
        """,
    )
    assert said.splitlines() == ["cannot ask the cloud: the metadata service refuses a token: 403", "up"]


def test_gcp_says_preempted(host: HostRecord) -> None:
    said = remote(
        host,
        FUNCTIONS
        + f"""
        sed -i.kept 's/"aws"/"gcp"/' /etc/llm/spot-notice.json; systemctl restart {SPOT_UNIT}
        await '[ "$(says {SPOT_UNIT})" = "no notice" ]'
        began=$(now_ms); put preempted TRUE; drained; echo $(($(now_ms) - began)); agent
        rm /run/metadata/preempted; up
        mv /etc/llm/spot-notice.json.kept /etc/llm/spot-notice.json; systemctl restart {SPOT_UNIT}
        """,
    )
    milliseconds, agent = said.splitlines()
    assert int(milliseconds) < patient(1000)
    assert agent.startswith("drain # gcp takes the machine back at ")
    assert agent.endswith(": preempted")


def test_an_engine_that_hangs_is_ended_and_started_by_systemd(host: HostRecord) -> None:
    said = remote(
        host,
        FUNCTIONS
        + f"""
        before=$(systemctl show --value -p NRestarts vllm.service)
        began=$(now_ms)
        kill -STOP "$(systemctl show --value -p MainPID vllm.service)"
        await 'case "$(agent)" in down*) ;; *) false ;; esac'; echo $(($(now_ms) - began)); agent
        await '[ "$(systemctl show --value -p NRestarts vllm.service)" -gt '$before' ]'; up
        ls /run/llm-watch; says {WATCH_UNIT}
        """,
    )
    down_ms, reason, *files, watch = said.splitlines()
    assert int(down_ms) < patient(5000)
    assert reason == "down # python3 is stopped by a signal or a debugger"
    assert files == ["admitted"]
    assert watch.endswith("1 hangs and 1 restarts")


def test_an_engine_that_hangs_again_and_again_is_stopped_by_its_start_limit(host: HostRecord) -> None:
    """The watcher asks for the end of the engine alone. Only systemd starts it, as often as its unit says."""
    said = remote(
        host,
        FUNCTIONS
        + """
        limit=/run/systemd/system/vllm.service.d; mkdir -p $limit
        printf '[Unit]\\nStartLimitIntervalSec=600\\nStartLimitBurst=2\\n' > $limit/limit.conf
        trap 'rm -r $limit; systemctl daemon-reload; systemctl reset-failed vllm.service' EXIT
        systemctl daemon-reload; systemctl reset-failed vllm.service; systemctl restart vllm.service
        shows() { systemctl show --value -p "$1" vllm.service; }
        hangs() { pid=$(shows MainPID); touch /run/llm-watch/restart; await '[ "$(shows MainPID)" != $pid ]'; }
        hangs; await '[ "$(shows ActiveState)" = active ]'; shows NRestarts
        hangs; await '[ "$(shows ActiveState)" = failed ]'
        touch /run/llm-watch/restart; await '! [ -e /run/llm-watch/restart ]'; shows ActiveState
        await 'case "$(agent)" in down*) ;; *) false ;; esac'
        """,
    )
    assert said.split() == ["1", "failed"]
