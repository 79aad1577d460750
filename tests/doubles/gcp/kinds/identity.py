"""Service accounts and the roles that they have."""

from typing import Any

from tests.doubles.gcp.client import Gcp
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties


class Account(Kind[Gcp]):
    token = "gcp:serviceaccount/account:Account"
    rules = Rules(immutable=frozenset({"accountId", "project"}), delete_first=True)

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        email = f"{inputs['accountId']}@{cloud.project}.iam.gserviceaccount.com"
        path = f"projects/{cloud.project}/serviceAccounts/{email}"
        cloud.insert(path, {"email": email, "displayName": inputs.get("displayName", "")}, "service account")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        email = identity.rpartition("/")[2]
        return seen and {
            "accountId": email.partition("@")[0],
            "displayName": seen["displayName"],
            "email": email,
            "name": identity,
            "member": f"serviceAccount:{email}",
            "uniqueId": seen["id"],
        }

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "service account")


class ProjectMember(Kind[Gcp]):
    token = "gcp:projects/iAMMember:IAMMember"
    rules = Rules(immutable=frozenset({"project", "role", "member", "condition"}))

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        _refuse_stranger(cloud, inputs["member"])
        with cloud.store.action("projects.setIamPolicy"):
            _members(cloud.store.policy, inputs["role"]).append(inputs["member"])
        return f"{inputs['project']}/{inputs['role']}/{inputs['member']}"

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        given = _members(cloud.store.policy, state["role"])
        return {"role": state["role"], "member": state["member"]} if state["member"] in given else None

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        with cloud.store.action("projects.setIamPolicy"):
            given = _members(cloud.store.policy, state["role"])
            if state["member"] in given:
                given.remove(state["member"])


class BucketMember(Kind[Gcp]):
    token = "gcp:storage/bucketIAMMember:BucketIAMMember"
    rules = Rules(immutable=frozenset({"bucket", "role", "member", "condition"}))

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        _refuse_stranger(cloud, inputs["member"])
        bucket = cloud.found(f"b/{inputs['bucket']}")
        if bucket is None:
            raise CloudError("Error retrieving IAM policy for storage bucket: googleapi: Error 404: notFound")
        binding = {key: inputs[key] for key in ("role", "member", "condition") if key in inputs}
        bucket.setdefault("policy", []).append(binding)
        return f"b/{inputs['bucket']}/{inputs['role']}/{inputs['member']}"

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        bucket = cloud.found(f"b/{state['bucket']}") or {}
        for each in bucket.get("policy", []):
            if (each["role"], each["member"]) == (state["role"], state["member"]):
                return dict(each)
        return None

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        bucket = cloud.found(f"b/{state['bucket']}") or {}
        given = bucket.get("policy", [])
        given[:] = [each for each in given if (each["role"], each["member"]) != (state["role"], state["member"])]


def _refuse_stranger(cloud: Gcp, member: str) -> None:
    """Raise CloudError for a service account that does not exist, as IAM does."""
    kind, _colon, email = member.partition(":")
    if kind == "serviceAccount" and cloud.found(f"projects/{cloud.project}/serviceAccounts/{email}") is None:
        raise CloudError(f"googleapi: Error 400: Service account {email} does not exist., badRequest")


def _members(policy: dict[str, Any], role: str) -> list[str]:
    for binding in policy["bindings"]:
        if binding["role"] == role:
            members: list[str] = binding["members"]
            return members
    policy["bindings"].append({"role": role, "members": []})
    return _members(policy, role)
