"""The smoke test passes on a sound endpoint, and each check fails for its own fault."""

import json
import socket
import ssl
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import CheckError, ConfigError
from provisioning.access.certificates import CA_CERTIFICATE, server_certificate
from serving.endpoint import Endpoint, write_endpoint
from serving.smoke.run import main, smoke, wait_until_ready
from tests.doubles.engine import ENGINE_KEY, EngineDouble, running_engine
from tests.gateways import ADDRESS, CLIENT_KEY, free_port, running_gateway
from tests.unit import first_words

ALL = [
    "certificate_valid",
    "models_listed",
    *(f"{kind}[{name}]" for name in ("tiny", "contract", "contract@1") for kind in ("answers", "streams")),
    "differs[contract]",
    "log_probabilities",
    "wrong_key_401",
    "no_key_401",
    "unknown_model_404",
    "forbidden_path_404",
    "engine_port_closed",
    "speed",
]


def result(tmp_path: Path) -> dict[str, Any]:
    """Return the written result."""
    kept: dict[str, Any] = json.loads((tmp_path / "runs" / "demo" / "latest" / "smoke.json").read_text())
    return kept


def failed(tmp_path: Path) -> list[str]:
    return [check["name"] for check in result(tmp_path)["checks"] if not check["ok"]]


def test_sound_endpoint_passes_every_check(endpoint: Endpoint, tmp_path: Path) -> None:
    assert smoke(endpoint) == 0
    kept = result(tmp_path)
    assert set(kept) == {"stack", "endpoint", "ok", "checks"}
    assert (kept["stack"], kept["endpoint"], kept["ok"]) == ("demo", endpoint.url, True)
    assert [check["name"] for check in kept["checks"]] == ALL
    for check in kept["checks"]:
        assert set(check) == {"name", "ok", "seconds", "detail"}
        assert check["detail"]
        assert check["seconds"] >= 0


def test_the_engine_of_each_pool_is_checked(endpoint: Endpoint, tmp_path: Path) -> None:
    """Log probabilities, speed, ports and Ollama's own API were once checked for pool main only."""
    bases = {"contract": "contract", "contract@1": "contract"}
    pools = endpoint.model_copy(update={"bases": bases, "adapters": (), "ollama_model": "contract"})

    assert smoke(pools) == 0

    names = [check["name"] for check in result(tmp_path)["checks"]]
    of_pools = [
        "log_probabilities[tiny]",
        "log_probabilities[contract]",
        "native_api",
        "speed[tiny]",
        "speed[contract]",
    ]
    assert [name for name in names if name in of_pools] == of_pools
    assert not {"log_probabilities", "speed"} & set(names)

    with socket.create_server((ADDRESS, 0)) as listener:
        assert smoke(pools.model_copy(update={"other_engine_ports": (listener.getsockname()[1],)})) == 1
    assert failed(tmp_path) == ["engine_port_closed"]


def test_speed_is_recorded_in_numbers(endpoint: Endpoint, tmp_path: Path) -> None:
    smoke(endpoint)
    numbers = dict(word.split("=") for word in result(tmp_path)["checks"][-1]["detail"].split())
    assert set(numbers) == {"first_token_s", "tokens_per_s", "tokens"}
    assert float(numbers["tokens_per_s"]) > 0


ANSWERS = [name for name in ALL if name.startswith("answers")]
STREAMS = [name for name in ALL if name.startswith("streams")]

FAULTS: dict[str, list[str]] = {
    "missing_model": ["models_listed"],
    "extra_model": ["models_listed"],
    "same_answers": ["differs[contract]"],
    "empty_answers": [*ANSWERS, *STREAMS, "differs[contract]", "log_probabilities", "speed"],
    "dies_of_logprobs": ["log_probabilities"],
    "stream_whole": [*STREAMS, "speed"],
    "stream_cut": [*STREAMS, "speed"],
    "any_key": ["wrong_key_401"],
    "no_key_needed": ["wrong_key_401", "no_key_401"],
    "any_model": ["unknown_model_404"],
    "open_paths": ["forbidden_path_404"],
    "overloaded": [*ANSWERS, *STREAMS, "differs[contract]", "log_probabilities", "unknown_model_404", "speed"],
    "hang_up": [*ANSWERS, *STREAMS, "differs[contract]", "log_probabilities", "unknown_model_404", "speed"],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_fails_its_checks_and_no_other(
    endpoint: Endpoint, engine: EngineDouble, tmp_path: Path, fault: str
) -> None:
    engine.faults.add(fault)
    assert smoke(endpoint) == 1
    assert sorted(failed(tmp_path)) == sorted(FAULTS[fault])
    assert [check["name"] for check in result(tmp_path)["checks"]] == ALL


def test_every_check_has_a_fault_that_fails_it() -> None:
    """Certificate and port have their own tests below."""
    covered = {name for names in FAULTS.values() for name in names}
    assert covered | {"certificate_valid", "engine_port_closed"} == set(ALL)


def test_engine_port_that_can_be_reached_is_a_failure(endpoint: Endpoint, tmp_path: Path) -> None:
    with socket.create_server((ADDRESS, 0)) as listener:
        assert smoke(endpoint.model_copy(update={"engine_port": listener.getsockname()[1]})) == 1
    assert failed(tmp_path) == ["engine_port_closed"]


@pytest.mark.parametrize(
    ("names", "age_h", "reported"),
    [
        (("192.0.2.1",), 0, "not valid for 127.0.0.1"),
        ((ADDRESS,), 37, "provision renews it"),
        ((ADDRESS,), 49, "certificate has expired"),
    ],
)
def test_certificate_that_is_not_good_is_a_failure(
    endpoint: Endpoint, tmp_path: Path, names: tuple[str, ...], age_h: int, reported: str
) -> None:
    now = datetime.now(UTC) - timedelta(hours=age_h)
    server_certificate(tmp_path / "bad.pem", tmp_path / "ca", names, 2, now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "bad.pem")
    with running_engine(tls=context) as engine:
        url = f"https://{ADDRESS}:{engine.port}"
        bad = endpoint.model_copy(update={"url": url, "ca": tmp_path / "ca" / CA_CERTIFICATE})
        assert smoke(bad) == 1
    checks = {check["name"]: check for check in result(tmp_path)["checks"]}
    assert reported in checks["certificate_valid"]["detail"]
    assert not checks["certificate_valid"]["ok"]


def test_certificate_of_another_ca_is_a_failure(endpoint: Endpoint, tmp_path: Path) -> None:
    server_certificate(tmp_path / "other.pem", tmp_path / "other", (ADDRESS,), 90, datetime.now(UTC))
    assert smoke(endpoint.model_copy(update={"ca": tmp_path / "other" / CA_CERTIFICATE})) == 1
    assert "certificate_valid" in failed(tmp_path)


def test_key_is_in_no_result_and_on_no_screen(
    endpoint: Endpoint, engine: EngineDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for fault in ("", "overloaded", "hang_up"):
        engine.faults = {fault}
        smoke(endpoint)
    screen = capsys.readouterr()
    assert ENGINE_KEY not in screen.out + screen.err
    assert all(ENGINE_KEY not in path.read_text() for path in (tmp_path / "runs").rglob("*.json"))


def test_unreachable_endpoint_is_one_line_and_exit_1(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_endpoint(endpoint.model_copy(update={"url": f"https://{ADDRESS}:{free_port()}"}))
    assert main(["--stack", "demo"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["→ smoke test of demo", "error"]
    assert "cannot be reached: no answer ([Errno 111] Connection refused)" in lines[1]
    assert failed(tmp_path) == ["reachable"]


def test_second_host_is_checked_too_and_named(endpoint: Endpoint, tmp_path: Path) -> None:
    twice = endpoint.model_copy(update={"other_urls": (endpoint.url,)})
    assert smoke(twice) == 0
    host = endpoint.url.removeprefix("https://")
    assert [check["name"] for check in result(tmp_path)["checks"]] == [f"{name}@{host}" for name in ALL * 2]


def test_json_goes_to_stdout_alone(endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_endpoint(endpoint)
    assert main(["--stack", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result(tmp_path)


def test_table_names_each_check(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    smoke(endpoint)
    table = capsys.readouterr().out
    assert all(name in table for name in ALL)


def test_endpoint_file_can_be_named(endpoint: Endpoint) -> None:
    assert main(["--endpoint", str(write_endpoint(endpoint))]) == 0


@pytest.mark.parametrize(("faults", "line"), [(set[str](), "next: all passed"), ({"any_key"}, "next: one failed")])
def test_next_commands_come_from_the_caller(
    endpoint: Endpoint, engine: EngineDouble, capsys: pytest.CaptureFixture[str], faults: set[str], line: str
) -> None:
    engine.faults |= faults
    smoke(endpoint, next_commands=lambda ok: ["all passed" if ok else "one failed"])
    assert capsys.readouterr().err.splitlines()[-1] == line


def test_an_endpoint_alone_names_no_next_command(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    """It once printed a literal `--inventory FILE` for hosts without a known file."""
    main(["--endpoint", str(write_endpoint(endpoint))])
    assert "next:" not in capsys.readouterr().err


WRONG_USAGE: list[tuple[Callable[[Path], list[str]], str]] = [
    (lambda _: ["--stack", "none"], "hint: make provision STACK=none"),
    (lambda folder: ["--endpoint", str(folder / "none.json")], "there is no such file"),
    (lambda folder: ["--endpoint", str(written(folder, "{"))], "none.json"),
    (lambda folder: ["--endpoint", str(written(folder, '{"stack": "demo"}'))], "is missing"),
]


def written(folder: Path, text: str) -> Path:
    path = folder / "none.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("arguments", "reported"), WRONG_USAGE)
def test_wrong_endpoint_file_is_reported_with_exit_2(
    arguments: Callable[[Path], list[str]], reported: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path)) == 2
    said = capsys.readouterr().err
    assert reported.removeprefix("hint: ") in said
    assert "Traceback" not in said


def test_missing_key_or_ca_is_reported_before_any_check(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contains no key of other"):
        smoke(endpoint.model_copy(update={"client": "other"}))
    with pytest.raises(ConfigError, match="contains no CA"):
        smoke(endpoint.model_copy(update={"ca": tmp_path / "none.pem"}))


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self.naps: list[float] = []
        self._on_sleep = on_sleep

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        self._on_sleep()


def test_waits_until_the_endpoint_is_healthy(endpoint: Endpoint, engine: EngineDouble) -> None:
    engine.faults.add("unhealthy")
    clock = Clock()
    clock = Clock(lambda: engine.faults.discard("unhealthy") if clock.now >= 3 else None)
    wait_until_ready(endpoint.url, endpoint.ca, 60, clock=clock, sleep=clock.sleep)
    assert clock.naps == [1.0, 1.0, 1.0]


def test_waits_no_longer_than_wait_s(endpoint: Endpoint, engine: EngineDouble) -> None:
    engine.faults.add("unhealthy")
    clock = Clock()
    with pytest.raises(CheckError, match=r"is not ready: GET /health returns 503 after 2\.5 s"):
        wait_until_ready(endpoint.url, endpoint.ca, 2.5, clock=clock, sleep=clock.sleep)
    assert clock.naps == [1.0, 1.0, 0.5]


def test_unhealthy_endpoint_is_checked_all_the_same_when_not_asked_to_wait(
    endpoint: Endpoint, engine: EngineDouble
) -> None:
    engine.faults.add("unhealthy")
    assert smoke(endpoint) == 0


def test_passes_through_the_real_gateway(endpoint: Endpoint, tmp_path: Path) -> None:
    with running_engine() as engine, running_gateway(tmp_path, engine) as gateway:
        endpoint.keys_file.write_text(json.dumps({"default": CLIENT_KEY}))
        behind = endpoint.model_copy(update={"url": gateway.url, "ca": gateway.ca})
        assert smoke(behind) == 0
        assert [check["name"] for check in result(tmp_path)["checks"]] == ALL


def test_first_words_come_before_anything_heavy_is_imported(endpoint: Endpoint) -> None:
    write_endpoint(endpoint)
    said = first_words.run([sys.executable, "-m", "serving.smoke", "--stack", "demo"])
    assert said.first == "→ smoke test of demo"
    assert said.packages & first_words.HEAVY == set()
    assert said.status == 0


def test_gpu_hosts_are_looked_at_after_the_endpoint_has_answered(endpoint: Endpoint, tmp_path: Path) -> None:
    """The report of a host is a check like the others. A GPU host that is not checked is a failure."""
    on_gpu = endpoint.model_copy(update={"gpu_hosts": ("a", "b")})

    def look(name: str) -> str:
        if name == "b":
            raise CheckError("it computes on the CPU")
        return "14.9 GiB of VRAM"

    assert smoke(on_gpu, look_at_gpu=look) == 1
    assert [check["name"] for check in result(tmp_path)["checks"]] == [*ALL, "gpu[a]", "gpu[b]"]
    assert failed(tmp_path) == ["gpu[b]"]
    assert smoke(on_gpu) == 1
    assert failed(tmp_path) == ["gpu[a]", "gpu[b]"]
