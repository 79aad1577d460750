"""Guards: resources that each rule accepts or refuses, for AWS and GCP."""

import json
from typing import Any

import pytest

from core.errors import ConfigError
from infra.clouds.aws.api.tags import STACK
from infra.clouds.aws.program.bucket import tls_only
from infra.clouds.aws.program.guard_rules import GUARDS as AWS_GUARDS
from infra.clouds.gcp.api.labels import STACK as LABEL_STACK_GCP
from infra.clouds.gcp.program.guard_rules import GUARDS as GCP_GUARDS
from infra.clouds.gcp.program.guard_rules import WIDE_SCOPE
from infra.clouds.program.guards import ClosedPorts, Guards

TAGS = {"tags": {STACK: "prod"}}
LABELS = {"labels": {LABEL_STACK_GCP: "prod"}}
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
INSTANCE = "aws:ec2/instance:Instance"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
FIREWALL = "gcp:compute/firewall:Firewall"
OURS = {"targetServiceAccounts": ["llm-0123abcd@p.iam.gserviceaccount.com"]}
GCP_BUCKET = "gcp:storage/bucket:Bucket"
GCP_MEMBER = "gcp:projects/iAMMember:IAMMember"

SSH: dict[str, Any] = {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, **TAGS}
HOST: dict[str, Any] = {
    "rootBlockDevice": {"encrypted": True},
    "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
    **TAGS,
}
GCP_INSTANCE = "gcp:compute/instance:Instance"
GCP_HOST: dict[str, Any] = {
    "metadata": {"block-project-ssh-keys": "true"},
    "scheduling": {"terminationTime": "2026-11-21T20:00:00Z", "instanceTerminationAction": "DELETE"},
    "shieldedInstanceConfig": {"enableVtpm": True, "enableIntegrityMonitoring": True},
    "serviceAccount": {"email": "llm-0123abcd@p.iam.gserviceaccount.com", "scopes": ["logging.write"]},
    **LABELS,
}
GCP_SPOT = GCP_HOST["scheduling"] | {
    "provisioningModel": "SPOT",
    "automaticRestart": False,
}
SPOT = {"spotInstanceType": "one-time", "instanceInterruptionBehavior": "terminate"}
CLOSED = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)
PRIVATE = {"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": True, **LABELS}

KEPT = [
    pytest.param(INGRESS, SSH | {"cidrIpv4": "203.0.113.7/32"}, id="ssh from one address"),
    pytest.param(INGRESS, SSH | {"fromPort": 443, "toPort": 443, "cidrIpv4": "0.0.0.0/0"}, id="443 from everywhere"),
    pytest.param("aws:ebs/volume:Volume", {"encrypted": True, **TAGS}, id="encrypted volume"),
    pytest.param(INSTANCE, HOST, id="instance"),
    pytest.param(INSTANCE, HOST | {"instanceMarketOptions": {"marketType": "spot", "spotOptions": SPOT}}, id="spot"),
    pytest.param(BLOCK, CLOSED, id="closed bucket"),
    pytest.param(POLICY, {"policy": json.dumps(tls_only("arn:aws:s3:::b"))}, id="deny policy"),
    pytest.param(POLICY, {"policy": None}, id="policy not known before the update"),
    pytest.param("pulumi:pulumi:Stack", {}, id="not a cloud resource"),
    pytest.param(
        FIREWALL,
        {"allows": [{"protocol": "tcp", "ports": ["22"]}], "sourceRanges": ["203.0.113.7/32"], **OURS},
        id="gcp ssh",
    ),
    pytest.param(
        FIREWALL, {"denies": [{"protocol": "all"}], "sourceRanges": ["0.0.0.0/0"], **OURS}, id="gcp deny rule"
    ),
    pytest.param(FIREWALL, {"direction": "EGRESS", "allows": [{"protocol": "all"}], **OURS}, id="gcp egress"),
    pytest.param(GCP_BUCKET, PRIVATE, id="gcp bucket"),
    pytest.param(GCP_INSTANCE, GCP_HOST, id="gcp instance"),
    pytest.param(GCP_INSTANCE, GCP_HOST | {"scheduling": GCP_SPOT}, id="gcp spot"),
    pytest.param(GCP_MEMBER, {"role": "roles/logging.logWriter"}, id="gcp role"),
]

BROKEN = [
    pytest.param(INGRESS, SSH | {"cidrIpv4": "0.0.0.0/0"}, "no world-open SSH", id="ssh from everywhere"),
    pytest.param(INGRESS, SSH | {"cidrIpv4": "128.0.0.0/1"}, "no world-open SSH", id="ssh from half of the world"),
    pytest.param(INGRESS, SSH | {"cidrIpv6": "::/0"}, "no world-open SSH", id="ssh from everywhere, IPv6"),
    pytest.param(
        INGRESS, SSH | {"toPort": 30, "fromPort": 20, "cidrIpv4": "0.0.0.0/0"}, "no world-open SSH", id="range"
    ),
    pytest.param(INGRESS, {"ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0", **TAGS}, "no world-open SSH", id="all"),
    pytest.param(INGRESS, SSH | {"fromPort": 8000, "toPort": 8000}, "no engine port", id="vLLM's port"),
    pytest.param(INGRESS, SSH | {"fromPort": 11434, "toPort": 11434}, "no engine port", id="Ollama's port"),
    pytest.param(
        "aws:ec2/securityGroup:SecurityGroup",
        {"ingress": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["0.0.0.0/0"]}], **TAGS},
        "no world-open SSH",
        id="rule inside a group",
    ),
    pytest.param("aws:ebs/volume:Volume", TAGS, "encryption on", id="plain volume"),
    pytest.param(INSTANCE, HOST | {"rootBlockDevice": {}}, "encryption on", id="plain root disk"),
    pytest.param(INSTANCE, {key: HOST[key] for key in HOST if key != "tags"}, "tags present", id="no tags"),
    pytest.param(INSTANCE, HOST | {"metadataOptions": {"httpTokens": "optional"}}, "metadata guarded", id="IMDSv1"),
    pytest.param(
        INSTANCE,
        HOST
        | {"instanceMarketOptions": {"marketType": "spot", "spotOptions": SPOT | {"spotInstanceType": "persistent"}}},
        "no persistent spot",
        id="persistent spot",
    ),
    pytest.param(
        INSTANCE,
        HOST | {"instanceMarketOptions": {"marketType": "spot"}},
        "no persistent spot",
        id="spot without options",
    ),
    pytest.param("aws:ec2/spotInstanceRequest:SpotInstanceRequest", {}, "no persistent spot", id="spot request"),
    pytest.param(BLOCK, CLOSED | {"blockPublicPolicy": False}, "no public bucket: blockPublicPolicy", id="open bucket"),
    pytest.param(
        POLICY,
        {"policy": '{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:GetObject"}]}'},
        "no public bucket: its policy",
        id="open policy",
    ),
    pytest.param("aws:s3/bucketAcl:BucketAcl", {"acl": "public-read"}, "no public bucket", id="public ACL"),
    pytest.param(
        FIREWALL, {"allows": [{"protocol": "tcp"}], "sourceRanges": ["0.0.0.0/0"]}, "no world-open SSH", id="gcp"
    ),
    pytest.param(FIREWALL, {"denies": [{"protocol": "all"}]}, "others' machines left alone", id="gcp deny rule"),
    pytest.param(FIREWALL, {"allows": [{"protocol": "tcp", "ports": ["7000-9000"]}]}, "no engine port", id="gcp range"),
    pytest.param(
        FIREWALL, {"allows": [{"protocol": "6", "ports": ["8000"]}]}, "no engine port", id="gcp, tcp by number"
    ),
    pytest.param(GCP_BUCKET, PRIVATE | {"publicAccessPrevention": "inherited"}, "no public bucket", id="gcp bucket"),
    pytest.param(GCP_BUCKET, PRIVATE | {"labels": {}}, "labels present", id="gcp labels"),
    pytest.param(
        "gcp:storage/bucketIAMMember:BucketIAMMember", {"member": "allUsers"}, "no public bucket", id="gcp IAM"
    ),
    pytest.param(
        GCP_INSTANCE,
        GCP_HOST | {"scheduling": GCP_SPOT | {"automaticRestart": True}},
        "no persistent spot machine",
        id="gcp spot that restarts",
    ),
    pytest.param(
        GCP_INSTANCE,
        GCP_HOST | {"scheduling": GCP_SPOT | {"instanceTerminationAction": "STOP"}},
        "no persistent spot machine",
        id="gcp spot that stops instead of ending",
    ),
    pytest.param(GCP_INSTANCE, GCP_HOST | {"scheduling": {}}, "an end of life", id="gcp without an end of life"),
    pytest.param(GCP_INSTANCE, GCP_HOST | {"metadata": {}}, "project keys blocked", id="gcp project keys"),
    pytest.param(
        GCP_INSTANCE,
        GCP_HOST | {"metadata": GCP_HOST["metadata"] | {"serial-port-enable": "TRUE"}},
        "no serial console",
        id="gcp serial console",
    ),
    pytest.param(GCP_INSTANCE, GCP_HOST | {"shieldedInstanceConfig": {}}, "shielded", id="gcp not shielded"),
    pytest.param(GCP_INSTANCE, GCP_HOST | {"serviceAccount": {}}, "a service account of its own", id="gcp no account"),
    pytest.param(
        GCP_INSTANCE,
        GCP_HOST | {"serviceAccount": {"email": "1-compute@developer.gserviceaccount.com"}},
        "a service account of its own",
        id="gcp default account",
    ),
    pytest.param(
        GCP_INSTANCE,
        GCP_HOST | {"serviceAccount": {"email": "a@b", "scopes": [WIDE_SCOPE]}},
        "least scopes",
        id="gcp all scopes",
    ),
    pytest.param(GCP_INSTANCE, GCP_HOST | {"labels": {}}, "labels present", id="gcp instance without labels"),
    pytest.param(GCP_MEMBER, {"role": "roles/editor"}, "least roles", id="gcp editor"),
    pytest.param(
        FIREWALL,
        {"allows": [{"protocol": "tcp", "ports": ["22"]}], "sourceRanges": ["::/0"]},
        "no world-open SSH",
        id="gcp ssh from everywhere, IPv6",
    ),
]


def guards(kind: str) -> Guards:
    """Return the guards of a resource's cloud."""
    return GCP_GUARDS if kind.startswith("gcp:") else AWS_GUARDS


@pytest.mark.parametrize(("kind", "props"), KEPT)
def test_accepts_resources_that_keep_the_rules(kind: str, props: dict[str, Any]) -> None:
    assert list(guards(kind).violations(kind, props)) == []


@pytest.mark.parametrize(("kind", "props", "reported"), BROKEN)
def test_rejects_resources_that_break_a_rule(kind: str, props: dict[str, Any], reported: str) -> None:
    assert any(each.startswith(reported) for each in guards(kind).violations(kind, props))


def test_ports_in_the_stack_file_count_as_engine_ports() -> None:
    rule = SSH | {"fromPort": 9001, "toPort": 9001}

    assert list(AWS_GUARDS.violations(INGRESS, rule)) == []
    assert [each.split(":")[0] for each in AWS_GUARDS.violations(INGRESS, rule, ClosedPorts((9001,)))] == [
        "no engine port is open"
    ]


FROM_NETWORK, FROM_GROUP = {"cidrIpv4": "10.83.0.0/16"}, {"referencedSecurityGroupId": "sg-1"}
GCP_PORTS: dict[str, Any] = {"allows": [{"protocol": "tcp", "ports": ["8443", "8406"]}], **OURS}


@pytest.mark.parametrize(
    ("kind", "props", "is_refused"),
    [
        pytest.param(INGRESS, SSH | {"fromPort": 8443, "toPort": 8443} | FROM_GROUP, False, id="a group"),
        pytest.param(INGRESS, SSH | {"fromPort": 8443, "toPort": 8443} | FROM_NETWORK, True, id="a network"),
        pytest.param(INGRESS, SSH | {"fromPort": 8400, "toPort": 8500} | FROM_NETWORK, True, id="a range of ports"),
        pytest.param(FIREWALL, GCP_PORTS | {"sourceServiceAccounts": ["g@p"]}, False, id="gcp account"),
        pytest.param(FIREWALL, GCP_PORTS | {"sourceRanges": ["10.83.0.0/16"]}, True, id="gcp network"),
    ],
)
def test_only_the_gateway_s_machine_reaches_an_engine_s(kind: str, props: dict[str, Any], is_refused: bool) -> None:
    """Without a gateway machine, clients may use these ports."""
    closed = ClosedPorts(of_gateway_machine=(8443, 8406))

    found = {each.split(":")[0] for each in guards(kind).violations(kind, props, closed)}

    assert found == ({"no network reaches an engine's machine"} if is_refused else set())
    assert list(guards(kind).violations(kind, props)) == []


def test_an_error_names_the_resource_and_the_rule() -> None:
    with pytest.raises(
        ConfigError, match=r"ssh \(aws:vpc/.*\): no world-open SSH: port 22 is open to everyone, or nearly"
    ):
        AWS_GUARDS.refuse_violations(INGRESS, "ssh", SSH | {"cidrIpv4": "0.0.0.0/0"})
