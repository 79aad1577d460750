"""A real HAProxy on loopback with the configuration that the gateway role writes, for tests; no root, no systemd."""

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provisioning.access.certificates import CA_CERTIFICATE, server_certificate
from provisioning.access.credentials import Credentials
from provisioning.converge.resources import Secret
from provisioning.roles.gateway.gateway import haproxy_config, keys_map
from provisioning.roles.gateway.policy import POLICY, policy_text, scripts
from provisioning.roles.gateway.pools import Pool, PoolServer, loopback_pool
from provisioning.roles.gateway.process import MALLOC, Places
from serving.spec.models import GatewaySpec, ServingSpec
from tests.doubles.engine import ENGINE_KEY, EngineDouble
from tests.slowness import patient

ADDRESS = "127.0.0.1"
POOL = "main"
ENGINE_HOST = "gpu-1"
CLIENT = "default"
CLIENT_KEY = "sk-test-0123456789abcdefghijklmnopqrstuvwxyz"
SECOND_CLIENT = "second"
SECOND_KEY = "sk-test-second-abcdefghijklmnopqrstuvwxyz"
DEADLINE_S = patient(120.0)
MASTER_SOCKET = "master.sock"


def wait_for(true: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until `true()`; fail the test if that takes too long."""
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, f"waited {deadline_s} s for: {what}"
        time.sleep(0.01)


def free_port() -> int:
    """Return an unused port of loopback."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def vllm_serving(port: int, name: str = "tiny", adapters: Sequence[str] = ()) -> ServingSpec:
    """Return the spec of an engine at `port`."""
    tiny = {"kind": "tiny", "name": "llama"}
    listed = [{"name": each, "source": {**tiny, "adapter": "a"}} for each in adapters]
    model = {"name": name, "source": tiny}
    return ServingSpec.model_validate({"model": model, "adapters": listed, "vllm": {"port": port}})


def adapter_serving(port: int) -> ServingSpec:
    """Return the spec of a vLLM at `port` with an adapter: its names are tiny, contract and contract@1."""
    tiny = {"kind": "tiny", "name": "llama"}
    adapters = [{"name": "contract", "source": {**tiny, "adapter": "a"}}]
    model = {"name": "tiny", "source": tiny}
    return ServingSpec.model_validate({"model": model, "adapters": adapters, "vllm": {"port": port}})


def ollama_serving(port: int = 11434, *, native_api: bool = False) -> ServingSpec:
    """Return the spec of an Ollama at `port`."""
    model = {"name": "tiny", "source": {"kind": "tiny", "name": "llama"}}
    ollama = {"port": port, "native_api": native_api}
    return ServingSpec.model_validate({"engine": "ollama", "model": model, "ollama": ollama})


@dataclass(frozen=True)
class Reply:
    """An answer as received."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The code in an error of OpenAI's format; fails for another format."""
        assert self.headers["content-type"] == "application/json"
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"]
        code: str | None = error["code"]
        return code


@dataclass
class RunningGateway:
    """HAProxy, with the queries of the tests."""

    port: int
    places: Places
    ca: Path
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"https://{ADDRESS}:{self.port}"

    def tls(self, ca: Path | None = None) -> ssl.SSLContext:
        """Return the TLS context of a client that trusts our CA."""
        return ssl.create_default_context(cafile=str(ca or self.ca))

    def connect(self) -> ssl.SSLSocket:
        """Return a connection.

        Wrapped before it is connected: when HAProxy resets a connection at once, `wrap_socket` of Python 3.11 leaves
        a connected socket open that nobody can close.
        """
        connection = self.tls().wrap_socket(socket.socket(), server_hostname=ADDRESS)
        try:
            connection.settimeout(DEADLINE_S)
            connection.connect((ADDRESS, self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def connect_plain(self, source: str = ADDRESS, to: str = ADDRESS) -> socket.socket:
        """Return a connection from the address `source` on which nothing has been sent: no handshake yet."""
        return socket.create_connection((to, self.port), timeout=DEADLINE_S, source_address=(source, 0))

    def exchange(self, request: bytes) -> Reply:
        """Send `request` byte by byte as it is; return the one answer.

        Like HTTP clients, keeps reading if the other side closes before it has received everything.
        """
        with self.connect() as connection:
            with suppress(OSError):
                connection.sendall(request)
            return read_reply(connection)

    def ask(self, method: str, target: str, *headers: str, key: str | None = CLIENT_KEY, body: bytes = b"") -> Reply:
        """Send an ordinary request with `target` untouched."""
        lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *headers]
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        return self.exchange(head + body)

    def log(self) -> str:
        """Return all that HAProxy wrote so far."""
        return (self.folder / "log").read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the lines of the access log."""
        return [json.loads(line[3:]) for line in self.log().splitlines() if line.startswith("<6>{")]

    def logged(self, request_id: str) -> dict[str, Any]:
        """Return the line of one request, which is written when its answer has ended."""
        wait_for(lambda: any(line["request_id"] == request_id for line in self.log_lines()), f"log of {request_id}")
        return next(line for line in self.log_lines() if line["request_id"] == request_id)

    def admin(self, command: str) -> str:
        """Return HAProxy's answer on its admin socket."""
        return _command(self.places.admin_socket, command)

    def worker(self) -> str:
        """Return the process id of the worker that takes new connections."""
        found = re.search(r"^Pid: (\d+)", self.admin("show info"), re.MULTILINE)
        assert found
        return found.group(1)

    def waiting(self, pool: str = POOL) -> int:
        """Return how many requests wait for a place, of whichever host or of the only one that may take them."""
        return sum(int(row["qcur"] or 0) for row in self._stat(pool))

    def engine_is(self, state: str, server: str = ENGINE_HOST, pool: str = POOL) -> bool:
        """Return whether HAProxy's state of the engine on the host `server` is `state`, UP or DOWN."""
        rows = [row for row in self._stat(pool) if row["svname"] == server]
        return rows[0]["status"].startswith(state)

    def reload(self) -> None:
        """Reload like systemd, and wait until a new worker serves."""
        wait_for(self.is_ready, "HAProxy to be ready for a reload")
        before = self.worker_or_none()
        with suppress(ConnectionResetError):  # the master restarts itself and its socket
            _command(self._master_socket, "reload")
        wait_for(lambda: self.is_ready() and self.worker_or_none() != before, "a new worker")

    def is_ready(self) -> bool:
        """Return whether worker and master listen: before that, the master loses signals."""
        if self.worker_or_none() is None:
            return False
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(self._master_socket) == 0

    def has_ended(self) -> bool:
        """Return whether the master has ended.

        That of 2.4 may sleep for up to 60 s over a signal that comes just before it waits; a connection wakes it.
        """
        if self.process.poll() is not None:
            return True
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._master_socket)
        return False

    @property
    def _master_socket(self) -> str:
        return f"{self.folder}/{MASTER_SOCKET}"

    def worker_or_none(self) -> str | None:
        """Return the worker's process id; None before the first worker and between two."""
        try:
            return self.worker()
        except (OSError, AssertionError):
            return None

    def _stat(self, pool: str) -> list[dict[str, str]]:
        lines = self.admin("show stat").removeprefix("# ").strip().splitlines()
        names = lines[0].split(",")
        return [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line.startswith(f"{pool},")]


@contextmanager
def running_gateway(
    folder: Path, engine: EngineDouble | int, *, serving: ServingSpec | None = None, address: str = ADDRESS, **spec: Any
) -> Iterator[RunningGateway]:
    """Run HAProxy in front of `engine`, or of a port that may be closed; without `serving` the engine is vLLM.

    `spec` has unchecked fields of GatewaySpec: tests use shorter times than users may write.
    """
    gateway = gateway_spec(**spec)
    serving = serving or vllm_serving(engine if isinstance(engine, int) else engine.port, adapters=("contract",))
    with gateway_before(
        folder, [loopback_pool(POOL, ENGINE_HOST, serving, gateway)], gateway, address=address
    ) as running:
        yield running


def engine_pool(
    engines: Mapping[str, EngineDouble], *, places: int = 1, names: Sequence[str] = ("tiny",), name: str = POOL
) -> Pool:
    """Return a pool of engines, by the names of their hosts. A host has those of `names` that its engine serves."""
    base, *adapters = names
    serving = vllm_serving(8000, base, adapters)
    servers = tuple(
        PoolServer(name=host, port=each.port, places=places, names=tuple(n for n in names if n in each.models))
        for host, each in engines.items()
    )
    return Pool(name=name, serving=serving, servers=servers)


def gateway_spec(**spec: Any) -> GatewaySpec:
    """Return the spec of a gateway on a free port, with unchecked fields `spec`."""
    return GatewaySpec(port=free_port(), clients=(CLIENT, SECOND_CLIENT)).model_copy(update=spec)


@contextmanager
def gateway_before(
    folder: Path,
    pools: Sequence[Pool],
    gateway: GatewaySpec,
    *,
    address: str = ADDRESS,
    door_ca: Path | None = None,
    overflow_port: int = 1,
) -> Iterator[RunningGateway]:
    """Run HAProxy in front of `pools`. `door_ca`: the CA of pools on other hosts."""
    places = replace(places_in(folder, address, door_ca), overflow_address=f"{ADDRESS}:{overflow_port}")
    pem = server_certificate(folder / "kept.pem", folder / "ca", (ADDRESS,), 2, datetime.now(UTC))
    credentials = sample_credentials(pem)
    Path(places.certificate).write_text(pem)
    Path(places.keys).write_text(keys_map(credentials))
    write_lua(places, pools, gateway)
    Path(places.config).write_text(haproxy_config(pools, gateway, places))
    with running_haproxy(folder, places, gateway.port) as running:
        yield running


def places_in(folder: Path, address: str = ADDRESS, door_ca: Path | None = None) -> Places:
    """Return the places of a HAProxy that runs in `folder` without root."""
    return Places(
        config=f"{folder}/haproxy.cfg",
        certificate=f"{folder}/server.pem",
        keys=f"{folder}/keys.map",
        lua=f"{folder}/lua",
        ca=str(door_ca),
        admin_socket=f"{folder}/admin.sock",
        address=address,
        metrics_address=f"{ADDRESS}:{free_port()}",
        user="",
    )


@contextmanager
def running_haproxy(folder: Path, places: Places, port: int) -> Iterator[RunningGateway]:
    """Run HAProxy with the files at `places`; it listens at `port`."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [haproxy(), "-W", "-S", f"{folder}/{MASTER_SOCKET}", "-f", places.config],
            stdout=log,
            stderr=log,
            env={**os.environ, **{name: str(size) for name, size in MALLOC.items()}, "VLLM_API_KEY": ENGINE_KEY},
            cwd=folder,
        )
    running = RunningGateway(port, places, folder / "ca" / CA_CERTIFICATE, folder, process)
    try:
        wait_for(lambda: process.poll() is not None or running.is_ready(), "HAProxy")
        assert process.poll() is None, running.log()
        yield running
    finally:
        process.terminate()
        wait_for(running.has_ended, "HAProxy to end")


def write_lua(places: Places, pools: Sequence[Pool], gateway: GatewaySpec) -> None:
    """Write the files that HAProxy's Lua needs."""
    Path(places.lua).mkdir(exist_ok=True)
    for name, text in (scripts() | {POLICY: policy_text(pools, gateway)}).items():
        (Path(places.lua) / name).write_text(text)


def body_of(size: int) -> bytes:
    """Return a request body of `size` bytes."""
    begin, end = b'{"model":"tiny","prompt":"', b'"}'
    return begin + b"x" * (size - len(begin + end)) + end


def _command(path: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def sample_credentials(certificate: str = "PEM") -> Credentials:
    """Return credentials with two clients."""
    keys = {CLIENT: CLIENT_KEY, SECOND_CLIENT: SECOND_KEY}
    hashes = tuple((name, hashlib.sha256(key.encode()).hexdigest()) for name, key in keys.items())
    return Credentials(certificate=Secret(certificate), key_hashes=hashes, ca=None, names=(ADDRESS,))


def haproxy() -> str:
    """Return HAProxy's path: the variable HAPROXY, or the installed one. /usr/sbin is not on everybody's PATH."""
    found = os.environ.get("HAPROXY") or shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found, "these tests need the package haproxy: tools/bootstrap.sh tests"
    return found


def read_reply(connection: ssl.SSLSocket) -> Reply:
    """Read one answer, after an optional `100 Continue`: its head, then as much as it announces, or to the end."""
    data, status = b"", 100
    while status == 100:
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            assert more, f"the connection ended within the head: {data!r}"
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    length = int(headers["content-length"]) if "content-length" in headers else None
    body = data
    while length is None or len(body) < length:
        more = connection.recv(65536)
        if not more:
            break
        body += more
    return Reply(status, headers, body)
