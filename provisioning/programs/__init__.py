"""This project's programs that run on hosts: standard library only, Python 3.8. Roles send them.

Most are one file. The larger ones also import a package: `llm_fetch`, `llm_nvidia` or `llm_ollama`.
"""

from pathlib import Path


def program(name: str) -> str:
    """Return the text of a program, e.g. `gateway/check_port`."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")


def modules(package: str) -> dict[str, str]:
    """Return the text of each module of a package that programs import, by file name, e.g. of `fetch/llm_fetch`."""
    files = sorted((Path(__file__).parent / package).glob("*.py"))
    return {path.name: path.read_text(encoding="utf-8") for path in files}
