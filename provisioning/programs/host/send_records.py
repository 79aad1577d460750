#!/usr/bin/env python3
"""Send the last records of a host that its cloud takes back to the stack's bucket.

    send-records SETTINGS    JSON: {"folder": "s3://… or gs://…/", "notice": FILE, "result": FILE,
                             "files": {NAME: FILE, …}, "journals": {NAME: [UNIT, …], …}}

Each run makes a folder of its own below `folder`, named by its time: a host may add objects and not replace them. What
fails is in the result and does not stop the rest. Beside this program lies llm_fetch, which signs the requests.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True  # the folder is the role's
sys.path.insert(0, str(Path(__file__).resolve().parent))

from llm_fetch import amazon, google  # type: ignore[import-not-found]  # noqa: E402  # beside this file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LINES = 20_000
LONGEST = 8 << 20
"""Bytes of one record before it is compressed: the end of a longer one."""
JOURNAL_S = 10
ANSWER_S = 8
TRIES = 2
CODE = re.compile(rb"<Code>(\w{1,60})</Code>")
"""Why S3 or Google's XML API refuses."""
SCHEMES = {"s3": amazon, "gs": google}


def journal(units: list[str]) -> bytes:
    """Return the end of the units' journal. Raises OSError, or subprocess.SubprocessError."""
    words = ["journalctl", "--quiet", "--no-pager", "--output=short-iso-precise", f"--lines={LINES}"]
    words += [f"--unit={unit}" for unit in units]
    return subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=JOURNAL_S).stdout


def records(settings: dict[str, Any]) -> Iterator[tuple[str, bytes | Exception]]:
    """Yield name and content of each record, the small ones first, or why it cannot be read."""
    files = {"notice.json": settings["notice"], **settings["files"]}
    for name, path in files.items():
        try:
            yield name, Path(path).read_bytes()[-LONGEST:]
        except FileNotFoundError:
            continue  # a host without adapters has no record of them
        except OSError as error:
            yield name, error
    for name, units in settings["journals"].items():
        try:
            yield f"{name}.gz", gzip.compress(journal(units)[-LONGEST:])
        except (OSError, subprocess.SubprocessError) as error:
            yield f"{name}.gz", error


def send(url: str, content: bytes) -> str:
    """Put an object into its bucket; return why it is not there, or an empty string."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    problem = ""
    for _ in range(TRIES):
        try:
            request = SCHEMES[scheme].request("PUT", bucket, key, content)
            request.add_header("Content-Type", "application/octet-stream")  # urllib's own is that of a form
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310  # S3 or Google
                answer.read()
            return ""
        except urllib.error.HTTPError as error:
            with error:
                code = CODE.search(error.read(4096))
            problem = f"HTTP {error.code}" + (f" {code.group(1).decode()}" if code else "")
            if error.code < 500:  # noqa: PLR2004 (HTTP)
                return problem
        except Exception as error:  # also llm_fetch's own; the other records are sent all the same
            problem = str(getattr(error, "reason", error)) or type(error).__name__
    return problem


def main(settings_file: str) -> int:
    """Send everything; return the exit status."""
    settings = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    folder = settings["folder"] + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "/"
    problems = []
    sent = 0
    for name, content in records(settings):
        problem = str(content) if isinstance(content, Exception) else send(folder + name, content)
        if problem:
            problems.append(f"{name}: {problem}")
            print(f"{name} is not in {folder}: {problem}", file=sys.stderr, flush=True)
        sent += not problem
    result = Path(settings["result"])
    part = result.with_suffix(".new")
    part.write_text(json.dumps({"folder": folder if sent else "", "problem": "; ".join(problems)[:300]}) + "\n")
    part.replace(result)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
