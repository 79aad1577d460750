"""The stack files of this checkout and their README."""

import re

import pytest
import yaml

from core.paths import CHECKOUT, STACKS_DIR
from infra.config import DeploymentConfig, load_stack
from infra.config.checks import checked
from infra.config.reader import DEPLOYMENT_KEY, known_stacks

README = (STACKS_DIR / "README.md").read_text()


@pytest.mark.parametrize("stack", known_stacks())
def test_every_stack_is_valid(stack: str) -> None:
    """Each stack file is valid."""
    assert isinstance(load_stack(stack), DeploymentConfig)


@pytest.mark.parametrize("stack", known_stacks())
def test_every_stack_is_in_the_readme(stack: str) -> None:
    """The table in the README lists each stack with its cost."""
    assert re.search(rf"^\| `{stack}` \|.*\| \S+", README, re.MULTILINE)


@pytest.mark.parametrize("stack", known_stacks())
def test_every_scalar_of_a_stack_has_a_comment(stack: str) -> None:
    """Users learn the fields from stack files. Only obvious siblings need no comment."""
    lines = (STACKS_DIR / f"Pulumi.{stack}.yaml").read_text().splitlines()
    bare = [line for line in lines if re.match(r"\s*-?\s*[a-z_]+: [^#]+$", line)]
    obvious = re.compile(r"\s*(- name|version|source|rank|name): ")
    assert [line for line in bare if not obvious.match(line)] == []


def test_the_demo_stack_serves_two_adapters() -> None:
    """`make demo` promises a base model and two adapters, on this computer."""
    config = load_stack("local")
    assert config.cloud == "local"
    assert config.serving.served_names == ("tiny-llama", "contract", "contract@1", "summary", "summary@1")


def test_the_example_in_the_readme_is_valid() -> None:
    """The example is valid, except for the user's own folder."""
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        checked(yaml.safe_load(block)["config"][DEPLOYMENT_KEY], "stacks/README.md")


def test_the_links_of_the_readme_exist() -> None:
    """Each link of the README names an existing file."""
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (STACKS_DIR / target).resolve().is_relative_to(CHECKOUT)
        assert (STACKS_DIR / target).exists(), target
