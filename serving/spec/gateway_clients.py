"""The clients of a gateway: who may send requests."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from core.reading.frozen import Frozen
from serving.spec.fields import ServedName


class ClientSpec(Frozen):
    """A client of the gateway. It has an API key of its own. Its name alone means a client with these defaults."""

    name: ServedName = Field(description="Name of the client, in logs and beside its key.")
    data: Literal["sensitive", "internal", "public"] = Field(
        default="sensitive",
        description="Class of its data. Sensitive data never leaves the stack. X-Data-Class can only narrow it.",
    )

    def __str__(self) -> str:
        return self.name


def _entry(value: Any) -> Any:
    """Return an entry of the list as a mapping: `alice` means `{name: alice}`."""
    return {"name": value} if isinstance(value, str) else value


ClientEntry = Annotated[ClientSpec, BeforeValidator(_entry)]
