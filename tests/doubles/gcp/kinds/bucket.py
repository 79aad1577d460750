"""Buckets."""

from tests.doubles.gcp.client import Gcp
from tests.doubles.provider.kind import Kind, Rules
from tests.doubles.provider.values import Properties

KEPT = (
    "location",
    "uniformBucketLevelAccess",
    "publicAccessPrevention",
    "versioning",
    "softDeletePolicy",
    "lifecycleRules",
    "labels",
)


class Bucket(Kind[Gcp]):
    token = "gcp:storage/bucket:Bucket"
    rules = Rules(immutable=frozenset({"name", "location", "project"}), delete_first=True)

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        unknown = inputs.keys() - {*KEPT, "name", "forceDestroy"}
        return [(key, "the double does not model this input of a bucket") for key in sorted(unknown)]

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        cloud.insert(f"b/{inputs['name']}", {key: inputs[key] for key in KEPT if key in inputs}, "Bucket")
        return str(inputs["name"])

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(f"b/{identity}")
        kept = {key: seen[key] for key in KEPT if key in seen} if seen else {}
        return seen and {**kept, "name": identity, "url": f"gs://{identity}"}

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        changed = {key: new.get(key) for key in KEPT}
        cloud.change(f"b/{identity}", "patch", lambda body: body.update(changed), "Bucket")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        """Remove the bucket; with forceDestroy, its objects first."""
        if state.get("forceDestroy"):
            for path in [each for each in cloud.store.resources if each.startswith(f"b/{identity}/o/")]:
                del cloud.store.resources[path]
        cloud.delete(f"b/{identity}", "Bucket")
