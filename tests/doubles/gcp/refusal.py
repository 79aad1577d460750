"""Refusals of GCP."""


class Refusal(Exception):  # noqa: N818  # what GCP does, not what goes wrong here
    """An error that the API answers with, or that an operation ends in."""

    def __init__(self, status: int, reason: str, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.late = late
        """Whether the call was accepted and its operation failed."""


def invalid(field: str, message: str) -> Refusal:
    """Return a refusal of a value."""
    return Refusal(400, "invalid", f"Invalid value for field '{field}': {message}")


def missing(path: str) -> Refusal:
    """Return a refusal for a resource that does not exist."""
    return Refusal(404, "notFound", f"The resource '{path}' was not found")
