"""Each rule of the lint of words, with a text that it refuses and one that it accepts."""

import pytest

from tools.prose.rules import RULES, refused

CASES = [
    ("Start the host anew.", "anew", "again", "Start the host again."),
    ("Whoever asks gets 401.", "Whoever", "the actor's name: the client, the user, systemd", "A client gets 401."),
    ("The error is told on stderr.", "told", "reported, printed or given; or name who says it", "It is printed."),
    ("no key of ours", "of ours", "our, their", "not our key, and hours pass"),
    ("It restarts of its own accord.", "of its own accord", "by itself, automatically", "It restarts by itself."),
    ("0673 is no whole number", "is no", "is not a …", "There is no zone; it is no longer needed; noon is no-one's"),
    ("these were no tokens", "were no", "is not a …", "there are no tokens; they were no more than 3"),
    ("web is none of gateway.clients", "is none of", "is not one of", "there is none of them; none of them is up"),
    ("that of which it knows", "that of which", "a sentence of its own", "that, of which it knows"),
    ("Empty first; none: nothing to do.", "none:", "None: with a capital letter, or the condition: without a value",
     "None: nothing to do."),
    ("Remove what is left.", "what is left", "the noun: the remaining files, the output", "what is on the left"),
    ("The host has gone.", "has gone", "no longer exists, has ended", "The host is gone."),
    ("The key is at hand.", "at hand", "available, present", "The hand is at the key."),
    ("It is then that it starts.", "It is then that", "then", "It is then started."),
    ("ask Pulumi's engine", "Pulumi's engine", "the Pulumi engine", "ask the Pulumi engine"),
    ("the wishes of a host", "wishes", "desired state, resource", "the desired state of a host, wishful"),
    ("Remove strays.", "strays", "orphan", "Remove orphans, astray or not: make leftovers CLOUD=aws"),
    ("Read the lease.", "lease", "candidate (type, zone, market) or placement (where a stack was put)",
     "Read the release, and the DHCP lease."),
    ("while settling", "settling", "choosing a candidate", "while it settles"),
    ("a head start", "head start", "prefetch", "headstart"),
    ("a parcel", "parcel", "payload", "parcelled"),
    ("the upkeep of hosts", "upkeep", "maintenance, or spot and access", "keep up"),
    ("a rented host", "rented", "created; or name the cloud's machine", "the current host"),
    ("its former name", "former", "previous", "a transformer of this form"),
    ("formerly so", "formerly", "previously", "formally so"),
    ("one that stands", "that stands", "existing", "one that understands"),
    ("the file that is wanted", "that is wanted", "required", "the file that is required"),
]  # fmt: skip
"""Refused text, the phrase in it, what to write instead, accepted text."""


@pytest.mark.parametrize(("text", "phrase", "instead"), [case[:3] for case in CASES])
def test_refuses(text: str, phrase: str, instead: str) -> None:
    assert [(found[0], rule.instead) for found, rule in refused(text)] == [(phrase, instead)]


@pytest.mark.parametrize("text", [case[3] for case in CASES])
def test_accepts(text: str) -> None:
    assert list(refused(text)) == []


def test_every_rule_has_a_case() -> None:
    covered = {id(rule) for text, *_ in CASES for _, rule in refused(text)}
    assert [rule.pattern.pattern for rule in RULES if id(rule) not in covered] == []


def test_finds_a_phrase_across_a_line_break() -> None:
    assert [found[0] for found, _ in refused("it is\n   no file")] == ["is\n   no"]
