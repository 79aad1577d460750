"""What a person wrote behind `pulumi`, in the spellings that the CLI knows."""

import pytest

from infra.pulumi_command.arguments import read_arguments


@pytest.mark.parametrize(
    ("words", "work", "stack", "folder"),
    [
        ("up -s prod", "up", "prod", ""),
        ("up --stack prod", "up", "prod", ""),
        ("up --stack=prod", "up", "prod", ""),
        ("up -sprod", "up", "prod", ""),
        ("up -s=prod", "up", "prod", ""),
        ("-s prod update -y", "up", "prod", ""),
        ("up -yfs prod", "up", "prod", ""),
        ("-C .. pre --diff -s prod", "preview", "prod", ".."),
        ("--cwd=infra preview", "preview", "", "infra"),
        ("down --yes -s acme/prod", "destroy", "acme/prod", ""),
        ("dn", "destroy", "", ""),
        ("refresh -r -s prod", "refresh", "prod", ""),
        ("--color never up -m -s -s prod", "up", "prod", ""),
        ("up --target a::b -t c::d -p 4 -s prod", "up", "prod", ""),
        ("up -c key=value -s prod", "up", "prod", ""),
    ],
)
def test_command_stack_and_folder_are_found(words: str, work: str, stack: str, folder: str) -> None:
    read = read_arguments(words.split())

    assert (read.work, read.stack, read.folder) == (work, stack, folder)


@pytest.mark.parametrize(
    "words", ["", "version", "stack ls", "up --help", "up -h", "up https://example.com/template", "up -- x", "new"]
)
def test_all_others_are_the_clis_alone(words: str) -> None:
    assert read_arguments(words.split()).work is None


@pytest.mark.parametrize(
    ("words", "own"),
    [("up -s a", False), ("up --config-file f", True), ("up -c a=b", True), ("up --config=a=b", True)],
)
def test_a_config_of_the_persons_own_is_noticed(words: str, own: bool) -> None:
    assert read_arguments(words.split()).has_own_config is own


def test_a_value_that_is_missing_is_the_clis_to_refuse() -> None:
    assert read_arguments(["up", "-s"]).stack == ""
    assert read_arguments(["up", "--stack"]).stack == ""
