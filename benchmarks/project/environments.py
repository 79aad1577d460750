"""Python environments of the programs that the benchmarks compare us with, each with its own lock."""

import shutil
import subprocess
import sys
from pathlib import Path

from core.errors import CheckError
from core.paths import cache_dir


def environment(lock: Path) -> Path:
    """Return the environment of a lock. Makes it if it is missing or the lock has changed. Raises CheckError."""
    folder = cache_dir() / "benchmarks" / lock.stem
    marker = folder / "lock.txt"
    if not marker.exists() or marker.read_bytes() != lock.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        uv = str(Path(sys.executable).parent / "uv")
        install = ["pip", "install", "--quiet", "--require-hashes", "--compile-bytecode", "-r", str(lock)]
        for words in (
            ["venv", "--quiet", "--python", sys.executable, str(folder)],
            [*install, "--python", str(folder / "bin" / "python")],
        ):
            done = subprocess.run([uv, *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise CheckError(f"{lock.stem}: uv could not install it", detail=done.stderr)
        shutil.copyfile(lock, marker)
    return folder
