"""Which variables each target of make uses, and what stops make before anything runs."""

import pytest

from tools.make_variables import USES, VARIABLES, main, refusal

REFUSED = [
    # targets
    ("prod", {}, "there is no target prod; run make for the list"),
    ("statsu", {}, "there is no target statsu; did you mean status?"),
    ("down prod", {}, "there is no target prod; run make for the list"),
    # a cloud without a stack: `make down CLOUD=aws` once destroyed the local stack and left the cloud's machines
    ("down CLOUD=aws", {}, "down: which stack? write STACK=name, e.g. STACK=aws-gpu"),
    ("status", {"CLOUD": "gcp"}, "status: which stack? write STACK=name, e.g. STACK=gcp-gpu"),
    ("down STACK=prod CLOUD=aws", {}, "down does not use CLOUD=aws; it uses STACK ARGS"),
    ("status INVENTORY=a.yaml CLOUD=aws", {}, "status does not use CLOUD=aws; it uses STACK INVENTORY HOST ARGS"),
    # variables: `make reboot HOST=gpu2` once rebooted every host
    ("smoke HOST=gpu2", {}, "smoke does not use HOST=gpu2; it uses STACK INVENTORY ARGS"),
    ("adapters HOST=gpu2", {}, "adapters does not use HOST=gpu2; it uses STACK INVENTORY DO ARGS"),
    ("down HOST=gpu2", {}, "down does not use HOST=gpu2; it uses STACK ARGS"),
    ("down", {"HOST": "gpu2"}, "down does not use HOST=gpu2 (exported by your shell: unset HOST); it uses STACK ARGS"),
    ("down", {"INVENTORY": "a.yaml"},
     "down does not use INVENTORY=a.yaml (exported by your shell: unset INVENTORY); it uses STACK ARGS"),
    ("deploy STACK=rack HOST=gpu2", {}, "deploy does not use HOST=gpu2; it uses STACK ARGS"),
    ("up INVENTORY=a.yaml", {}, "up does not use INVENTORY=a.yaml; it uses STACK ARGS"),
    ("preview INVENTORY=a.yaml", {}, "preview does not use INVENTORY=a.yaml; it uses STACK ARGS"),
    ("preflight INVENTORY=a.yaml", {}, "preflight does not use INVENTORY=a.yaml; it uses STACK ARGS"),
    ("deploy-cpu INVENTORY=a.yaml", {}, "deploy-cpu does not use INVENTORY=a.yaml; it uses STACK CLOUD ARGS"),
    ("deploy-cpu ENGINE=ollama", {}, "deploy-cpu does not use ENGINE=ollama; it uses STACK CLOUD ARGS"),
    ("demo STACK=prod", {}, "demo does not use STACK=prod; it uses ENGINE ARGS"),
    ("orphans CLOUD=aws STACK=prod", {}, "orphans does not use STACK=prod; it uses CLOUD ARGS"),
    ("down stack=prod", {}, "down does not use stack=prod; did you mean STACK?"),
    ("status STAK=prod", {}, "status does not use STAK=prod; did you mean STACK?"),
    ("reboot HSOT=gpu2", {}, "reboot does not use HSOT=gpu2; did you mean HOST?"),
    ("check NONSENSE=1", {}, "check does not use NONSENSE=1; it uses ARGS"),
    ("status smoke HOST=gpu2", {}, "smoke does not use HOST=gpu2; it uses STACK INVENTORY ARGS"),
    # a question: make would run those of its words that are targets
    ("ask should we go down now?", {}, 'ask: down is also a target; write the question as Q="…"'),
    ("ask help me", {}, 'ask: help is also a target; write the question as Q="…"'),
    ("ask is 1+1=2?", {}, 'ask: a question with = in it must be written as Q="…"'),
    ("ask PROVDER=claude hello", {}, "ask does not use PROVDER=claude; did you mean PROVIDER?"),
    ("aks hello there", {}, "there is no target aks; did you mean ask?"),
    ("up hello", {}, "there is no target hello; did you mean help?"),
    ("status Q=hello", {}, "status does not use Q=hello; it uses STACK INVENTORY HOST ARGS"),
    # a stack and an inventory
    ("status STACK=prod INVENTORY=a.yaml", {}, "status: write STACK or INVENTORY, not both"),
    ("status STACK=prod", {"INVENTORY": "a.yaml"}, "status: write STACK or INVENTORY, not both"),
    ("status INVENTORY=a.yaml", {"STACK": "prod"}, "status: write STACK or INVENTORY, not both"),
    # stacks of a kind
    ("deploy-gpu", {}, "deploy-gpu: which stack? write CLOUD=aws, CLOUD=gcp or STACK=name"),
    ("deploy-gpu-spot CLOUD=azure", {}, "deploy-gpu-spot: CLOUD=azure is unknown; write one of aws, gcp"),
    ("deploy-gpu CLOUD=aws STACK=mine", {}, "deploy-gpu: write CLOUD or STACK, not both"),
    ("deploy-cpu CLOUD=aws", {"STACK": "mine"}, "deploy-cpu: write CLOUD or STACK, not both"),
    # what a target cannot do without
    ("up STACK=", {}, "up: STACK is empty; write STACK=name, e.g. STACK=local"),
    ("plan", {"STACK": ""}, "plan: STACK is empty; write STACK=name, e.g. STACK=local"),
    ("orphans CLOUD=azure", {}, "orphans: CLOUD=azure is unknown; write one of aws, gcp"),
    ("orphans CLOUD=gpc", {}, "orphans: CLOUD=gpc is unknown; did you mean gcp?"),
    ("orphans", {}, "orphans: which cloud? write CLOUD=aws or CLOUD=gcp"),
    ("adopt INVENTORY=a.yaml", {}, "adopt: which host? write HOST=user@address"),
    ("rotate-key CLIENT=", {}, "rotate-key: whose key? write CLIENT=name, one of gateway.clients"),
    ("adapters DO=rolback", {}, "adapters: DO=rolback is unknown; did you mean rollback?"),
    ("adapters DO=x", {},
     "adapters: DO=x is unknown; write one of list, entry, manifest, plan, apply, promote, rollback, prune"),
]  # fmt: skip

ACCEPTED = [
    ("ask PROVIDER=claude what is a contract?", {}),
    ("ask", {}),
    ("ask STACK=prod Q=down", {}),
    ("help", {}),
    ("demo ENGINE=vllm", {"HOST": "shell", "STACK": "mine"}),
    ("deploy-cpu", {}),
    ("deploy-gpu CLOUD=aws AWS_PROFILE=work", {}),
    ("deploy-gpu CLOUD=aws STACK=", {}),
    ("status STACK= INVENTORY=a.yaml", {}),
    ("deploy-gpu", {"STACK": "mine"}),
    ("deploy STACK=aws-gpu CLOUD=", {}),
    ("status INVENTORY=a.yaml HOST=gpu2", {}),
    ("status STACK=prod INVENTORY=", {"INVENTORY": "a.yaml"}),
    ("status CLOUD=", {"CLOUD": "aws"}),
    ("up provision smoke STACK=mine", {}),
    ("orphans CLOUD=gcp", {"STACK": "mine", "HOST": "shell"}),
    ("adapters", {}),
    ("adapters DO=promote ARGS=contract@4", {}),
    ("test-unit WORKERS= ARGS=-x", {"HOST": "shell", "INVENTORY": "a.yaml"}),
    (".venv/.ready", {}),
]


def printed(command: str, exported: dict[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    main(command.split(), exported)
    return capsys.readouterr().out.removesuffix("\n")


@pytest.mark.parametrize(("command", "exported", "line"), REFUSED)
def test_stops_make(command: str, exported: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(command, exported, capsys) == line


@pytest.mark.parametrize(("command", "exported"), ACCEPTED)
def test_lets_make_run(command: str, exported: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(command, exported, capsys) == ""


@pytest.mark.parametrize("target", USES)
def test_every_target_rejects_every_variable_that_it_does_not_use(target: str) -> None:
    rejected = {
        name for name in VARIABLES if f"does not use {name}=1" in refusal([target], {"STACK": "", name: "1"}, {})
    }
    needs_stack = {"CLOUD"} if {"STACK"} <= set(USES[target]) else set[str]()
    assert rejected - needs_stack == set(VARIABLES) - set(USES[target]) - {"ARGS"} - needs_stack
