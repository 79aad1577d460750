"""Roles, their policies, instance profiles."""

from tests.doubles.aws.client import Aws, tag_list, tag_map
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties

GONE = ["NoSuchEntity"]


class Role(Kind[Aws]):
    token = "aws:iam/role:Role"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "path"}), autoname="name")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        cloud.call(
            "iam",
            "create_role",
            "creating IAM Role",
            RoleName=inputs["name"],
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Path=inputs.get("path", "/"),
            Tags=tag_list(inputs.get("tags")),
            **({"PermissionsBoundary": boundary} if (boundary := inputs.get("permissionsBoundary")) else {}),
        )
        return str(inputs["name"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("iam", "get_role", GONE, RoleName=identity)
        if seen is None:
            return None
        role = seen["Role"]
        return {
            "arn": role["Arn"],
            "name": role["RoleName"],
            "uniqueId": role["RoleId"],
            "path": role["Path"],
            "permissionsBoundary": (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", ""),
            "tags": tag_map(role.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        policy = new["assumeRolePolicy"]
        doing = "updating IAM Role"
        cloud.call("iam", "update_assume_role_policy", doing, RoleName=identity, PolicyDocument=policy)
        boundary = new.get("permissionsBoundary")
        if boundary and boundary != old.get("permissionsBoundary"):
            target = {"RoleName": identity, "PermissionsBoundary": boundary}
            cloud.call("iam", "put_role_permissions_boundary", doing, **target)
        if not boundary and old.get("permissionsBoundary"):
            cloud.call("iam", "delete_role_permissions_boundary", doing, RoleName=identity)
        if old.get("tags") != new.get("tags"):
            raise CloudError("the double does not change the tags of a role")

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("iam", "delete_role", GONE, RoleName=identity)


class RolePolicy(Kind[Aws]):
    token = "aws:iam/rolePolicy:RolePolicy"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "role"}), autoname="name")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        self._put(cloud, inputs)
        return f"{inputs['role']}:{inputs['name']}"

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        role, _colon, name = identity.partition(":")
        seen = cloud.found("iam", "get_role_policy", GONE, RoleName=role, PolicyName=name)
        return None if seen is None else {"name": name, "role": role}

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("iam", "delete_role_policy", GONE, RoleName=state["role"], PolicyName=state["name"])

    def _put(self, cloud: Aws, inputs: Properties) -> None:
        target = {"RoleName": inputs["role"], "PolicyName": inputs["name"], "PolicyDocument": inputs["policy"]}
        cloud.call("iam", "put_role_policy", "putting IAM Role Policy", **target)


class InstanceProfile(Kind[Aws]):
    token = "aws:iam/instanceProfile:InstanceProfile"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "path"}), autoname="name")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        name, tags = inputs["name"], tag_list(inputs.get("tags"))
        doing = "creating IAM Instance Profile"
        path = inputs.get("path", "/")
        cloud.call("iam", "create_instance_profile", doing, InstanceProfileName=name, Path=path, Tags=tags)
        cloud.call(
            "iam", "add_role_to_instance_profile", "adding role", InstanceProfileName=name, RoleName=inputs["role"]
        )
        return str(name)

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("iam", "get_instance_profile", GONE, InstanceProfileName=identity)
        if seen is None:
            return None
        profile = seen["InstanceProfile"]
        roles = profile.get("Roles") or [{}]
        return {
            "arn": profile["Arn"],
            "name": identity,
            "path": profile["Path"],
            "role": roles[0].get("RoleName", ""),
            "tags": tag_map(profile.get("Tags")),
        }

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        gone = {"InstanceProfileName": identity}
        cloud.found("iam", "remove_role_from_instance_profile", GONE, RoleName=state["role"], **gone)
        cloud.found("iam", "delete_instance_profile", GONE, **gone)
