"""A real overflow service in a process of its own, in front of provider doubles, for tests."""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.paths import CHECKOUT
from services.overflow.money import NANO
from services.overflow.settings import Cap, Model, Provider, Settings
from serving.spec.gateway_overflow import OverflowSpec
from tests.doubles.llm_provider import PROVIDER_KEY, ProviderDouble
from tests.gateways import ADDRESS, DEADLINE_S, free_port, wait_for

ALIAS = "tiny"
EMBEDDER = "embedder"
CLIENT = "default"
PRICE_IN, PRICE_OUT = 3 * NANO, 15 * NANO
"""3 and 15 USD for a million tokens."""
RICH = Cap(1000 * NANO, 10_000 * NANO)


def provider_at(double: ProviderDouble | int, name: str = "first", **fields: Any) -> Provider:
    """Return the settings of a provider at a double, or at a port."""
    port = double if isinstance(double, int) else double.port
    model = Model("their/tiny", PRICE_IN, PRICE_OUT)
    path = "/v1" if fields.get("kind", "openai") == "openai" else ""
    usual: dict[str, Any] = {
        "name": name,
        "kind": "openai",
        "url": f"http://{ADDRESS}:{port}{path}",
        "key": f"key-{name}",
        "models": {ALIAS: model, EMBEDDER: Model("their/embedder", PRICE_IN, 0, embeddings=True)},
        "cap": RICH,
        "requests_per_minute": 100_000,
        "tokens_per_minute": 1_000_000_000,
        "timeout_s": 10,
        "completions": True,
        "added_tokens": 64,
    }
    return Provider(**usual | fields)


def chat(text: str = "hello") -> dict[str, Any]:
    """Return the body of a chat with one message."""
    return {"model": ALIAS, "messages": [{"role": "user", "content": text}]}


@dataclass
class Reply:
    """An answer as received."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, or the error in it."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of an error."""
        error = self.json.get("error")
        return error["code"] if error else None

    @property
    def events(self) -> list[Any]:
        """The events of a stream; the last one is often the text [DONE]."""
        lines = [line.removeprefix("data: ") for line in self.body.decode().split("\n\n") if line]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


@dataclass
class RunningOverflow:
    """The service with the tests' queries."""

    settings: Settings
    process: "subprocess.Popen[bytes]"
    folder: Path

    def ask(
        self,
        path: str = "/v1/chat/completions",
        *,
        data: str | None = "public",
        client: str | None = CLIENT,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Reply:
        """Send a request as the gateway does."""
        asked = {
            "/v1/embeddings": {"model": ALIAS, "input": "hello"},
            "/v1/completions": {"model": ALIAS, "prompt": "hello"},
        }.get(path, chat()) | body
        given = {"X-LLM-Data-Class": data, "X-LLM-Client": client, **(headers or {})}
        sent = {name: value for name, value in given.items() if value is not None}
        return self.exchange("POST", path, json.dumps(asked).encode(), sent)

    def exchange(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """Send any request."""
        connection = http.client.HTTPConnection(ADDRESS, self.settings.port, timeout=DEADLINE_S)
        with closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())

    def ready(self) -> bool:
        """Return whether the service says that it may spend something."""
        try:
            return self.exchange("GET", "/ready").status == 200
        except OSError:
            return False

    def metrics(self) -> dict[str, float]:
        """Return the metrics, by name with labels."""
        connection = http.client.HTTPConnection(ADDRESS, self.settings.metrics_port, timeout=DEADLINE_S)
        with closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def spent(self) -> int:
        """Return the sum of the ledger's totals in nano-USD, reservations included."""
        return spent_in(self.settings.ledger)

    def log(self) -> str:
        """Return all that the service wrote."""
        return (self.folder / "overflow.log").read_text()

    def kill(self) -> None:
        """End the service as `kill -9` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)


def spent_in(ledger: str) -> int:
    """Return the sum of a ledger's totals in nano-USD. Fails if they are not the sum of its charges."""
    with closing(sqlite3.connect(ledger)) as db:
        (total,) = db.execute("SELECT COALESCE(SUM(spent), 0) FROM totals").fetchone()
        (charged,) = db.execute("SELECT COALESCE(SUM(COALESCE(settled, reserved)), 0) FROM charges").fetchone()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert total == charged
    return int(total)


def settings_of(folder: Path, *providers: Provider, **fields: Any) -> Settings:
    """Return settings with a ledger in `folder`; `fields` are those of Settings."""
    usual: dict[str, Any] = {
        "providers": providers,
        "cap": RICH,
        "clients": (CLIENT,),
        "internal": False,
        "default_max_tokens": 100,
        "max_body_bytes": 1 << 20,
        "max_requests": 1000,
        "ledger": str(folder / "ledger.sqlite3"),
    }
    return Settings(**usual | fields)


@contextmanager
def running_overflow(
    folder: Path, *providers: Provider, launcher: tuple[str, ...] = (), **fields: Any
) -> Iterator[RunningOverflow]:
    """Run the service; `fields` are those of Settings."""
    settings = settings_of(folder, *providers, **{"port": free_port(), "metrics_port": free_port()} | fields)
    (folder / "settings.json").write_text(settings.to_json())
    for provider in providers:
        (folder / provider.key).write_text(f"{PROVIDER_KEY}\n")
    command = [*launcher, sys.executable, "-m", "services.overflow", str(folder / "settings.json")]
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling an SDK at each start takes seconds
    with (folder / "overflow.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=CHECKOUT, env=environment)
    running = RunningOverflow(settings, process, folder)
    try:
        wait_for(lambda: process.poll() is not None or _listens(settings.port), "the overflow service")
        assert process.poll() is None, running.log()
        yield running
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _listens(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection(ADDRESS, port, timeout=DEADLINE_S)) as connection:
            connection.connect()
    except OSError:
        return False
    return True


def overflow_spec(**fields: Any) -> OverflowSpec:
    """Return the section of a stack file for one provider."""
    provider = {
        "name": "first",
        "kind": "openai",
        "url": "https://api.example.com/v1",
        "key": {"env": "PROVIDER_KEY"},
        "models": [
            {"alias": ALIAS, "model": "their/tiny", "input_usd": 3, "output_usd": 15},
            {"alias": EMBEDDER, "model": "their/embedder", "input_usd": 3, "output_usd": 0, "embeddings": True},
        ],
        "day_usd": 4,
        "month_usd": 40,
    }
    usual: dict[str, Any] = {"day_usd": 5, "month_usd": 50, "providers": [provider]}
    return OverflowSpec.model_validate(usual | fields)
