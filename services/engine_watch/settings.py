"""The settings of the watcher of one host: a JSON file without secrets, written by the role."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The keys of the file; the engine's key is in the environment, as VLLM_API_KEY."""

    engine: str
    """vllm or ollama."""
    unit: str
    """The engine's unit, e.g. vllm.service."""
    port: int
    base: str
    """Served name of the base model."""
    burning_s: float
    """How long work may make no progress that a counter shows while the processors or the GPU are busy."""
    agent_address: str
    """`::` for every address of the host."""
    agent_port: int
    metrics_port: int
    gpu: bool = False
    adapters_file: str = "/etc/llm/engine-watch-adapters.json"
    """The served names of the adapters that this host is listed for; read again at each start of the engine."""
    notice_dir: str = "/run/llm-notice"
    runtime_dir: str = "/run/llm-watch"
    proc: str = "/proc"

    @classmethod
    def read(cls, path: str) -> "Settings":
        """Return the settings in a file."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def adapters(self) -> tuple[str, ...]:
        """Return the names in the adapters' file; none if there is no such file."""
        try:
            return tuple(json.loads(Path(self.adapters_file).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return ()
