"""The commands and paths in the pages: make accepts every `make …` in them, and every file they name exists."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from serving.adapters.manifest import LOCK_HEAD
from tools.make_variables import USES

README = CHECKOUT / "README.md"
CONTRIBUTING = CHECKOUT / "CONTRIBUTING.md"
PAGES = [README, CHECKOUT / "stacks" / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"`(make [^`]+)`|^(?: {4})?(make [^#\n]+)", re.MULTILINE)
TABLE = re.findall(r"^\| (`make [^|]+) \|([^|]*)\|", README.read_text(encoding="utf-8"), re.MULTILINE)
"""Of each row the targets, and the variables that they use."""
EVERYWHERE = {"WORKERS"}
"""Variables that the README's table does not repeat in each row."""

TOP = "|".join(sorted(path.name for path in CHECKOUT.iterdir() if path.is_dir() and path.name[0] not in "._"))
PATH = re.compile(rf"(?<![^\s(])(?:\.\./)*((?:{TOP})/[^\s,;:()]+)")
NOT_HERE = re.compile(r".*[<*…]|stacks/(?:adapters/|Pulumi\.)|(?:bundles|hosts|models|runs)/|benchmarks/report/")
"""Placeholders, what a user or a command writes, and a folder that CONTRIBUTING.md says does not exist yet."""


def commands(text: str) -> list[str]:
    """Return the commands of a page without duplicates; a placeholder becomes a word."""
    found = [inline or line for inline, line in COMMAND.findall(text)]
    return sorted({re.sub(r"[<…>]+", "x", each.split("&&")[0]).strip() for each in found})


def refusal(command: str) -> str:
    """Return why `make` rejects a command; empty if it would run it."""
    words = [*shlex.split(command), "-n", "-o", ".venv/.ready"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_make_accepts_every_command_on_a_page(page: Path) -> None:
    """The pages once named a target that did not exist. A page may name a target without its variables."""
    refused = {command: refusal(command) for command in commands(page.read_text(encoding="utf-8"))}
    assert {
        command: said for command, said in refused.items() if said and not re.search(r"wh(ich|ose) \w+\?", said)
    } == {}


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING], ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_path_module_and_link_on_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = [each for span in re.findall(r"`([^`\n]+)`", text) for each in PATH.findall(span)]
    modules = [each.replace(".", "/") for each in re.findall(rf"python3? -m ((?:{TOP})[\w.]*)", text)]
    links = [each.partition("#")[0] for each in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in each]

    missing = [each for each in code if not NOT_HERE.match(each) and not (CHECKOUT / each).exists()]
    missing += [each for each in modules if not _is_module(CHECKOUT / each)]
    missing += [each for each in links if not (page.parent / each).exists()]

    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING], ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_to_a_heading_has_one(page: Path) -> None:
    """A heading that other pages link to was once deleted by mistake."""
    links = re.findall(r"\]\(([^)\s]*\.md|)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    ours = [(name, anchor) for name, anchor in links if "://" not in name]
    assert [each for each in ours if each[1] not in headings(page.parent / each[0] if each[0] else page)] == []


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


def test_the_map_names_folders_and_files_that_exist() -> None:
    """docs/architecture.md: a table per package, the rows' first column below the package of the heading."""
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### `(\w+/)`\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    rows = [(folder, row) for folder, body in sections for row in re.findall(r"^\| (`[^|]+) \|", body, re.MULTILINE)]
    named = [folder + each for folder, row in rows for each in re.findall(r"`([^`]+)`", row) if "<" not in each]

    assert len(named) > 2 * len(sections)
    assert [each for each in named if not (CHECKOUT / each).exists()] == []


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize(("targets", "words"), TABLE, ids=[targets for targets, _ in TABLE])
def test_the_table_of_targets_has_the_variables_of_each(targets: str, words: str) -> None:
    named = set(re.findall(r"`([A-Z]+)`", re.sub(r"not `\w+`", "", words)))
    if "hosts" in words:
        named |= {"STACK", "INVENTORY"} | (set() if "not `HOST`" in words else {"HOST"})
    for command in commands(targets):
        assert set(USES[command.split()[1]]) - EVERYWHERE == named, command


def test_all_targets_are_in_the_table() -> None:
    shown = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    reported = {command.split()[1] for targets, _ in TABLE for command in commands(targets)}
    assert set(re.findall(r"^  ([a-z-]+) ", shown, re.MULTILINE)) - reported == {"help", "setup", "test-unit"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_no_page_exports_our_ca_as_the_only_one(page: Path) -> None:
    """`export SSL_CERT_FILE=…` of our CA once broke every later download in that shell, and in the machines it made."""
    exported = re.compile(r"^export .*(?:SSL_CERT_FILE|CURL_CA_BUNDLE)=.*", re.MULTILINE)
    assert exported.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("models/contract-lora/adapter_model.safetensors", True),
        (".state/stacks/local/keys.json", True),
        ("hosts/gpu1.yaml", False),
        ("stacks/adapters/prod.yaml", False),
        ("stacks/adapters/prod.lock", False),
    ],
)
def test_git_ignores_secrets_and_models_only(path: str, *, ignored: bool) -> None:
    done = subprocess.run(["git", "check-ignore", "--no-index", "--quiet", path], cwd=CHECKOUT, check=False)
    assert (done.returncode == 0) is ignored


def test_the_pages_use_make_for_tasks_of_adapters() -> None:
    """docs/operations.md once said `adapters:prune`, which is not a command."""
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES} | {"adapters/<stack>.lock": LOCK_HEAD}
    named = {name: re.findall(r"`(?:fab )?adapters:\w+`", text) for name, text in texts.items()}
    assert {name: words for name, words in named.items() if words} == {}
