"""Which repositories apt already has; compared with apt itself if it is installed here."""

import shutil
import subprocess
from pathlib import Path

import pytest

from provisioning.programs.nvidia.llm_nvidia import apt_sources, packages
from tests.unit.provisioning.programs.nvidia.nvidia_facts import WANTED, facts

URI = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/"
STANZA = f"Types: deb\nURIs: {URI}\nSuites: /\n"

CASES = [
    ("cuda.list", f"deb {URI} /\n", True),
    ("cuda.list", f"deb [signed-by=/usr/share/keyrings/a.gpg arch=amd64] {URI} /\n", True),
    ("cuda.list", f"deb [ trusted=yes ] {URI.rstrip('/')} /\n", True),
    ("cuda.list", f"  deb\t{URI}\t/  # NVIDIA\n", True),
    ("cuda.list", f"# deb {URI} /\n", False),
    ("cuda.list", f"#deb {URI} /\ndeb http://other.example/ /\n", False),
    ("cuda.list", f"deb-src {URI} /\n", False),
    ("cuda.list", f"deb [arch=arm64] {URI} /\n", True),
    ("cuda.list", f"deb {URI.replace('ubuntu2404', 'ubuntu2204')} /\n", False),
    ("cuda.list", f"deb {URI.rstrip('/')}-old/ /\n", False),
    ("cuda.list.save", f"deb {URI} /\n", False),
    ("cuda.list.distUpgrade", f"deb {URI} /\n", False),
    ("cuda.list.bak", f"deb {URI} /\n", False),
    ("cuda", f"deb {URI} /\n", False),
    (".cuda.list", f"deb {URI} /\n", False),
    ("cuda list.list", f"deb {URI} /\n", False),
    ("cuda.list", f'deb "{URI}" /\n', True),
    ("cuda.list", f'deb [trusted=yes] "{URI}" "/"\n', True),
    ("cuda.list", f"deb {URI.replace('cuda', '%63uda')} /\n", True),
    ("cuda.list", f'# deb "{URI}" /\n', False),
    ("cuda.list", f"deb [ lang=[x] ] {URI} /\n", True),
    ("cuda.list", f"deb [arch=[amd64]] {URI} /\n", True),
    ("cuda.list", f"deb [ trusted=yes lang=[en] ] {URI} /\n", True),
    ("cuda.list", f'deb [ lang="a b" ] {URI} /\n', True),
    ("cuda.list", f"deb [ trusted=yes ]{URI} /\n", True),
    ("cuda.list", f"deb [trusted=yes]\t{URI} /\n", True),
    ("cuda.list", f"deb-src [ lang=[x] ] {URI} /\n", False),
    ("cuda:1.list", f"deb {URI} /\n", True),
    (":cuda.list", f"deb {URI} /\n", True),
    ("cuda:1.list.save", f"deb {URI} /\n", False),
    ("cuda+1.list", f"deb {URI} /\n", False),
    ("cuda:1.sources", STANZA, True),
    ("cuda.sources", STANZA.replace(URI, f'"{URI}"'), False),
    ("cuda.sources", STANZA, True),
    ("cuda.sources", f"types: deb\nuris: http://a.example/ {URI}\nsuites: /\n", True),
    ("cuda.sources", f"Types: deb\nURIs:\n http://a.example/\n {URI}\nSuites: /\n", True),
    ("cuda.sources", f"Enabled: yes\n{STANZA}", True),
    ("cuda.sources", f"Enabled: no\n{STANZA}", False),
    ("cuda.sources", f"Enabled: FALSE\n{STANZA}", False),
    ("cuda.sources", f"{STANZA}Enabled: off\n", False),
    ("cuda.sources", f"Enabled: no\n{STANZA}\n{STANZA}", True),
    ("cuda.sources", "".join(f"# {line}\n" for line in STANZA.splitlines()), False),
    ("cuda.sources", STANZA.replace("deb", "deb-src"), False),
    ("cuda.sources", f"{STANZA}Architectures: arm64\n", True),
    ("cuda.sources", f"{STANZA}Architectures: amd64 arm64\n", True),
    ("cuda.sources.disabled", STANZA, False),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}: {case[1].splitlines()[0]}")
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bool]:
    """Return a folder in place of /etc/apt with one file in it, and whether apt takes packages from NVIDIA's."""
    name, content, active = request.param
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / name).write_text(content)
    (tmp_path / "sources.list").write_text("deb http://deb.debian.org/debian bookworm main\n")
    return tmp_path, active


def test_only_active_entries_name_a_repository(case: tuple[Path, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """`cuda.list.save` and `Enabled: no` counted as active, so no file named the repository and no driver was found.

    Later a quoted URI, brackets in an option, and a file name with `:` did not count, and apt had the repository twice.
    """
    apt, active = case
    monkeypatch.setattr(packages, "APT_FOLDER", apt)
    assert (packages.repository(WANTED, facts()) == "") is active


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="asks apt itself")
def test_apt_reads_the_same(tmp_path: Path) -> None:
    """apt reads all cases in one run: each case has its own host in the URI and its own file name."""
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://deb.debian.org/debian bookworm main\n")
    for number, (name, content, _active) in enumerate(CASES):
        (parts / f"{name[0]}{number}{name[1:]}").write_text(content.replace("//developer.", f"//developer{number}."))
    options = {
        "Dir::Etc::sourcelist": tmp_path / "sources.list",
        "Dir::Etc::sourceparts": parts,
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    command = ["apt-get", *words, "indextargets", "--no-release-info", "--format", "$(REPO_URI)"]
    command.append("Created-By: Packages")
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    seen = {apt_sources.comparable(each) for each in listed}
    own = [URI.replace("developer", f"developer{number}") for number in range(len(CASES))]
    found = [apt_sources.comparable(each) in seen for each in own]
    assert list(zip(CASES, found, strict=True)) == [(case, case[2]) for case in CASES]


@pytest.mark.parametrize(
    ("line", "about"),
    [
        (f"E: The repository '{URI}  Release' is not signed.", True),
        (f"E: The repository '{URI.rstrip('/')}  InRelease' is no longer signed.", True),
        (f"E: Failed to fetch {URI}Packages.gz  File has unexpected size", True),
        (f"W: Failed to fetch {URI}InRelease  Could not connect", True),
        (f"E: The repository '{URI}more ./ Release' does not have a Release file.", False),
        ("E: The repository 'http://dead.example jammy Release' does not have a Release file.", False),
        ("E: Release file for http://dead.example/dists/jammy/InRelease is expired", False),
        ("E: The list of sources could not be read.", False),
    ],
)
def test_only_errors_about_our_repository_stop_the_role(line: str, about: bool) -> None:
    assert apt_sources.is_about(line, URI) is about
