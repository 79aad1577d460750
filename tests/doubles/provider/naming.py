"""Names that a provider makes from the resource's own when the program gives none."""

import hashlib
from typing import Any

from tests.doubles.provider.kind import Rules
from tests.doubles.provider.values import Properties

HEX_DIGITS = 7


def autoname(rules: Rules, request: Any, news: Properties, olds: Properties) -> Properties:
    """Return the inputs with a name: the one it has, or a new one from the engine's random seed."""
    seed = bytes(request.randomSeed) or request.urn.encode()
    made = f"{request.urn.rpartition('::')[2]}-{hashlib.sha256(seed).hexdigest()[:HEX_DIGITS]}"
    return named(rules, news, str(olds.get(rules.autoname or "") or made))


def named(rules: Rules, inputs: Properties, name: str) -> Properties:
    """Return the inputs with `name`, if the kind has one and the program gave none."""
    if rules.autoname is None or rules.autoname in inputs:
        return inputs
    return inputs | {rules.autoname: name}
