"""Text from elsewhere on one line of a message."""

from core.console import plain


def on_one_line(text: str) -> str:
    """Return `text` with all control characters written as escapes, line feeds and tabs, too."""
    return plain(text).replace("\n", r"\n").replace("\t", r"\t")
