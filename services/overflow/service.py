"""The service from its settings to its end. Keys are files in $CREDENTIALS_DIRECTORY, by systemd."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType

from services.overflow.ledger import Ledger
from services.overflow.metrics import Metrics
from services.overflow.providers import Client
from services.overflow.relay import Relay
from services.overflow.server import MetricsServer, OverflowServer, log
from services.overflow.settings import Provider, read_settings
from services.systemd import notify


def client_of(provider: Provider, key: str) -> Client:
    """Return the client of a provider. Imports the SDK of its kind alone, as each takes a second."""
    if provider.kind == "openai":
        from services.overflow.openai_shaped import OpenAiShaped

        return OpenAiShaped(provider, key)
    from services.overflow.anthropic_messages import Anthropic

    return Anthropic(provider, key)


def main(path: str) -> None:
    """Serve until SIGTERM; then answer what runs, and end."""
    settings = read_settings(Path(path).read_text())
    keys = Path(os.environ["CREDENTIALS_DIRECTORY"])
    clients = {each.name: client_of(each, (keys / each.key).read_text().strip()) for each in settings.providers}
    ledger = Ledger(settings.ledger)
    metrics = Metrics(settings, ledger)

    def note(provider: str, client: str, outcome: str) -> None:
        log(provider=provider, client=client, outcome=outcome)

    server = OverflowServer(settings, Relay(settings, clients, ledger, metrics, note), metrics)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.stopping.set()
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=MetricsServer(settings, metrics).serve_forever, daemon=True).start()
    log(event="ready", providers=[each.name for each in settings.providers])
    notify(READY="1")
    with server:
        server.serve_forever(poll_interval=0.1)
    ledger.close()
