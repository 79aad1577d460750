"""Names that a provider makes from the resource's own when the program gives none."""

import hashlib
from typing import Any

from tests.doubles.provider.kind import Rules
from tests.doubles.provider.values import Properties

HEX_DIGITS = 7


def autoname(rules: Rules, request: Any, news: Properties, olds: Properties) -> Properties:
    """Return the inputs with a name: the one it has, or a new one from the engine's random seed."""
    if rules.autoname is None or rules.autoname in news:
        return news
    name = olds.get(rules.autoname)
    if name is None:
        seed = bytes(request.randomSeed) or request.urn.encode()
        name = f"{request.urn.rpartition('::')[2]}-{hashlib.sha256(seed).hexdigest()[:HEX_DIGITS]}"
    return news | {rules.autoname: name}
