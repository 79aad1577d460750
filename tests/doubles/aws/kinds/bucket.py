"""A bucket, and its settings that are separate resources in the SDK."""

from collections.abc import Callable
from typing import Any

from tests.doubles.aws.client import Aws, tag_list, tag_map
from tests.doubles.provider.kind import Kind, Rules
from tests.doubles.provider.values import Properties

GONE = ["NoSuchBucket", "404"]


class Bucket(Kind[Aws]):
    token = "aws:s3/bucket:Bucket"
    rules = Rules(immutable=frozenset({"bucket", "bucketPrefix", "objectLockEnabled", "region"}), autoname="bucket")

    def create(self, cloud: Aws, inputs: Properties) -> str:
        name = str(inputs["bucket"])
        where = {} if cloud.region == "us-east-1" else {"LocationConstraint": cloud.region}
        settings = {"CreateBucketConfiguration": where} if where else {}
        cloud.call("s3", "create_bucket", "creating S3 Bucket", Bucket=name, **settings)
        self.update(cloud, name, {}, inputs)
        return name

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        if cloud.found("s3", "head_bucket", GONE, Bucket=identity) is None:
            return None
        tags = cloud.found("s3", "get_bucket_tagging", ["NoSuchTagSet"], Bucket=identity) or {}
        return {
            "arn": f"arn:aws:s3:::{identity}",
            "bucket": identity,
            "bucketDomainName": f"{identity}.s3.amazonaws.com",
            "tags": tag_map(tags.get("TagSet")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        tags = {"TagSet": tag_list(new.get("tags"))}
        cloud.call("s3", "put_bucket_tagging", "putting S3 Bucket tags", Bucket=identity, Tagging=tags)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        if state.get("forceDestroy"):
            self._empty(cloud, identity)
        cloud.found("s3", "delete_bucket", GONE, Bucket=identity)

    def _empty(self, cloud: Aws, identity: str) -> None:
        seen = cloud.found("s3", "list_object_versions", GONE, Bucket=identity) or {}
        for each in [*seen.get("Versions", []), *seen.get("DeleteMarkers", [])]:
            target = {"Bucket": identity, "Key": each["Key"], "VersionId": each["VersionId"]}
            cloud.call("s3", "delete_object", "emptying", **target)


class _Setting(Kind[Aws]):
    """One setting of a bucket: put, got and deleted as a whole."""

    rules = Rules(immutable=frozenset({"bucket", "region"}))
    noun = ""
    argument = ""
    missing: tuple[str, ...] = ()

    def wanted(self, inputs: Properties) -> Any:
        raise NotImplementedError

    def create(self, cloud: Aws, inputs: Properties) -> str:
        self.update(cloud, inputs["bucket"], {}, inputs)
        return str(inputs["bucket"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("s3", f"get_{self.noun}", [*GONE, *self.missing], Bucket=identity)
        return None if seen is None else {"bucket": identity}

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        setting = {self.argument: self.wanted(new)}
        cloud.call("s3", f"put_{self.noun}", f"putting S3 {self.noun}", Bucket=identity, **setting)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("s3", f"delete_{self.noun}", [*GONE, *self.missing], Bucket=identity)


class PublicAccessBlock(_Setting):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    noun, argument = "public_access_block", "PublicAccessBlockConfiguration"
    missing = ("NoSuchPublicAccessBlockConfiguration",)

    def wanted(self, inputs: Properties) -> Any:
        switches = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        return {each[0].upper() + each[1:]: inputs.get(each, False) for each in switches}


class OwnershipControls(_Setting):
    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    noun, argument = "bucket_ownership_controls", "OwnershipControls"
    missing = ("OwnershipControlsNotFoundError",)

    def wanted(self, inputs: Properties) -> Any:
        return {"Rules": [{"ObjectOwnership": inputs["rule"]["objectOwnership"]}]}


class Versioning(_Setting):
    token = "aws:s3/bucketVersioning:BucketVersioning"
    noun, argument = "bucket_versioning", "VersioningConfiguration"

    def wanted(self, inputs: Properties) -> Any:
        return {"Status": inputs["versioningConfiguration"]["status"]}

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        paused = {"Status": "Suspended"}  # versioning can be suspended, but not removed
        cloud.found("s3", "put_bucket_versioning", GONE, Bucket=identity, VersioningConfiguration=paused)


class Encryption(_Setting):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    noun, argument = "bucket_encryption", "ServerSideEncryptionConfiguration"
    missing = ("ServerSideEncryptionConfigurationNotFoundError",)

    def wanted(self, inputs: Properties) -> Any:
        how = inputs["rules"][0]["applyServerSideEncryptionByDefault"]["sseAlgorithm"]
        return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": how}}]}


class Lifecycle(_Setting):
    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    noun, argument = "bucket_lifecycle_configuration", "LifecycleConfiguration"
    missing = ("NoSuchLifecycleConfiguration",)

    def wanted(self, inputs: Properties) -> Any:
        return {"Rules": [_rule(each) for each in inputs["rules"]]}

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("s3", "delete_bucket_lifecycle", GONE, Bucket=identity)


class Policy(_Setting):
    token = "aws:s3/bucketPolicy:BucketPolicy"
    noun, argument = "bucket_policy", "Policy"
    missing = ("NoSuchBucketPolicy",)

    def wanted(self, inputs: Properties) -> Any:
        return inputs["policy"]


def _rule(rule: Properties) -> dict[str, Any]:
    wanted: dict[str, Any] = {"ID": rule["id"], "Status": rule["status"], "Filter": {"Prefix": ""}}
    take: dict[str, Callable[[Properties], tuple[str, dict[str, int]]]] = {
        "noncurrentVersionExpiration": lambda each: (
            "NoncurrentVersionExpiration",
            {"NoncurrentDays": each["noncurrentDays"]},
        ),
        "abortIncompleteMultipartUpload": lambda each: (
            "AbortIncompleteMultipartUpload",
            {"DaysAfterInitiation": each["daysAfterInitiation"]},
        ),
    }
    for key, translated in take.items():
        if key in rule:
            name, value = translated(rule[key])
            wanted[name] = value
    return wanted
