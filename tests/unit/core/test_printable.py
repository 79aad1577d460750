"""Text from outside this project, on one line of a message."""

from core.printable import on_one_line


def test_no_character_breaks_the_line_or_moves_the_cursor() -> None:
    assert on_one_line("a\nb\tc\x1b[31m\u2028d") == r"a\nb\tc\x1b[31m\u2028d"
