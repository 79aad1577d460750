"""GCP as the provider plugin reaches it: the store as one project and region see it, refusals in the plugin's words."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.doubles.gcp import seed
from tests.doubles.gcp.refusal import Refusal
from tests.doubles.gcp.rules import stock
from tests.doubles.gcp.store import Body, Store
from tests.doubles.provider.kind import CloudError
from tests.doubles.provider.values import Properties

MODELLED_SETTINGS = frozenset(
    {"project", "region", "zone", "addPulumiAttributionLabel", "userProjectOverride", "billingProject", "version"}
)
DEFAULT_SETTINGS = {"disableGooglePartnerName": False}
"""Inputs that the SDK adds by itself."""


class Gcp:
    """One project and region."""

    def __init__(self, store: Store, project: str, region: str) -> None:
        self.store = store
        self.project = project
        self.region = region

    def insert(self, path: str, body: Body, noun: str) -> Body:
        """Make a resource. Raises CloudError with the words of the vendor's plugin."""
        with provider_errors(f"Error creating {noun}", f"Error waiting for {noun.lower()} to create"):
            return self.store.insert(path, body)

    def found(self, path: str) -> Body | None:
        """Return a resource that may no longer exist; None if it does not."""
        try:
            return self.store.get(path)
        except Refusal as refusal:
            if refusal.reason == "notFound":
                return None
            raise

    def change(self, path: str, verb: str, change: Callable[[Body], Any], noun: str) -> None:
        """Change a resource. Raises CloudError."""
        with provider_errors(f"Error updating {noun}", f"Error updating {noun}"):
            self.store.change(path, verb, change)

    def start(self, path: str) -> None:
        """Start an instance that does not run; one without stock stays stopped. Raises CloudError."""

        def begin(body: Body) -> None:
            if body["status"] != "RUNNING":
                stock.check(self.store, path, body)
                body["status"] = "RUNNING"

        with provider_errors("Error starting instance", "Error waiting for starting instance"):
            self.store.change(path, "start", begin)

    def delete(self, path: str, noun: str) -> None:
        """Remove a resource and wait until it no longer exists; do nothing if it does not exist. Raises CloudError."""
        with provider_errors(f"Error deleting {noun}", f"Error waiting for Deleting {noun}"):
            if self.found(path) is not None:
                self.store.delete(path, waits=True)


@contextmanager
def provider_errors(at_once: str, later: str) -> Iterator[None]:
    """Turn a refusal into the plugin's words: those of the call, or those of the operation that failed later."""
    try:
        yield
    except Refusal as refusal:
        if refusal.late:
            raise CloudError(f"{later}: {refusal.message}") from None
        text = f"{at_once}: googleapi: Error {refusal.status}: {refusal.message}, {refusal.reason}"
        raise CloudError(text) from None


def connect(store: Store, settings: Properties, environ: Mapping[str, str]) -> Gcp:
    """Return GCP for the settings of a provider. Raises CloudError as the plugin's configuration would."""
    unknown = {key for key, value in settings.items() if DEFAULT_SETTINGS.get(key) != value} - MODELLED_SETTINGS
    if unknown:
        raise CloudError(f"the double does not model the provider's setting {', '.join(sorted(unknown))}")
    if not environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        raise CloudError("google: could not find default credentials. See https://cloud.google.com/docs/authentication")
    if store.settings.login != "good":
        raise CloudError('oauth2: "invalid_grant" "Token has been expired or revoked."')
    project = str(settings.get("project", ""))
    if project != seed.PROJECT:
        raise CloudError(f"googleapi: Error 403: Permission denied on resource project {project}., forbidden")
    return Gcp(store, project, str(settings.get("region", "")))
