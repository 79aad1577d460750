"""What a test can change about a simulated cloud while it runs, whichever cloud that is."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Generic, TypeVar
from urllib.request import Request, urlopen

CONTROL = "/double/settings"
CALLS = "/double/calls"


@dataclass
class Settings:
    """How a cloud behaves; the defaults have no faults."""

    out_of_stock: list[dict[str, str]] = field(default_factory=list)
    """Each entry names a zone, a type and a market (on_demand, spot); what it leaves out matches everything."""

    refused: dict[str, str] = field(default_factory=dict)
    """API action -> error code, e.g. RunInstances -> UnauthorizedOperation."""

    hold_s: dict[str, float] = field(default_factory=dict)
    """API action -> the delay of its answer after the work was done."""

    def lacks(self, zone: str, machine_type: str, market: str) -> bool:
        """Return whether such a machine is out of stock."""
        return matches(self.out_of_stock, zone, machine_type, market)


def matches(entries: list[dict[str, str]], zone: str, machine_type: str, market: str) -> bool:
    """Return whether one of the entries matches such a machine."""
    seen = {"zone": zone, "type": machine_type, "market": market}
    return any(all(seen[key] == value for key, value in entry.items()) for entry in entries)


SettingsOf = TypeVar("SettingsOf", bound=Settings)


def decode(kind: type[SettingsOf], body: bytes) -> SettingsOf:
    """Return settings from JSON; an unknown key is an error."""
    values: dict[str, Any] = json.loads(body)
    unknown = values.keys() - {each.name for each in fields(kind)}
    if unknown:
        raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
    return kind(**values)


class Control(Generic[SettingsOf]):
    """A test's control of a running cloud."""

    kind: type[SettingsOf]
    reset_path: str

    def __init__(self, url: str) -> None:
        self.url = url

    def set(self, **changes: Any) -> None:
        """Replace the settings by the defaults and these changes."""
        self._send(CONTROL, asdict(self.kind(**changes)))

    def calls(self) -> list[str]:
        """Return the API actions that were called, oldest first."""
        with urlopen(self.url + CALLS, timeout=10) as answer:  # noqa: S310  # our own server on loopback
            return list(json.loads(answer.read()))

    def reset(self) -> None:
        """Forget all resources and settings."""
        self._send(self.reset_path, {})
        self.set()

    def _send(self, path: str, value: Any) -> None:
        request = Request(self.url + path, data=json.dumps(value).encode(), method="POST")  # noqa: S310
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            answer.read()
