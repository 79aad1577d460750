"""Which texts of a file the lint of words reads, and what it prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from tools.prose.__main__ import files
from tools.prose.check import CHECKED, EXEMPT, findings, listed

BAD = "tol" + "d"
"""A refused word, in parts so that the lint does not find it here."""

READ = [
    ("README.md", "It is {bad}.\n", 1),
    ("README.md", "```console\n# is {bad}\n```\n", 2),
    ("a.py", '"""Return one {bad}."""\n', 1),
    ("a.py", "x = 1  # one {bad}\n", 1),
    ("a.py", "raise Error(f'{x}: is {bad}')\n", 1),
    ("a.py", "x = rb'''\n\nis {bad}'''\n", 3),
    ("a.py", "say('\\n{bad} so')\n", 1),
    ("a.py", "say(\"it's {bad}\")  # it's so\n", 1),
    ("tests/test_a.py", "def test_is_{bad}_so() -> None: ...\n", 1),
    ("tests/test_a.py", "class Test_{bad}: ...\n", 1),
    ("tools/a.sh", "echo 'is {bad}'\n", 1),
    (".ci/run", "#!/usr/bin/env bash\n# is {bad}\n", 2),
    (".ci/other", "#!/usr/bin/env python3\nprint('is {bad}')\n", 2),
    ("Makefile", "x: ## Is {bad}\n", 1),
    ("a.service.j2", "# is {bad}\n", 1),
    ("a.yaml", "key: 1  # is {bad}\n", 1),
    ("pyproject.toml", 'x = [\n  "S603",  # is {bad}\n]\n', 2),
]

NOT_READ = [
    ("README.md", "[words]({bad}.md) and `{bad}` and `make {bad} STACK=x`\n"),
    ("a.py", "{bad} = found.{bad}({bad}='x y')\n"),
    ("a.py", "parametrize(('{bad}', 'x'), 'x, {bad}')\n"),
    ("a.py", "f'the {x.{bad}} of it'\n"),
    ("a.py", '"""Return `{bad}` or ``{bad}``."""\n'),
    ("a.py", "def test_{bad}() -> None: ...\n"),
    ("a.sh", '{bad}=1; echo "$1 ${bad}"; cat x/{bad}\n'.replace("{bad}", BAD)),
    ("a.yaml", "key: is {bad}\nother: a#{bad}\n"),
    ("Makefile", "{bad}: x\n\techo is {bad}\n"),
    ("a.csv", "is {bad}\n"),
    ("a.json", '"is {bad}"\n'),
    ("binary", "is {bad}\n"),
]


@pytest.mark.parametrize(("name", "source", "line"), READ)
def test_texts_that_people_read(name: str, source: str, line: int) -> None:
    found = findings(name, source.replace("{bad}", BAD))
    assert [(each.name, each.line, each.found) for each in found] == [(name, line, BAD)]


@pytest.mark.parametrize(("name", "source"), NOT_READ)
def test_code_and_data(name: str, source: str) -> None:
    assert findings(name, source.replace("{bad}", BAD)) == []


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("a.py", "# it is\n#   no file\n", ["is no"]),
        ("a.py", 'x = ("it is "\n    "no file")\n', ["is no"]),
        ("a.py", 'x = "it is", "no file"\n', []),
        ("a.py", '"""It is."""\nx = 1\n# no file\n', []),
        ("a.sh", "# it is\n# no file\n", ["is no"]),
    ],
)
def test_a_phrase_may_cross_lines_but_not_code(name: str, source: str, found: list[str]) -> None:
    assert [each.found for each in findings(name, source)] == found


def test_a_finding_says_where_it_is_and_what_to_write() -> None:
    name = "a" + "new"
    assert str(*findings("docs/a.md", f"\nStart {name}.\n")) == f"docs/a.md:2: refused phrase '{name}'; write: again"


def run(*paths: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.prose", *paths], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )


def test_checks_the_listed_files() -> None:
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_missing_path_is_a_usage_error() -> None:
    done = run("tools/pros")
    assert done.returncode == 2
    assert "tools/pros does not exist; write the path of a file or folder" in done.stderr


def test_reads_what_git_tracks() -> None:
    assert "tools/prose/rules.py" in files([CHECKOUT / "tools"])
    assert not [name for name in files([CHECKOUT / "tools"]) if "__pycache__" in name]


def test_the_list_is_in_order_and_has_no_file_twice() -> None:
    paths = list(listed(CHECKED.read_text(encoding="utf-8").splitlines()))
    assert paths == sorted(set(paths))


def test_exempt_files_exist() -> None:
    assert [name for name in EXEMPT if not (CHECKOUT / name).exists()] == []
