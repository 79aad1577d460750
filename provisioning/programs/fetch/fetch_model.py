#!/usr/bin/env python3
"""Fetch a model or an adapter, and check every file.

    fetch-model REPO REVISION FOLDER [NAME=SHA256…] [--check]    a repository of the Hugging Face hub at a commit
    fetch-model URL SHA256 FOLDER [NAME=SHA256…] [--check]       s3://, gs:// or https://, with a list SHA256SUMS in it
    fetch-model PLACE PIN --show NAME                            print checksums and one small file as JSON
    fetch-model ollama+URL/OWNER/NAME:TAG DIGEST FOLDER [--check]  a model of Ollama's registry, by its digest

An interrupted fetch continues where it stopped. SHA256 is the hash of the list. NAME=SHA256 pins a file beyond the
source's own checksums. --max-rank=N and --base=REPO refuse an adapter that does not fit, before its weights are
fetched. --immutable=yes refuses a FOLDER that is complete from another source or commit. --check fetches nothing and
exits 0 if FOLDER is complete.

The variables with tokens and keys are in hub.py, amazon.py and google.py in the folder llm_fetch beside this file; for
https:// it is LLM_FETCH_TOKEN.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the folder is the role's
sys.path.insert(0, str(Path(__file__).resolve().parent))

from llm_fetch.main import main  # type: ignore[import-not-found]  # noqa: E402  # beside this file, wherever that is

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
