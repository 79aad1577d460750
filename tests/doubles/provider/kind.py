"""What a double says about one kind of resource. The provider's core asks, the kind talks to the cloud behind it."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tests.doubles.provider.values import Properties

Cloud = TypeVar("Cloud")
"""What a kind needs to call the cloud behind the double: clients, settings."""


class CloudError(Exception):
    """The cloud refused; the text is that of the vendor's plugin."""


class HalfMadeError(CloudError):
    """The cloud made the resource, and then an error followed: the engine keeps the resource and reports the error."""

    def __init__(self, text: str, identity: str) -> None:
        super().__init__(text)
        self.identity = identity


@dataclass(frozen=True)
class Rules:
    """What the SDK does not know about the inputs of a kind."""

    immutable: frozenset[str] = frozenset()
    """Inputs (`rootBlockDevice.encrypted`: also nested ones) whose change needs a new resource."""

    autoname: str | None = None
    """Input that is made from the resource's name when it is missing."""

    completed: frozenset[str] = frozenset()
    """Inputs to which the cloud adds values of its own. A read that differs from them is not a drift."""

    delete_first: bool = False
    """Whether a replacement removes the old one first, as the vendor's plugin does for names that are unique."""


class Kind(Generic[Cloud]):
    """One kind of resource. `read` is the truth: what `create` and `update` return to the engine comes from it."""

    token: str = ""
    rules = Rules()

    def create(self, cloud: Cloud, inputs: Properties) -> str:
        """Make the resource and return its id. Raises CloudError."""
        raise NotImplementedError

    def read(self, cloud: Cloud, identity: str, state: Properties) -> Properties | None:
        """Return what the cloud says about the resource, by the names of the SDK; None if it does not exist."""
        raise NotImplementedError

    def update(self, cloud: Cloud, identity: str, old: Properties, new: Properties) -> None:
        """Change the resource in place. Raises CloudError."""
        raise CloudError(f"{self.token} cannot be changed in place; its rules should say so")

    def delete(self, cloud: Cloud, identity: str, state: Properties) -> None:
        """Remove the resource; do nothing if it does not exist. Raises CloudError when something still needs it."""
        raise NotImplementedError

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        """Return inputs that the vendor's plugin refuses before it asks the cloud, each with a reason."""
        del inputs
        return []


class Function(Generic[Cloud]):
    """One function of the SDK that asks the cloud."""

    token: str = ""

    def call(self, cloud: Cloud, arguments: Properties) -> dict[str, Any]:
        """Return the result, by the names of the SDK. Raises CloudError."""
        raise NotImplementedError
