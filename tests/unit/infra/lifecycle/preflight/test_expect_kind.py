"""`make deploy-gpu`, `deploy-cpu` and `deploy-gpu-spot` accept only a stack of that kind."""

from pathlib import Path

import pytest

from core.errors import UsageError
from infra.config import reader
from infra.lifecycle.preflight.expect_kind import KINDS, main
from tests.engine.aws_stacks import stack_text, with_gateway, with_pool
from tests.engine.checkout import INVENTORY

EXISTING = """\
config:
  llm-deploy:deployment:
    cloud: existing
    inventory: {folder}/hosts.yaml
    serving:
      model: {{name: tiny-llama, source: {{kind: tiny, name: llama}}}}
"""


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_bundled_cloud_stack_has_the_kind_in_its_name(cloud: str, kind: str) -> None:
    assert main([kind, "--stack", f"{cloud}-{kind}"]) == 0


@pytest.mark.parametrize(
    ("kind", "stack", "reported"),
    [
        ("gpu", "local", "stack local: a local machine has no GPU; deploy it as it is: make deploy STACK=local"),
        ("gpu", "aws-cpu", "stack aws-cpu: t3.xlarge has no GPU; deploy it as it is: make deploy STACK=aws-cpu"),
        ("cpu", "gcp-gpu", "stack gcp-gpu: g2-standard-4 has a GPU; deploy it as it is: make deploy STACK=gcp-gpu"),
        (
            "gpu-spot",
            "aws-gpu",
            "stack aws-gpu: it is not on the spot market; write machine.market: spot, or run: make deploy-gpu "
            "STACK=aws-gpu",
        ),
    ],
)
def test_a_stack_of_another_kind_is_refused(kind: str, stack: str, reported: str) -> None:
    """`make deploy-gpu STACK=local` once deployed a machine without a GPU and said nothing."""
    with pytest.raises(UsageError) as caught:
        main([kind, "--stack", stack])

    assert str(caught.value) == f"deploy-{kind}: {reported}"


@pytest.mark.parametrize(
    ("pool", "kind", "refused"),
    [
        ("{type: g5.12xlarge, market: spot}", "gpu-spot", ""),
        ("{type: g5.12xlarge}", "gpu", ""),
        (
            "{type: g5.12xlarge}",
            "gpu-spot",
            "pool large is not on the spot market; write pools.large.machine.market: spot, or run: make deploy-gpu "
            "STACK=mixed",
        ),
        (
            "{type: m6i.xlarge, market: spot}",
            "gpu-spot",
            "m6i.xlarge (pool large) has no GPU; deploy it as it is: make deploy STACK=mixed",
        ),
        (
            "{type: m6i.xlarge}",
            "cpu",
            "g5.xlarge has a GPU; deploy it as it is: make deploy STACK=mixed",
        ),
    ],
)
def test_the_machines_of_all_pools_are_of_the_kind(
    pool: str, kind: str, refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make deploy-gpu-spot` once made machines on demand for a pool beside main."""
    monkeypatch.setattr(reader, "STACKS_DIR", tmp_path)
    text = with_pool(with_gateway(stack_text("type: g5.xlarge, market: spot")), pool[1:-1])
    (tmp_path / "Pulumi.mixed.yaml").write_text(text)

    if not refused:
        assert main([kind, "--stack", "mixed"]) == 0
        return
    with pytest.raises(UsageError) as caught:
        main([kind, "--stack", "mixed"])
    assert str(caught.value) == f"deploy-{kind}: stack mixed: {refused}"


@pytest.mark.parametrize(
    ("gpu", "kind", "refused"),
    [
        ("gpu: {model: L4, count: 1, vram_gib: 22.35}", "gpu", False),
        ("gpu: {model: L4, count: 1, vram_gib: 22.35}", "cpu", True),
        ("", "gpu", True),
        ("ignore_gpu: true", "cpu", False),
    ],
)
def test_the_kind_of_existing_hosts_is_read_from_the_inventory(
    gpu: str, kind: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "STACKS_DIR", tmp_path)
    (tmp_path / "Pulumi.rack.yaml").write_text(EXISTING.format(folder=tmp_path))
    (tmp_path / "hosts.yaml").write_text(f"{INVENTORY}    {gpu}\n")

    if not refused:
        assert main([kind, "--stack", "rack"]) == 0
        return
    with pytest.raises(UsageError, match="host box has"):
        main([kind, "--stack", "rack"])
