"""Folders that may hold a host's data, judged by the path alone."""

# ruff: noqa: S108  # only paths; no file is created there

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
def test_accepts_a_folder_on_a_disk(path: str) -> None:
    assert TypeAdapter(DataDir).validate_python(path) == path


@pytest.mark.parametrize(("path", "words"), REFUSED)
def test_rejects_a_folder_that_cannot_hold_data_and_says_what_to_write(path: str, words: str) -> None:
    """The config once accepted /tmp, /run and `..`; the engine then failed to start after the model download."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(DataDir).validate_python(path)
    assert words in str(refused.value)
