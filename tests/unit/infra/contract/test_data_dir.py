"""Where the data of a host may lie, as far as the path alone says it."""

# ruff: noqa: S108  # paths to judge; no file is made there

import pytest
from pydantic import TypeAdapter, ValidationError

from infra.contract.data_dir import DataDir

GOOD = [
    "/var/lib/llm",
    "/data",
    "/mnt/disk-2/llm_models.v1",
    "/home/me/llm",
    "/root/llm",
    "/tmpfs/llm",
    "/srv/tmp",
    "/runs",
    "/srv/..data",
    "/var/lib/llm/.hidden",
]

REFUSED = [
    ("/tmp", "temporary files"),
    ("/tmp/llm", "temporary files"),
    ("/var/tmp/llm", "temporary files"),
    ("/mnt/../tmp/llm", "temporary files"),
    ("/run/llm", "lost at a reboot"),
    ("/var/run/llm", "lost at a reboot"),
    ("/dev/shm/llm", "lost at a reboot"),
    ("/proc/llm", "lost at a reboot"),
    ("/sys/llm", "lost at a reboot"),
    ("/home", "write a folder below it, e.g. /home/llm"),
    ("/root", "write a folder below it, e.g. /root/llm"),
    ("/var/lib/../lib/llm", "write /var/lib/llm"),
    ("/var/lib/llm/..", "write /var/lib"),
    ("/var/./lib/llm", "write /var/lib/llm"),
    ("/var//lib/llm", "write /var/lib/llm"),
    ("//var/lib/llm", "write /var/lib/llm"),
    ("/var/lib/llm/", "write /var/lib/llm"),
    ("/", "write an absolute path"),
    ("/..", "write an absolute path"),
    ("//", "write an absolute path"),
    ("", "write an absolute path"),
    ("data", "write an absolute path"),
    ("../data", "write an absolute path"),
    ("~/llm", "write an absolute path"),
    ("/mnt/my data", "write an absolute path"),
    ("/mnt/data\n", "write an absolute path"),
]


@pytest.mark.parametrize("path", GOOD)
def test_a_folder_on_a_disk_is_taken(path: str) -> None:
    assert TypeAdapter(DataDir).validate_python(path) == path


@pytest.mark.parametrize(("path", "words"), REFUSED)
def test_a_place_where_the_data_cannot_lie_is_refused_with_what_to_write(path: str, words: str) -> None:
    """The config once took /tmp, /run and `..`, and the engine's start failed after the model was there."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(DataDir).validate_python(path)
    assert words in str(refused.value)
