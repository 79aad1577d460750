#!/usr/bin/env python3
"""Make the models that Ollama serves, with a server of its own, and show them to the engine when all are whole.

    ollama-models PLAN [--check]         make what is missing; an adapter that cannot be made is left out
    ollama-models PLAN --all [--look]    fail when one was left out, after another try (--look: without)

PLAN is a JSON file: {"program": …, "root": …, "prune": …, "models": [{"names": ["contract:3", "contract:latest"],
"from": {"folder" | "gguf" | "registry" | "model": …, "sha256": …}, "adapter": FOLDER, "settings": {…}}, …]}; a model
comes after what it is made from. ROOT/models is what the engine serves from and only reads. ROOT/building has the same
blobs and manifests of its own, so that the engine never lists a model that is half made, or only an ingredient.

Exits 0 when all is in place. Fetches nothing, and is meant to run where nobody else reaches its server: see the role.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the folder is the role's
sys.path.insert(0, str(Path(__file__).resolve().parent))

from llm_ollama.main import main  # type: ignore[import-not-found]  # noqa: E402  # beside this file, wherever that is

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
