"""A client that hangs up frees its work in vLLM, through the gateway."""

import json

import pytest

from provisioning.apply.desired_state import desired_state
from tests.machine.converge_host import remote
from tests.machine.served import Served
from tests.slowness import patient

USUALLY_S = 0.2

HANG_UP = """
import json, os, re, socket, ssl, sys, time, urllib.request
key, stream = os.environ["KEY"], sys.argv[1] == "stream"

def running():
    with urllib.request.urlopen("http://127.0.0.1:8000/metrics", timeout=60) as answer:
        found = re.findall(r"^vllm:num_requests_running\\{.*\\} (\\S+)$", answer.read().decode(), re.MULTILINE)
    return sum(map(float, found))

def until(true, what):
    end = time.monotonic() + 60
    while not true():
        if time.monotonic() > end:
            sys.exit("waited 60 s for " + what)

tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
until(lambda: running() == 0, "an idle engine")
client = tls.wrap_socket(socket.create_connection(("127.0.0.1", 443), timeout=60))
body = json.dumps({"model": "tiny", "prompt": "The rent", "max_tokens": 1900, "ignore_eos": True, "stream": stream})
lines = ("POST /v1/completions HTTP/1.1", "Host: gateway", "Authorization: Bearer " + key)
lines += ("Content-Type: application/json", "Content-Length: %d" % len(body), "", body)
client.sendall("\\r\\n".join(lines).encode())
if stream:
    said = client.recv(4096)
    if not said.startswith(b"HTTP/1.1 200"):
        sys.exit(said.decode())
until(lambda: running() == 1, "the request")
client.close()
closed = time.monotonic()
until(lambda: running() == 0, "the end of its work")
print(json.dumps(time.monotonic() - closed))
"""


@pytest.mark.parametrize("kind", ["stream", "whole"])
def test_a_client_that_hangs_up_frees_its_work_in_the_engine(served_machine: Served, kind: str) -> None:
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ["gateway"]).endpoint
    assert endpoint
    key = endpoint.api_key().get_secret_value()
    script = f"cat > /tmp/hang_up.py <<'END'\n{HANG_UP}END\nKEY={key} python3 /tmp/hang_up.py {kind}\n"
    after_s = json.loads(remote(served_machine.host, script))
    assert after_s < patient(USUALLY_S)
