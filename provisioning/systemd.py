"""Words of a systemd unit file, so that a space, a quote or a `%` in a path means itself (systemd.syntax(7))."""

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=,./:@")


def command_word(text: str) -> str:
    """Return `text` as one word of ExecStart=, where `$` and `%` would begin something to fill in."""
    return _quoted(text.replace("$", "$$").replace("%", "%%"), text)


def assignment(name: str, value: str) -> str:
    """Return `name=value` as one word of Environment=, where only `%` would begin something to fill in."""
    text = f"{name}={value}"
    return _quoted(text.replace("%", "%%"), text)


def _quoted(escaped: str, plain: str) -> str:
    """Return `escaped` in quotes, unless `plain` needs none. Raises ValueError for what no unit file can hold."""
    if not plain.isprintable():
        raise ValueError(f"{plain!r} holds a character that a unit file cannot")
    if plain and set(plain) <= PLAIN:
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'
