"""The phrases that the lint refuses, each with what to write instead."""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One refused phrase."""

    pattern: re.Pattern[str]
    instead: str


def _rule(phrase: str, instead: str, *, flags: re.RegexFlag = re.IGNORECASE) -> Rule:
    """Return the rule for `phrase`, a regular expression of whole words; a blank in it also matches a line break."""
    words = phrase.replace(" ", r"\s+")
    return Rule(re.compile(rf"(?:{words})(?![\w-])", flags), instead)


_COMPARATIVES = "longer|more|less|fewer|better|worse|larger|smaller|older|newer|earlier|later|different"

RULES = (
    # English that is read twice
    _rule("anew", "again"),
    _rule("whoever", "the actor's name: the client, the user, systemd"),
    _rule("told", "reported, printed or given; or name who says it"),
    _rule("of (?:ours|theirs)", "our, their"),
    _rule("of (?:its|their) own accord", "by itself, automatically"),
    _rule(rf"(?<!there\s)(?:is|are|was|were) no(?! (?:{_COMPARATIVES})\b)(?= \w)", "is not a …"),
    _rule(r"(?<!there\s)(?:is|are|was|were) none of", "is not one of"),
    _rule("that of which", "a sentence of its own"),
    _rule("none:(?!\\S)", "None: with a capital letter, or the condition: without a value", flags=re.RegexFlag(0)),
    _rule("what (?:is|are|was|were) (?:left|seen|told|said|wanted)", "the noun: the remaining files, the output"),
    _rule("(?:has|have|had) gone", "no longer exists, has ended"),
    _rule("at hand", "available, present"),
    _rule("it is then that", "then"),
    # one word for one thing
    _rule("Pulumi's engine", "the Pulumi engine"),
    _rule("wish|wishes|wished", "desired state, resource"),
    _rule("leftovers?(?! CLOUD)|strays?|adrift", "orphan"),
    _rule(r"(?<!dhcp\s)leases?", "candidate (type, zone, market) or placement (where a stack was put)"),
    _rule("settling", "choosing a candidate"),
    _rule("head start", "prefetch"),
    _rule("parcels?", "payload"),
    _rule("upkeep", "maintenance, or spot and access"),
    _rule("rented|renting", "created; or name the cloud's machine"),
    _rule("former", "previous"),
    _rule("formerly", "previously"),
    _rule("that stands?", "existing"),
    _rule("(?:that|which) (?:is|are) wanted", "required"),
)

_ANY = re.compile(
    rf"(?<![\w-])(?=\w)(?:{'|'.join(rule.pattern.pattern for rule in RULES)})".replace("Pulumi", "pulumi")
)


def refused(text: str) -> Iterator[tuple[re.Match[str], Rule]]:
    """Yield each refused phrase of `text` with its rule."""
    for candidate in _ANY.finditer(text.lower()):  # thirty times as fast as each rule by itself without regard to case
        for rule in RULES:
            if found := rule.pattern.match(text, candidate.start()):
                yield found, rule
                break
