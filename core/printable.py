"""Text from outside this project, made safe for one line of a message."""

from core.console import plain


def on_one_line(text: str) -> str:
    """Return `text` with every control character as an escape, line feeds and tabs included."""
    return plain(text).replace("\n", r"\n").replace("\t", r"\t")
