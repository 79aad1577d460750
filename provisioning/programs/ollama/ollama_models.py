#!/usr/bin/env python3
"""Make the models that Ollama serves, with a separate server, and publish them to the engine when all are complete.

    ollama-models PLAN [--check]         make missing models; an adapter that cannot be made is left out
    ollama-models PLAN --all [--look]    fail if one was left out, after another try (--look: without a try)

PLAN is a JSON file: {"program": …, "root": …, "prune": …, "models": [{"names": ["contract:3", "contract:latest"],
"from": {"folder" | "gguf" | "registry" | "model": …, "sha256": …}, "adapter": FOLDER, "settings": {…}}, …]}; a model
comes after its sources. The engine serves from ROOT/models and only reads it. ROOT/building has the same blobs and its
own manifests, so that the engine never lists an incomplete model or an intermediate one.

Exits 0 if everything is in place. Fetches nothing. Nobody else may reach its server: see the role.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the role owns the folder
sys.path.insert(0, str(Path(__file__).resolve().parent))

from llm_ollama.main import main  # type: ignore[import-not-found]  # noqa: E402  # beside this file, wherever that is

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
