"""The bucket on AWS: how its objects are protected, and how `down` removes it."""

import json

from tests.unit.infra.clouds.aws.deployed import Deployed

BUCKET = "aws:s3/bucket:Bucket"
KEPT = "storage: {bucket: {}, keep_on_down: [bucket]}"


def test_a_bucket_is_private_versioned_encrypted_and_requires_tls(deployed: Deployed) -> None:
    mocks = deployed(more="storage: {bucket: {}}")

    (block,) = mocks.of("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
    switches = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    assert [block[each] for each in switches] == [True] * 4
    (ownership,) = mocks.of("aws:s3/bucketOwnershipControls:BucketOwnershipControls")
    assert ownership["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    (versioning,) = mocks.of("aws:s3/bucketVersioning:BucketVersioning")
    assert versioning["versioningConfiguration"] == {"status": "Enabled"}
    (encryption,) = mocks.of("aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration")
    assert encryption["rules"] == [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]
    (policy,) = mocks.of("aws:s3/bucketPolicy:BucketPolicy")
    (statement,) = json.loads(policy["policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Resource"] == ["prod-arn", "prod-arn/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    settings = [block, ownership, versioning, encryption, policy]
    assert {each["bucket"] for each in settings} == {"prod-id"}


def test_old_versions_and_unfinished_uploads_expire(deployed: Deployed) -> None:
    (lifecycle,) = deployed(more="storage: {bucket: {}}").of(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    )

    (rule,) = lifecycle["rules"]
    assert (rule["status"], rule["filter"]) == ("Enabled", {"prefix": ""})
    assert rule["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    assert rule["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}


def test_a_bucket_that_was_kept_can_still_be_emptied(deployed: Deployed) -> None:
    """`down` uses the state of the last `up`: objects must not block the removal of a bucket that is no longer kept."""
    (plain,) = deployed(more="storage: {bucket: {}}").of(BUCKET)
    (kept,) = deployed(more=KEPT).of(BUCKET)

    assert (plain["forceDestroy"], kept["forceDestroy"]) == (True, True)
    assert "tags" not in plain
    assert kept["tags"] == {"llm-deploy:keep": "yes"}
