"""Our tables stay in the kernel: tested with the real nft, in a network namespace per test."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.paths import CHECKOUT

PROGRAMS = CHECKOUT / "provisioning" / "programs" / "firewall"
RULES = """\
table inet t
delete table inet t
table inet t {
    chain input {
        type filter hook input priority filter; policy accept;
        tcp dport 22 counter accept
        icmp type echo-request limit rate 20/second accept
    }
}
"""

SHELL = """
set -u
nft_rules() { "$PYTHON" -c 'import sys, pathlib, nft_rules as n
n.LOADED = pathlib.Path(sys.argv.pop(1))
sys.exit(n.main(*sys.argv[1:]))' "$PWD/loaded" "$@"; }
in_kernel() { nft list table inet t >/dev/null 2>&1 && echo there || echo gone; }
"""


def in_namespace(folder: Path, script: str) -> list[str]:
    """Run a shell script as root of a network namespace; return the lines that it prints."""
    (folder / "rules.nft").write_text(RULES)
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-c", SHELL + script],
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(PROGRAMS), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


CHANGES = {
    "nothing": (":", "", "there"),
    "all tables flushed": ("nft flush ruleset", "table t is not in the kernel", "gone"),
    "the table deleted": ("nft delete table inet t", "table t is not in the kernel", "gone"),
    "the chain flushed": ("nft flush chain inet t input", "table t in the kernel differs from rules.nft", "there"),
    "a rule added": ("nft add rule inet t input accept", "table t in the kernel differs from rules.nft", "there"),
    "another table": ("nft add table ip others", "", "there"),
    "another file": ("echo '# x' >> rules.nft", "table t was loaded before rules.nft changed", "there"),
}


@pytest.mark.parametrize(("change", "trouble", "before"), CHANGES.values(), ids=CHANGES.keys())
def test_lost_tables_are_detected_and_restored(tmp_path: Path, change: str, trouble: str, before: str) -> None:
    """After `nft flush ruleset` the unit stayed active, a plan had nothing to change, and status was ✓."""
    script = f"""
    nft_rules load rules.nft t && nft_rules check rules.nft t || echo never loaded
    {change}
    in_kernel
    nft_rules check rules.nft t && echo right
    nft_rules restore
    nft_rules load rules.nft t
    nft_rules check rules.nft t && echo right again
    """
    said = [f"planned: load rules.nft: {trouble}"] if trouble else ["right"]
    assert in_namespace(tmp_path, script) == [before, *said, "right again"]


def test_only_loaded_and_lost_tables_are_loaded_again(tmp_path: Path) -> None:
    script = """
    nft_rules restore; in_kernel
    nft_rules load rules.nft t; nft flush ruleset; nft_rules restore; in_kernel
    nft_rules drop t; in_kernel; nft_rules restore; in_kernel
    nft_rules drop t && echo no error
    """
    assert in_namespace(tmp_path, script) == ["gone", "there", "gone", "gone", "no error"]


def test_a_table_that_nobody_loaded_since_the_boot_is_not_trusted(tmp_path: Path) -> None:
    said = in_namespace(tmp_path, "nft -f rules.nft; nft_rules check rules.nft t || true")
    assert said == ["planned: load rules.nft: table t in the kernel was not loaded from rules.nft since the boot"]


def test_rules_that_nft_refuses_change_nothing(tmp_path: Path) -> None:
    script = """
    nft_rules load rules.nft t
    echo nonsense > broken.nft
    nft_rules load broken.nft t 2>/dev/null || echo refused
    nft_rules check rules.nft t && echo right
    """
    assert in_namespace(tmp_path, script) == ["refused", "right"]
