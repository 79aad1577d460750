"""The settings of one host's service: a JSON file without secrets, written by the role."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The keys of the file."""

    cloud: str
    """aws or gcp."""
    drain_on_rebalance: bool = False
    """Whether a rebalance recommendation drains the host. Else it is only shown."""
    gpu: bool = False
    sends_records: bool = False
    """Whether the host has a bucket for its last records, and a unit that sends them on request."""
    notice_dir: str = "/run/llm-notice"
    metadata: str = "http://169.254.169.254"

    @classmethod
    def read(cls, path: str) -> "Settings":
        """Return the settings in a file."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
