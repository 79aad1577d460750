"""The part of the demo that overflows: a provider double on this computer takes what the pool has no place for.

`add_provider` writes a copy of the stack's outputs that names the double. The stack file names no provider: without the
demo nothing leaves. `overflowing` sends public and sensitive requests at the same time, and counts who answered.
"""

import json
import secrets
import shutil
import threading
import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from core.console import say
from core.errors import DeployError, UsageError
from core.files import write_atomically
from core.paths import CHECKOUT, STACKS_DIR, outputs_file
from core.waiting.condition import wait_until
from tools.pool_client import TIMEOUT_S, Api, api_of, fab
from tools.provider_double import ProviderDouble, running_double, self_signed

NAME = "provider.test"
"""No name server knows it (RFC 6761); the gateway's machine has it in /etc/hosts."""
PORT = 443
"""The only port that is open to providers."""
PROVIDER = "double"
PUBLIC = "website"
"""The client whose data may leave."""
PUBLIC_CLIENTS = 3
"""One that was let into the queue waits there, while the others go on."""
ANSWER_TOKENS = 32
INPUT_USD, OUTPUT_USD = 0.5, 15
CAP_USD = 0.003
"""Six answers: the demo shows what happens at the cap."""
ANSWERS_AT_LEAST = 5
"""They take 80 % of the cap, so that the alert fires."""
PAUSE_S = 0.3
TAKEN_S = 120
PUBLIC_TEXT = "public: when are you open"
SENSITIVE_TEXT = "sensitive: the contract of Kim"
FROM_PROVIDER = f"X-Served-By: overflow/{PROVIDER}"
DEADLINE_S = 1
"""The longest estimated wait of a batch request: one that would wait longer goes to the provider, or is refused."""


def copy_with_provider(stack: str) -> Path:
    """Return the path of the stack's outputs with a provider."""
    return outputs_file(stack).with_name("provider") / "outputs.json"


def as_typed(path: Path) -> str:
    """Return `path` as a person in the checkout types it."""
    return str(path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path)


def add_provider(stack: str) -> int:
    """Write the provider's key and certificate, and a copy of the outputs with it; tell the gateway its address."""
    outputs = outputs_of(stack)
    copy = copy_with_provider(stack)
    folder = copy.parent
    certificate, private = self_signed(NAME)
    write_atomically(folder / "ca.pem", certificate)
    write_atomically(folder / "server.pem", certificate + private, mode=0o600)
    write_atomically(folder / "key", secrets.token_urlsafe(24), mode=0o600)
    gateway = outputs["gateway"]
    gateway["clients"] = [*gateway["clients"], {"name": PUBLIC, "class": "batch", "data": "public"}]
    gateway["classes"] = {"batch": {"deadline_s": DEADLINE_S}}
    gateway["monitoring"] = gateway.get("monitoring") or {}
    gateway["overflow"] = {
        "day_usd": CAP_USD,
        "month_usd": CAP_USD,
        "providers": [
            {
                "name": PROVIDER,
                "kind": "openai",
                "url": f"https://{NAME}/v1",
                "key": {"file": str(folder / "key")},
                "ca": str(folder / "ca.pem"),
                "models": [
                    {
                        "alias": outputs["serving"]["model"]["name"],
                        "model": "somebody/large",
                        "input_usd": INPUT_USD,
                        "output_usd": OUTPUT_USD,
                    }
                ],
                "day_usd": CAP_USD,
                "month_usd": CAP_USD,
                "added_tokens": 0,
            }
        ],
    }
    write_atomically(copy, json.dumps(outputs, indent=2))
    for manifest in (STACKS_DIR / "adapters").glob(f"{stack}.*"):  # is looked for beside the outputs
        (folder / "adapters").mkdir(exist_ok=True)
        shutil.copy2(manifest, folder / "adapters")
    address = address_here(stack)
    line = f"{address} {NAME}"
    tell = f"grep -qxF '{line}' /etc/hosts || echo '{line}' | sudo tee -a /etc/hosts"
    fab(stack, "ssh", "--host", outputs["gateway_host"], "--command", tell)
    say(f"the provider is {NAME} ({address}) on this computer; {PUBLIC}, the client with public data, may use it")
    say(f"a copy of the stack's outputs names it, and a cap of {CAP_USD} USD: {as_typed(copy)}")
    return 0


def outputs_of(stack: str) -> dict[str, Any]:
    """Return the outputs of a stack that has machines. Raises UsageError if it has none."""
    try:
        return dict(json.loads(outputs_file(stack).read_text()))
    except FileNotFoundError:
        raise UsageError("has no machines", where=f"stack {stack}", hint=f"run `make up STACK={stack}`") from None


def address_here(stack: str) -> str:
    """Return this computer's address as the gateway's machine sees it. Raises DeployError if that does not answer."""
    host = outputs_of(stack)["gateway_host"]
    found = fab(stack, "ssh", "--host", host, "--command", "ip route show default").split()
    if "via" not in found:
        raise DeployError("has no default route", where=host, hint=f"see `make logs STACK={stack}`")
    return found[found.index("via") + 1]


@dataclass
class Asker:
    """A client that sends one short request after the other in the background, and counts the answers."""

    api: Api
    text: str
    headers: dict[str, str]
    answers: Counter[str] = field(default_factory=Counter)
    """Who answered, or the status and code of a refusal, and how often."""

    def ask_until(self, stop: threading.Event) -> None:
        """Send requests until `stop`."""
        while not stop.wait(PAUSE_S):
            self.answers[self._ask()] += 1

    def _ask(self) -> str:
        try:
            with self.api.chat(self.text, ANSWER_TOKENS, self.headers) as answer:
                answer.read()
                return f"X-Served-By: {served_by}" if (served_by := answer.headers["X-Served-By"]) else "an engine here"
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {json.loads(error.read())['error']['code']}"
        except (OSError, HTTPException) as error:
            return f"nobody ({type(error).__name__})"


@dataclass
class Overflow:
    """Clients that send requests at the same time, with public and with sensitive data, and the provider."""

    stack: str
    provider: ProviderDouble
    public: list[Asker]
    sensitive: list[Asker]

    def wait(self) -> None:
        """Wait until the provider has answered often enough. Raises DeployError if that takes too long."""
        late = self._error(
            f"the provider answered fewer than {ANSWERS_AT_LEAST} requests of {PUBLIC}: an engine was free, "
            "or the day's cap is reached (`make spend`)"
        )
        wait_until(lambda: self._enough() or None, deadline_s=TAKEN_S, late=lambda: late, pause_s=0.2)

    def _enough(self) -> bool:
        return sum(each.answers[FROM_PROVIDER] for each in self.public) >= ANSWERS_AT_LEAST

    def prove(self) -> None:
        """Print who answered. Raises DeployError if the provider got a sensitive request."""
        for askers, who in ((self.public, f"{PUBLIC}, public data"), (self.sensitive, "default, sensitive data")):
            answers = sum((each.answers for each in askers), Counter[str]())
            say(f"{who}: {'; '.join(f'{answer} {count}' for answer, count in answers.most_common())}")
        received = list(self.provider.received)
        others = sum(PUBLIC_TEXT.encode() not in body for body in received)
        say(f"the provider got {len(received)} requests, {others} of them not public")
        if others:
            raise self._error("data left that had to stay")

    def _error(self, what: str) -> DeployError:
        return DeployError(what, where="demo", hint=f"see `make logs STACK={self.stack}`")


@contextmanager
def overflowing(stack: str) -> Iterator[Overflow]:
    """Run the provider, and send public and sensitive requests. Raises DeployError if the provider's port is in use."""
    folder, address = copy_with_provider(stack).parent, address_here(stack)
    stop = threading.Event()
    with ExitStack() as stack_:
        try:
            double = running_double(address, PORT, folder / "server.pem", (folder / "key").read_text())
            provider = stack_.enter_context(double)
        except OSError as error:
            hint = f"first run `python -m tools.pool_demo provider --stack {stack}`; no other program may listen there"
            raise DeployError(f"no provider at {address}, port {PORT}: {error}", where="demo", hint=hint) from error
        # Both in the class batch: they wait less than the streams, so that they overflow or are refused first.
        public = [Asker(api_of(stack, PUBLIC), PUBLIC_TEXT, {}) for _ in range(PUBLIC_CLIENTS)]
        sensitive = [Asker(api_of(stack), SENSITIVE_TEXT, {"X-Priority": "batch"})]
        askers = [*public, *sensitive]
        threads = [threading.Thread(target=each.ask_until, args=(stop,), daemon=True) for each in askers]
        for thread in threads:
            thread.start()
        try:
            yield Overflow(stack, provider, public, sensitive)
        finally:
            stop.set()
            for thread in threads:
                thread.join(TIMEOUT_S)


def try_overflow(stack: str) -> int:
    """Send requests until the provider has answered some: no engine may be free. Raises DeployError if it does not."""
    with overflowing(stack) as overflow:
        overflow.wait()
    overflow.prove()
    return 0
