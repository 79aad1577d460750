"""The SDKs that applications use, against real vLLM behind the real gateway. Ollama's part is in test_ollama.py."""

import pytest

from provisioning.apply.desired_state import desired_state
from serving.endpoint import Endpoint
from tests.machine import sdk_calls
from tests.machine.served import Served


@pytest.fixture
def endpoint(served_machine: Served) -> Endpoint:
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ["gateway"]).endpoint
    assert endpoint
    return endpoint


@pytest.mark.parametrize("call", sdk_calls.VLLM, ids=lambda call: call.__name__)
def test_a_call_gets_its_answer(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, call: sdk_calls.Call) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(endpoint.ca))
    with sdk_calls.target(endpoint) as to:
        call(to)
