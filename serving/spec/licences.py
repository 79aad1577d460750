"""Licences of models. A licence that forbids commercial use must be accepted in the stack file, whatever the source.

Only names are compared: a copy of EXAONE under an unrelated name is not recognised.
"""

from collections.abc import Iterator

from core.reading.rules import Problem
from serving.spec.fields import ModelSource, ServingFields

PUBLISHER = "lgai-exaone/"

LICENCES = {
    "exaone-3.0-": "exaone-1.1-nc",
    "exaone-3.5-": "exaone-1.1-nc",
    "exaone-deep-": "exaone-1.1-nc",
    "exaone-4.0-": "exaone-1.2-nc",
}
"""Licences of the publisher's repositories, by the start of their names in lower case, as the hub ignores case.

Source: the file LICENSE of each repository on the hub.
"""

OTHER_EXAONE_LICENCE = "exaone-nc"
"""Licence of the publisher's repositories that are not in the table yet."""


def is_exaone(source: ModelSource) -> bool:
    """Return whether repository, address, name or path of the source contains EXAONE, in any case."""
    return any("exaone" in str(getattr(source, field, "")).lower() for field in ("repo", "url", "name", "path"))


def licence_accepted(spec: ServingFields) -> Iterator[Problem]:
    """The file accepts a licence that forbids commercial use by its name."""
    source, given = spec.model.source, spec.model.accept_licence
    if source.kind == "tiny" or not is_exaone(source):
        return
    if source.kind == "hub" and source.repo.lower().startswith(PUBLISHER):
        wanted = _licence_of(source.repo.lower().removeprefix(PUBLISHER))
        if given != wanted:
            what = "is missing" if given is None else f"{given} is not the licence of {source.repo}"
            hint = f"read the repository's LICENSE (non-commercial use only) and write {wanted} if you accept it"
            yield Problem("model.accept_licence", what, hint)
    elif given not in (names := sorted({*LICENCES.values(), OTHER_EXAONE_LICENCE})):
        hint = f"read the model's LICENSE (non-commercial use only) and write its name: {', '.join(names)}"
        yield Problem("model.accept_licence", f"{given} is not an EXAONE licence" if given else "is missing", hint)


def licence_has_one_name(spec: ServingFields) -> Iterator[Problem]:
    """The accepted licence is the licence of the model."""
    named, accepted = spec.model.licence, spec.model.accept_licence
    if named and accepted and named != accepted:
        yield Problem(
            "model.licence",
            f"{named} is not {accepted}, the licence in accept_licence",
            "leave one of the two keys out",
        )


def _licence_of(name: str) -> str:
    """Return the licence of the publisher's repository `name`, which is in lower case."""
    return next((licence for start, licence in LICENCES.items() if name.startswith(start)), OTHER_EXAONE_LICENCE)
