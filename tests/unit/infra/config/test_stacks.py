"""The stack files of this checkout and their README."""

import re

import pytest
import yaml

from core.paths import CHECKOUT, STACKS_DIR
from infra.config import DeploymentConfig, load_stack
from infra.config.checks import checked
from infra.config.models.gateway import GatewayConfig
from infra.config.reader import DEPLOYMENT_KEY, known_stacks
from tests.unit.infra.config.conftest import WriteStack

README = (STACKS_DIR / "README.md").read_text()
EXAMPLES = {
    f"{page.relative_to(CHECKOUT)}: {number}": block
    for page in sorted((CHECKOUT / "docs").rglob("*.md"))
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL), 1)
}
WHOLE = {place: text for place, text in EXAMPLES.items() if text.startswith("config:")}
"""Complete stack files."""
GATEWAYS = {place: text for place, text in EXAMPLES.items() if "gateway" in yaml.safe_load(text)}
"""The section `gateway`, with or without others."""


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


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_a_complete_stack_file_in_the_docs_is_valid(text: str, write_stack: WriteStack) -> None:
    """A reader copies it to stacks/, so it is read from there."""
    write_stack(text)
    assert isinstance(load_stack("case"), DeploymentConfig)


@pytest.mark.parametrize("text", GATEWAYS.values(), ids=GATEWAYS)
def test_an_example_of_a_gateway_in_the_docs_is_valid(text: str) -> None:
    """Each key and value fits. `<…>` is what the reader writes, here a checksum."""
    section = yaml.safe_load(re.sub(r"<[^>\n]*>", "f" * 64, text))["gateway"]
    assert isinstance(GatewayConfig.model_validate(section), GatewayConfig)


def test_the_docs_have_a_complete_stack_file_and_examples_of_a_gateway() -> None:
    """Without examples the two tests above would pass."""
    assert len(WHOLE) >= 1
    assert len(GATEWAYS) >= 8


def test_the_links_of_the_readme_exist() -> None:
    """Each link of the README names an existing file."""
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (STACKS_DIR / target).resolve().is_relative_to(CHECKOUT)
        assert (STACKS_DIR / target).exists(), target
