"""Fills in the templates of provisioning/templates. A name without a value is an error."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES_DIR = Path(__file__).parent


def render(name: str, **values: Any) -> str:
    """Return the template `name`, e.g. `sshd.conf.j2`, filled in with `values`."""
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> "Environment":
    """Return the one environment: templates are configuration files, so nothing is escaped for HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # 0.1 s, for roles only

    return Environment(
        loader=FileSystemLoader(TEMPLATES_DIR),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
